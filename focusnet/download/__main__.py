"""Command that downloads TAU22, weights or impulse responses: ``python -m focusnet.download``."""

import argparse
import shutil
import sys
from pathlib import Path

from focusnet import micirp
from focusnet.config import cache_folder
from focusnet.download.display import DownloadDisplay
from focusnet.download.tau22 import download_tau22, only_download
from focusnet.download.tau22_files import mirrored
from focusnet.errors import DataError
from focusnet.system.transfer import download_file
from focusnet.system.units import size_text

EXAMPLE = """examples:
  python -m focusnet.download tau22 --to /data
  python -m focusnet.download weights passt_s_swa_p16_128_ap476
  python -m focusnet.download impulse_responses
  python -m focusnet.download tau22 --to /data --mirror https://mirror.example.org/tau22

Every file is verified against its published checksum. Ctrl-C stops the download at any time: the
same command resumes it at the byte where it stopped and skips what is done. An archive that you
have downloaded by other means is used if it is in DIR under its own name. Proxies come from
HTTPS_PROXY and NO_PROXY. A mirror is a folder on a web server with the files under their published
names.

exit status: 0 done, 2 some files are missing (each with its reason), 130 interrupted"""


def download_weights(name: str, folder: Path, *, mirror: str | None = None) -> Path:
    """Download the published weights ``name`` to ``folder``; return their path.

    Raises:
        DataError: unknown name, no room, or a failed download.
    """
    from focusnet.model.weights import PUBLISHED  # imports torch, which takes seconds

    if name not in PUBLISHED:
        raise DataError(f"weights: must be one of {', '.join(PUBLISHED)}, received '{name}'")
    published = PUBLISHED[name]
    remotes = (published.remote,)
    [remote] = mirrored(remotes, mirror) if mirror else remotes
    path = folder / remote.name
    part = path.with_name(f"{path.name}.part")
    folder.mkdir(parents=True, exist_ok=True)
    size = published.megabytes * 1_000_000
    have = max((file.stat().st_size for file in (path, part) if file.is_file()), default=0)
    free = shutil.disk_usage(folder).free
    if size - have > free:
        raise DataError(f"{folder}: needs {size_text(size - have)}, {size_text(free)} are free")
    with (
        only_download(published.lock(folder)),
        DownloadDisplay(size - have) as display,
        display.file_bar(remote.name, size, have) as advance,
    ):
        return download_file(remote, path, advance=advance)


def download_responses(folder: Path, *, mirror: str | None = None) -> Path:
    """Download the microphones' impulse responses to ``folder``; return it.

    Raises:
        DataError: a failed download.
    """
    missing = [one for one in micirp.published() if not (folder / one.name).is_file()]
    size = sum(one.size or 0 for one in missing)
    with (
        DownloadDisplay(size) as display,
        display.file_bar(f"{len(missing)} impulse responses", size, 0) as advance,
    ):
        return micirp.fetch(folder, mirror=mirror, advance=advance)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m focusnet.download",
        description="Download TAU Urban Acoustic Scenes 2022 Mobile, pretrained weights, or the "
        "microphones' impulse\nresponses for DIR augmentation.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whats = "tau22|weights|impulse_responses"
    commands = parser.add_subparsers(dest="what", required=True, metavar=whats)
    tau22 = commands.add_parser("tau22", help="the data set, unpacked, and DCASE24's subset lists")
    tau22.add_argument("--to", required=True, type=Path, metavar="DIR", help="folder to fill")
    tau22.add_argument(
        "--parallel", type=int, default=4, metavar="N", help="archives at a time (default: 4)"
    )
    tau22.add_argument(
        "--keep-archives", action="store_true", help="keep the archives after unpacking them"
    )
    weights = commands.add_parser("weights", help="weights of a PaSST trained on AudioSet")
    weights.add_argument("name", metavar="NAME", help="such as passt_s_swa_p16_128_ap476")
    weights.add_argument(
        "--to", type=Path, metavar="DIR", help="folder (default: the cache, where studies look)"
    )
    responses = commands.add_parser(
        "impulse_responses", help="66 microphones of MicIRP, for DIR augmentation"
    )
    responses.add_argument(
        "--to", type=Path, metavar="DIR", help="folder (default: the cache, where studies look)"
    )
    for command in (tau22, weights, responses):
        command.add_argument(
            "--mirror", metavar="URL", help="download from URL/<file name> instead"
        )
    options = parser.parse_args(arguments)
    if options.what == "tau22" and options.parallel < 1:
        parser.error(f"--parallel: must be at least 1, received {options.parallel}")
    try:
        if options.what == "tau22":
            root = download_tau22(
                options.to.expanduser().absolute(),
                mirror=options.mirror,
                parallel=options.parallel,
                keep_archives=options.keep_archives,
            )
            print(f"{root}\ncheck it: python -m focusnet.dataset {root}")
        elif options.what == "impulse_responses":
            folder = options.to or cache_folder(None) / micirp.FOLDER
            print(download_responses(folder.expanduser().absolute(), mirror=options.mirror))
        else:
            folder = options.to or cache_folder(None) / "weights"
            print(download_weights(options.name, folder.expanduser(), mirror=options.mirror))
    except DataError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command resumes the download", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"{error.filename or options.to}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Getting TAU22, its subset lists and the AudioSet weights: ``python -m focusnet.download``."""

import argparse
import shutil
import sys
from pathlib import Path

from focusnet.config import cache_folder
from focusnet.download.display import Display
from focusnet.download.sources import mirrored
from focusnet.download.tau22 import alone, download_tau22
from focusnet.download.transfer import Remote, fetch
from focusnet.errors import DataError
from focusnet.system.units import size_text

EXAMPLE = """examples:
  python -m focusnet.download tau22 --to /data
  python -m focusnet.download weights passt_s_swa_p16_128_ap476
  python -m focusnet.download tau22 --to /data --mirror https://mirror.example.org/tau22

Every file is held against its published checksum. Stop it with Ctrl-C whenever you like: the same
command goes on with the byte where it stopped, and leaves alone what is done. A file that was
fetched in another way is taken where it lies in DIR under its own name. Proxies: HTTPS_PROXY and
NO_PROXY. A mirror is a folder on a web server that holds the files under their published names.

exit status: 0 done, 2 not all could be had (each with the reason), 130 interrupted"""


def download_weights(name: str, folder: Path, *, mirror: str | None = None) -> Path:
    """The published weights called ``name`` in ``folder``.

    Raises:
        DataError: no such weights, or they could not be had.
    """
    from focusnet.model.weights import PUBLISHED  # torch, which takes seconds to import

    if name not in PUBLISHED:
        raise DataError(f"weights: must be one of {', '.join(PUBLISHED)}, received '{name}'")
    published = PUBLISHED[name]
    remotes = (Remote(published.file_name, published.url, f"sha256:{published.sha256}"),)
    [remote] = mirrored(remotes, mirror) if mirror else remotes
    path = folder / remote.name
    part = path.with_name(f"{path.name}.part")
    folder.mkdir(parents=True, exist_ok=True)
    size = published.megabytes * 1_000_000
    have = max((one.stat().st_size for one in (path, part) if one.is_file()), default=0)
    free = shutil.disk_usage(folder).free
    if size - have > free:
        raise DataError(f"{folder}: needs {size_text(size - have)}, {size_text(free)} are free")
    with (
        alone(folder),
        Display(size - have) as display,
        display.of_file(remote.name, size, have) as advance,
    ):
        return fetch(remote, path, advance=advance, say=display.say)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m focusnet.download",
        description="Fetch TAU Urban Acoustic Scenes 2022 Mobile, or the weights to start from.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="what", required=True, metavar="tau22|weights")
    tau22 = commands.add_parser("tau22", help="the data set, unpacked, with DCASE24's subsets")
    tau22.add_argument("--to", required=True, type=Path, metavar="DIR", help="folder to fill")
    tau22.add_argument(
        "--parallel", type=int, default=4, metavar="N", help="files at a time (default: 4)"
    )
    tau22.add_argument(
        "--keep-archives", action="store_true", help="do not remove what has been unpacked"
    )
    weights = commands.add_parser("weights", help="weights that were trained on AudioSet")
    weights.add_argument("name", metavar="NAME", help="such as passt_s_swa_p16_128_ap476")
    weights.add_argument(
        "--to", type=Path, metavar="DIR", help="folder (default: where studies look, the cache)"
    )
    for command in (tau22, weights):
        command.add_argument("--mirror", metavar="URL", help="fetch from URL/<file name> instead")
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
        else:
            folder = options.to or cache_folder(None) / "weights"
            print(download_weights(options.name, folder.expanduser(), mirror=options.mirror))
    except DataError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"{error.filename or options.to}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

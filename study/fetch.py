"""Copies a study from a remote address into a folder, where analysis and dashboards read it.

python study/fetch.py s3://bucket/studies/focus
"""

import argparse
import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from focusnet.errors import ConfigError, FocusNetError
from focusnet.store import STUDENT_WEIGHTS, WEIGHTS
from focusnet.system.atomic import write_text
from focusnet.system.logs import log_to_terminal
from focusnet.system.units import size_text
from study.remote.files import check_access, open_folder, remove_partial_files
from study.remote.ledger import is_record
from study.remote.mirror import WorkingCopy
from study.remote.retry import Retrier

_ORIGIN = ".fetched-from"  # marks a folder as a copy, and names the address


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        with log_to_terminal():
            folder, copied = fetch(options.address, options.folder, weights=options.weights)
    except FocusNetError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on.", file=sys.stderr)
        return 130
    total = sum((folder / name).stat().st_size for name in copied)
    print(f"{len(copied)} new or changed files, {size_text(total)}, in {folder}")
    print(f"  python analysis/report.py {shlex.quote(str(folder))}")
    return 0


def fetch(
    address: str, folder: Path | None, *, weights: bool = False
) -> tuple[Path, Collection[str]]:
    """Copy what has changed at the address since the last time.

    Args:
        address: the study's.
        folder: where to; None for ``results/<name>``.
        weights: whether to copy the winners' weights as well.

    Returns:
        The folder, and the names of the files that were copied.

    Raises:
        ConfigError: there is no study at the address, or the folder holds something else.
    """
    place = open_folder(address)
    check_access(place, write=False)
    if place.read("space.yaml") is None:
        raise ConfigError(f"{address}: there is no study (it has no space.yaml)")
    folder = folder or Path("results") / place.url.rpartition("/")[2]
    origin = folder / _ORIGIN
    if folder.is_dir() and any(folder.iterdir()):
        if not origin.is_file():
            raise ConfigError(f"{folder}: holds other files; name another folder")
        if origin.read_text().strip() != place.url:
            raise ConfigError(f"{folder}: holds a copy of {origin.read_text().strip()}")
    write_text(origin, place.url + "\n")
    remove_partial_files(folder)

    def carried(name: str) -> bool:
        if name.startswith(("predictions/", "ray/")):
            return True
        return is_record(name) or (
            weights and name.endswith((f"/{WEIGHTS}", f"/{STUDENT_WEIGHTS}"))
        )

    copy = WorkingCopy(folder, place, carried)
    return folder, Retrier().retry(lambda: copy.pull(overwrite=True, delete=False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python study/fetch.py",
        allow_abbrev=False,
        description="Copy a study from a remote address into a folder. Run it again to copy what "
        "has changed since.",
        epilog="example: python study/fetch.py s3://bucket/studies/focus results/focus",
    )
    parser.add_argument("address", metavar="ADDRESS", help="the study's address, with its name")
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        metavar="FOLDER",
        help="folder to copy to (default: results/<name>)",
    )
    parser.add_argument("--weights", action="store_true", help="copy the winners' weights as well")
    return parser


if __name__ == "__main__":
    sys.exit(main())

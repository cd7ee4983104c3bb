"""Shows the state of a study from its files, while it runs or after it ended.

python study/status.py demo
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from focusnet.errors import ConfigError, FocusNetError
from study.console.status_text import describe_study, utc_now
from study.ledger.driver import last_driver
from study.ledger.ledger import Ledger

_CLEAR = "\x1b[2J\x1b[H"  # as clear(1): clears the screen, moves the cursor to its first line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        with open_study(options.study, options.results) as read:
            return _show(read, options.watch)
    except FocusNetError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # the reader (head, less) has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _show(read: Callable[[], Ledger], watch: float | None) -> int:
    while True:
        text = describe_study(read(), utc_now())
        if watch and sys.stdout.isatty():
            text = _CLEAR + text
        print(text, flush=True)
        if not watch:
            return 0
        time.sleep(watch)


@contextmanager
def open_study(name: str, results: str) -> Iterator[Callable[[], Ledger]]:
    """Yield a function that reads the study's ledger as it is now.

    A study at a remote address is copied into a temporary folder each time.

    Raises:
        ConfigError: there is no such study; the message names those that exist.
    """
    address = f"{results.rstrip('/')}/{name}" if "://" in results else name
    if "://" not in address:
        folder = find_study(name, Path(results))
        yield lambda: Ledger(folder)
        return
    from study.remote.ledger import open_ledger, studies_at

    above, _, study = address.rstrip("/").rpartition("/")
    studies = studies_at(above)
    if study not in studies:
        raise ConfigError(f"{study}: no such study at {above} ({_known(studies)})")
    with tempfile.TemporaryDirectory(prefix="focusnet-status-") as cache:
        ledger = open_ledger(above, study, Path(cache))

        def read() -> Ledger:
            ledger.pull()
            return ledger

        yield read


def find_study(name: str, results: Path) -> Path:
    """The folder of a study, by its name in ``results`` or by its path.

    Raises:
        ConfigError: there is no such study; the message names those that exist.
    """
    for folder in (results / name, Path(name).expanduser()):
        if Ledger(folder).exists() or last_driver(folder):
            return folder.absolute()
    studies = sorted(path.parent.name for path in results.glob("*/space.yaml"))
    raise ConfigError(f"{name}: no such study in {results.absolute()} ({_known(studies)})")


def _known(studies: Sequence[str]) -> str:
    return f"studies there: {', '.join(studies)}" if studies else "it holds none"


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python study/status.py",
        allow_abbrev=False,
        description="Show the state of a study: what runs, is done or failed, and the best so far.",
        epilog="examples: python study/status.py focus --watch 10; "
        "python study/status.py s3://bucket/studies/focus",
    )
    parser.add_argument(
        "study",
        metavar="NAME_OR_PATH",
        help="the study's name, its folder, or its remote address",
    )
    parser.add_argument(
        "--results",
        default="results",
        metavar="DIR",
        help="folder or remote address where a name is looked up (default: %(default)s)",
    )
    parser.add_argument(
        "--watch",
        type=_seconds,
        metavar="SECONDS",
        help="show it again every SECONDS seconds, until Ctrl-C",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

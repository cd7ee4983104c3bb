"""How a study is doing, from any terminal that sees its files, also when its driver is gone.

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

_CLEAR = "\x1b[2J\x1b[H"  # as clear(1): the screen, then the cursor to its first line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        with looked_up(options.study, options.results) as look:
            return _show(look, options.watch)
    except FocusNetError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _show(look: Callable[[], Ledger], watch: float | None) -> int:
    while True:
        text = describe_study(look(), utc_now())
        if watch and sys.stdout.isatty():
            text = _CLEAR + text
        print(text, flush=True)
        if not watch:
            return 0
        time.sleep(watch)


@contextmanager
def looked_up(name: str, results: str) -> Iterator[Callable[[], Ledger]]:
    """What gives the study's ledger as it is now; for one at an address, from a copy of it.

    Raises:
        ConfigError: there is no such study; the message says which there are.
    """
    address = f"{results.rstrip('/')}/{name}" if "://" in results else name
    if "://" not in address:
        folder = find_study(name, Path(results))
        yield lambda: Ledger(folder)
        return
    from study.remote.ledger import open_ledger, studies_at

    above, _, study = address.rstrip("/").rpartition("/")
    known = studies_at(above)
    if study not in known:
        raise ConfigError(f"{study}: no such study at {above} ({_there(known)})")
    with tempfile.TemporaryDirectory(prefix="focusnet-status-") as cache:
        ledger = open_ledger(above, study, Path(cache))

        def look() -> Ledger:
            ledger.pull()
            return ledger

        yield look


def find_study(name: str, results: Path) -> Path:
    """The folder of a study, by its name in ``results`` or by its path.

    Raises:
        ConfigError: there is none; the message says which there are.
    """
    for folder in (results / name, Path(name).expanduser()):
        if Ledger(folder).exists() or last_driver(folder):
            return folder.absolute()
    known = sorted(path.parent.name for path in results.glob("*/space.yaml"))
    raise ConfigError(f"{name}: no such study in {results.absolute()} ({_there(known)})")


def _there(studies: Sequence[str]) -> str:
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
        description="What a study is doing: what runs, what is done, what failed, the best so far.",
        epilog="examples: python study/status.py focus --watch 10; "
        "python study/status.py s3://bucket/studies/focus",
    )
    parser.add_argument(
        "study", metavar="NAME_OR_PATH", help="a study's name, its folder, or its address"
    )
    parser.add_argument(
        "--results",
        default="results",
        metavar="DIR",
        help="folder or address where studies are looked up by name (default: %(default)s)",
    )
    parser.add_argument(
        "--watch",
        type=_seconds,
        metavar="SECONDS",
        help="show it again every so many seconds, until Ctrl-C",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

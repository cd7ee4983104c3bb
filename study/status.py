"""How a study is doing, from any terminal that sees its folder, also when its driver is gone.

python study/status.py demo
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Run as a script, Python looks for modules in study/ first; the packages are one level up.
sys.path[:] = [str(ROOT), *(p for p in sys.path if Path(p or ".").resolve() != ROOT / "study")]

from focusnet.errors import ConfigError, FocusNetError
from study.driver import last_driver
from study.ledger import Ledger
from study.state import describe_study, utc_now

_CLEAR = "\x1b[2J\x1b[H"  # as clear(1): the screen, then the cursor to its first line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        folder = find_study(options.study, Path(options.results))
        while True:
            text = describe_study(Ledger(folder), utc_now())
            if options.watch and sys.stdout.isatty():
                text = _CLEAR + text
            print(text, flush=True)
            if not options.watch:
                return 0
            time.sleep(options.watch)
    except FocusNetError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def find_study(name: str, results: Path) -> Path:
    """The folder of a study, by its name in ``results`` or by its path.

    Raises:
        ConfigError: there is none; the message says which there are.
    """
    for folder in (results / name, Path(name).expanduser()):
        if Ledger(folder).exists() or last_driver(folder):
            return folder.absolute()
    known = sorted(path.parent.name for path in results.glob("*/space.yaml"))
    there = f"studies there: {', '.join(known)}" if known else "it holds none"
    raise ConfigError(f"{name}: no such study in {results.absolute()} ({there})")


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
    )
    parser.add_argument("study", metavar="NAME_OR_PATH", help="a study's name, or its folder")
    parser.add_argument(
        "--results",
        default="results",
        metavar="DIR",
        help="where studies are looked up by name (default: %(default)s)",
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

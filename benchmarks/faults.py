"""Injects faults into real studies and compares the outcome with an uninterrupted run.

    python benchmarks/faults.py [--faults N] [--only PATTERN] [--seed N] [--keep DIR] [--jobs N]

For each fault the real command runs a study on a small synthetic data set. One of its processes is
killed at a chosen moment, or its disk is filled; if the study ends, it is resumed with --resume.
Its trials.parquet must equal that of the uninterrupted study except for times. On a full disk the
study must end with one message that names the folder, and without incomplete files. The last line
is a summary.
"""

import argparse
import re
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.fault_injection.catalogue import all_faults
from benchmarks.fault_injection.small_disk import private_mounts
from benchmarks.fault_injection.studies import TIMEOUT, Studies


@dataclass(frozen=True)
class Outcome:
    """Differences between a study with a fault and the uninterrupted study."""

    lost: int  # trials that did not finish
    repeated: int  # trials that ran twice or should not exist
    changed: int  # values in the table; -1 if the tables have different shapes
    problems: list[str]  # anything else that went wrong

    @property
    def survived(self) -> bool:
        """Whether there is no difference."""
        return not (self.lost or self.repeated or self.changed or self.problems)

    @classmethod
    def of(cls, expected: pd.DataFrame, table: pd.DataFrame, problems: list[str]) -> "Outcome":
        """Compare ``table`` with that of the uninterrupted study, ``expected``."""
        ids = table["trial"]
        changed = -1
        if expected.columns.equals(table.columns) and len(table) == len(expected):
            equal = expected.eq(table) | (expected.isna() & table.isna())
            changed = int((~equal).to_numpy().sum())
        return cls(
            lost=len(set(expected["trial"]) - set(ids[table["status"] == "finished"])),
            repeated=int(ids.duplicated().sum()) + len(set(ids) - set(expected["trial"])),
            changed=changed,
            problems=problems,
        )


def main(arguments: list[str] | None = None) -> int:
    """The command; returns 1 if a study did not survive its fault."""
    options = _parser().parse_args(arguments)
    chosen = [fault for fault in all_faults(options.seed) if re.search(options.only, fault.name)]
    faults = chosen[: options.faults]
    if any(fault.disk for fault in faults) and not private_mounts():
        left_out = sum(fault.disk for fault in faults)
        print(f"left out {left_out} faults of a full disk: this system does not allow mounting")
        faults = [fault for fault in faults if not fault.disk]
    root = (options.keep or Path(tempfile.mkdtemp(prefix="faults-"))).absolute()
    studies = Studies(root)
    uninterrupted = root / "uninterrupted"
    if studies.start(uninterrupted).wait(timeout=TIMEOUT) != 0:
        print((uninterrupted / "output.txt").read_text(), file=sys.stderr)
        return 1
    expected = studies.table(uninterrupted)
    begun = time.monotonic()

    def check(number: int) -> Outcome | None:
        fault, folder = faults[number], root / f"fault-{number:02}"
        if not studies.run_with(fault, folder):
            print(f"{fault.name}: not injected, because the study ended before", flush=True)
            return None
        problems = studies.disk_problems.get(folder, [])
        outcome = Outcome.of(expected, studies.table(folder), problems)
        verdict = "survived" if outcome.survived else f"FAILED, see {folder}"
        text = f"{fault.name}: {verdict}, after {time.monotonic() - begun:.0f} s"
        print("; ".join([text, *problems]), flush=True)
        if outcome.survived and options.keep is None:
            shutil.rmtree(folder)
        return outcome

    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = [o for o in pool.map(check, range(len(faults))) if o is not None]
    if all(o.survived for o in outcomes) and options.keep is None:
        shutil.rmtree(root)
    print(_summary(outcomes, not_injected=len(faults) - len(outcomes)))
    return int(not outcomes or not all(o.survived for o in outcomes))


def _summary(outcomes: list[Outcome], not_injected: int) -> str:
    return (
        f"{len(outcomes)} faults, {sum(o.survived for o in outcomes)} survived, "
        f"{sum(o.lost for o in outcomes)} trials lost, "
        f"{sum(o.repeated for o in outcomes)} repeated, "
        f"{sum(o.changed for o in outcomes)} metrics changed"
        + (f"; {not_injected} not injected" if not_injected else "")
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/faults.py",
        description=__doc__,
        epilog="example:\n  python benchmarks/faults.py --faults 4 --only 'worker|node'",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--faults", type=int, metavar="N", help="number of faults (default: all)")
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help="regular expression for names of faults"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of their order and epochs (default: 0)"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep the studies here (default: removed)"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="concurrent studies (default: 1)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

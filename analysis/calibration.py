"""Simulates studies with known effects and counts how often their statistics err.

python analysis/calibration.py [--studies 1000] [--seed 0]
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from analysis.inference.worlds import (
    EFFECTS,
    NULL,
    SEED_SDS,
    TAU22,
    Errors,
    count_errors,
    count_whole,
    count_with_looks,
)

DONE, MISCALIBRATED, WRONG_INPUT = 0, 1, 2
ALPHA = 0.05  # the most false claims and missed intervals
SIGNIFICANCE = 0.001  # one-sided, of the test that a rate is above ALPHA; for each of many rates
FEWEST = 20
LOOKS_SHARE, POWER_SHARE, WHOLE_SHARE = 2, 4, 5  # these have as many times fewer studies

Task = tuple[str, str, tuple[object, ...]]  # table, function, arguments before the generator


def tasks(studies: int) -> list[Task]:
    """All that is simulated, by the table that it is shown in."""
    worlds = [replace(TAU22, seed_sd=sd) for sd in SEED_SDS]
    power, looks, whole = (
        max(FEWEST, studies // share) for share in (POWER_SHARE, LOOKS_SHARE, WHOLE_SHARE)
    )
    return [
        *(("null", "count_errors", (world, 0.0, studies)) for world in NULL),
        *(("power", "count_errors", (world, e, power)) for world in worlds for e in EFFECTS),
        *(("looks", "count_with_looks", (world, 0.0, looks)) for world in worlds),
        *(("looks", "count_with_looks", (world, e, power)) for world in worlds for e in EFFECTS),
        *(
            ("whole", "count_whole", (world, best, whole))
            for world in worlds
            for best in (0.0, 2.0)
        ),
    ]


def run(task: Task, seed: np.random.SeedSequence) -> Errors:
    """Simulate one line of a table."""
    table, function, arguments = task
    counts: dict[str, Callable[..., Errors]] = {
        "count_errors": count_errors,
        "count_with_looks": count_with_looks,
        "count_whole": count_whole,
    }
    more = {"arms": True} if table == "null" else {}
    return counts[function](*arguments, np.random.default_rng(seed), **more)


def limit(trials: int) -> int:
    """The most errors among ``trials`` that are compatible with a true rate of 5 %."""
    return int(stats.binom.isf(SIGNIFICANCE, trials, ALPHA))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    if options.studies < FEWEST:
        print(f"--studies: must be at least {FEWEST}; fewer show nothing, received "
              f"{options.studies}", file=sys.stderr)  # fmt: skip
        return WRONG_INPUT
    if options.processes < 1:
        print(f"--processes: must be at least 1, received {options.processes}", file=sys.stderr)
        return WRONG_INPUT
    started = time.monotonic()
    every = tasks(options.studies)
    seeds = np.random.SeedSequence(options.seed).spawn(len(every))
    found: dict[str, list[Errors]] = {}
    for (table, *_), errors in zip(every, _results(every, seeds, options.processes), strict=True):
        if table not in found:
            print(_heading(table, errors.studies))
        found.setdefault(table, []).append(errors)
        print(_row(table, errors), flush=True)
    status, text = conclusion(found)
    print(f"\n{text}; {time.monotonic() - started:.0f} s")
    return status


def _results(
    every: Sequence[Task], seeds: Sequence[np.random.SeedSequence], processes: int
) -> "list[Errors] | multiprocessing.pool.IMapIterator[Errors]":
    """The same numbers whatever the number of processes."""
    pairs = list(zip(every, seeds, strict=True))
    if processes == 1:
        return map(_run_pair, pairs)  # type: ignore[return-value]
    # Small matrices are slower on several threads; new processes read this when they start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pool = multiprocessing.get_context("spawn").Pool(processes)
    return pool.imap(_run_pair, pairs)


def _run_pair(pair: tuple[Task, np.random.SeedSequence]) -> Errors:
    return run(*pair)


def conclusion(found: dict[str, list[Errors]]) -> tuple[int, str]:
    """Exit status and the error rates behind it, from all that should be at most 5 %."""
    null = found.get("null", [])
    looks = [one for one in found.get("looks", []) if one.effect == 0]
    whole = found.get("whole", [])
    flat = [one for one in whole if one.effect == 0]
    rates = {
        "false claims in": [(one.claims, one.studies) for one in (*null, *looks, *flat)],
        "false claims over controls in": [(one.arm_claims, one.studies) for one in null],
        "intervals of the average miss": [
            (one.misses, one.studies) for one in (*null, *found.get("power", []), *whole)
        ],
        "intervals of strata miss": [(one.stratum_misses, one.studies) for one in null],
    }
    too_often, parts = False, []
    for what, every in rates.items():
        known = [(rate, studies) for rate, studies in every if not np.isnan(rate)]
        if not known:
            continue
        too_often |= any(round(rate * n, 6) > limit(n) for rate, n in known)
        low, high = min(rate for rate, _ in known), max(rate for rate, _ in known)
        parts.append(f"{what} {_percent(low)} to {_percent(high)} %")
    most = null[0].studies if null else 0
    of = f" (limit {_percent(limit(most) / most)} % of {most} studies)" if most else ""
    name = "MISCALIBRATED" if too_often else "calibrated"
    return MISCALIBRATED if too_often else DONE, f"{name}: {', '.join(parts)}{of}"


HEADINGS = {
    "null": (
        "No true effect, {} studies each. Rates in %, noise in points.",
        ("seed sd", "observed", "effect sd", "claims", "controls", "misses", "strata miss"),
    ),
    "power": (
        "True effects, {} studies each, one look.",
        ("seed sd", "effect", "gain", "here", "no gain", "misses"),
    ),
    "looks": (
        "Planned looks, {} studies each without effect.",
        ("seed sd", "effect", "claims", "gain", "no gain", "misses", "seeds"),
    ),
    "whole": (
        "Whole studies, {} each: search, winners, confirmation; all settings alike, or best 2.",
        ("seed sd", "truth", "claims", "gain", "misses"),
    ),
}
LEGEND = {
    "null": "seed sd: of a training's accuracy without luck at single locations; observed: as a\n"
    "report states it; claims: studies with a false claim on average or in a stratum;\n"
    "controls: with a false claim over a control, where FocusNet gains 3 points over the\n"
    "template; misses: 95 % intervals of the average without the truth, and of strata.",
    "power": "gain: studies that claim it; here: that differ from 0 on these locations; no gain:\n"
    "verdicts that there is none of 1 point.",
    "looks": "seeds: mean share of the largest number of seeds.",
    "whole": "truth: what the winners are worth on average.",
}


def _heading(table: str, studies: int) -> str:
    title, columns = HEADINGS[table]
    return f"\n{title.format(studies)}\n{LEGEND[table]}\n\n{_line('world', *columns)}"


def _row(table: str, one: Errors) -> str:
    cells = {
        "seed sd": f"{one.world.seed_sd:.1f}",
        "observed": f"{one.observed_sd:.2f}",
        "effect sd": f"{one.effect_sd:.2f}",
        "effect": f"{one.effect:.1f}",
        "truth": f"{one.effect:.2f}",
        "claims": _percent(one.claims),
        "controls": _percent(one.arm_claims),
        "misses": _percent(one.misses),
        "strata miss": _percent(one.stratum_misses),
        "gain": _percent(one.gains),
        "here": _percent(one.here),
        "no gain": _percent(one.small),
        "seeds": _percent(one.mean_looks),
    }
    return _line(one.world.name, *(cells[column] for column in HEADINGS[table][1]))


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _line(first: str, *cells: str) -> str:
    return f"{first:<22}" + "".join(f"{cell:>12}" for cell in cells)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python analysis/calibration.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Simulate studies with the size and noise of the demo and of TAU22, without\n"
        "and with a true effect, and count their claims and errors.",
        epilog="example:\n  python analysis/calibration.py --studies 200 --seed 1\n\n"
        "exit status: 0 at most 5 % false claims and missed intervals, within simulation error;\n"
        "1 more than that; 2 wrong input",
    )
    parser.add_argument(
        "--studies",
        type=int,
        default=1000,
        help="number of studies without an effect per world; default: 1000",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed of the simulation; default: 0"
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=_processors(),
        help="worker processes; the numbers do not depend on it; default: one per core",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

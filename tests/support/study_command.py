"""Runs ``study/run.py``, or ``fake_study.py`` in its place, as a process."""

import os
import subprocess
import sys

from paths import SUPPORT

FAKE = SUPPORT / "fake_study.py"
# Without these options the winners would be trained again, and would need no trial of the search.
SEARCH_ONLY = [
    *("--set", "controls.arms=[]"),
    *("--set", "confirm.seeds=0"),
    *("--set", "search.winner=best_observed"),
    *("--set", "search.trials=4"),
]


def command(script, results, *options):
    return [sys.executable, str(script), "--results", str(results), *SEARCH_ONLY, *options]


def run(script, results, *options, **environment):
    """Run the command to its end from a folder that is not the repository's."""
    results.mkdir(exist_ok=True)
    return subprocess.run(
        command(script, results, *options),
        capture_output=True,
        text=True,
        cwd=results,
        env={**os.environ, **environment},
        timeout=280,
    )

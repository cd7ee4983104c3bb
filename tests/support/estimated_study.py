"""Writes a study whose winners are estimated, not observed, with known trials."""

import copy
from pathlib import Path
from typing import Any

from results_folder import SPACE, drawn_clips, finished, follower, with_followers, write_study

# Best between two trials, at weight 1 or so.
PLACES = ((0.1, 0.2), (0.3, 0.1), (0.6, 0.3), (1.7, 0.24), (3.0, 0.4), (10.0, 0.3))
VALUES = (0.50, 0.55, 0.60, 0.60, 0.55, 0.50)


def estimated_space(trials: Any = 6) -> dict[str, Any]:
    space = copy.deepcopy(SPACE)
    space["search"] |= {"winner": "posterior_mean", "trials": trials}
    return space


def estimated_study(
    folder: Path, trials: Any = 6, confirmed: dict[int, dict[str, Any]] | None = None
) -> Path:
    """Six trials in each of two strata; ``confirmed`` are winners that were trained again."""
    rows = [
        finished(f"t{subset}-{place}", subset, weight=weight, threshold=threshold, select=value)
        for subset in (25, 100)
        for place, ((weight, threshold), value) in enumerate(zip(PLACES, VALUES, strict=True))
    ]
    space, predicted = estimated_space(trials), {}
    for subset, parameters in (confirmed or {}).items():
        winner = finished(f"estimated{subset}", subset) | parameters
        for seed in (8, 9):
            row = follower("confirm", "focusnet", seed, winner)
            predicted[row["trial"]] = drawn_clips(
                0.5, 0.6, template_seed=[subset, seed], focus_seed=[subset, seed, 1]
            )
            rows.append(row)
    if confirmed:
        space = with_followers(space, [], (8, 9))
    return write_study(folder, rows, space=space, predicted=predicted)

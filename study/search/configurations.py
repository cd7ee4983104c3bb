"""Chooses the next configuration, as a pure function of the study's records.

The k-th configuration of a stratum depends on the seed, the stratum, k and the stratum's earlier
trials, and on no random generator that lives between calls. So a search has no state to lose: it
resumes from the results folder alone. Of a Sobol sequence and a grid it depends on k and the seed
alone, so that all strata try the same configurations.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from study.search.past_trial import PastTrial
from study.space.domains import Domain
from study.space.space import Space

# Random trials of a stratum before a model of them chooses (Optuna's default).
STARTUP = 10
# How often a model is asked again when it repeats a configuration, before a random one is drawn.
_MODEL_ATTEMPTS = 10


def next_configuration(space: Space, stratum: Any, earlier: Sequence[PastTrial]) -> dict[str, Any]:
    """The parameters of the next trial of ``stratum``; no configuration comes twice."""
    index = len(earlier)
    if space.search.algorithm == "grid":
        chosen = _grid_point(space.searched, index)
    elif space.search.algorithm == "sobol":
        from study.search.samplers import sobol_configuration  # imports Optuna

        chosen = sobol_configuration(space.searched, space.search.seed, index)
    else:
        chosen = _new_configuration(space, stratum, index, earlier)
    if space.search.stratify is None:
        return chosen
    values = {space.search.stratify: stratum, **chosen}
    return {path: values[path] for path in space.domains}  # in the order of the space file


def _grid_point(domains: dict[str, Domain], index: int) -> dict[str, Any]:
    points = itertools.product(*(domain.extremes() for domain in domains.values()))
    return dict(zip(domains, next(itertools.islice(points, index, None)), strict=True))


def _new_configuration(
    space: Space, stratum: Any, index: int, earlier: Sequence[PastTrial]
) -> dict[str, Any]:
    taken = [{path: trial.parameters[path] for path in space.searched} for trial in earlier]
    use_model = _has_enough(space.search.algorithm, earlier)
    for attempt in itertools.count():
        seed = _derived_seed(space.search.seed, stratum, index, attempt)
        if use_model and attempt < _MODEL_ATTEMPTS:
            from study.search.samplers import ask  # imports Optuna, which takes a second

            chosen = ask(space, earlier, seed)
        else:
            generator = np.random.default_rng(seed)
            chosen = {path: domain.draw(generator) for path, domain in space.searched.items()}
        if chosen not in taken:
            return chosen
    raise AssertionError("count() does not end")


def _has_enough(algorithm: str, earlier: Sequence[PastTrial]) -> bool:
    """Whether the algorithm has a model and the trials that it needs to begin."""
    if algorithm == "tpe":
        return sum(trial.state in ("finished", "stopped") for trial in earlier) >= STARTUP
    return algorithm == "gp" and sum(trial.is_complete for trial in earlier) >= STARTUP


def _derived_seed(seed: int, stratum: Any, index: int, attempt: int) -> int:
    content = json.dumps([seed, stratum, index, attempt]).encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:4], "big")

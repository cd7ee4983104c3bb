"""Chooses the next configuration, as a pure function of the study's records.

The k-th configuration of a stratum depends on the seed, the stratum, k and the stratum's earlier
trials, and on no random generator that lives between calls. So a search has no state to lose: it
resumes from the results folder alone.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from study.search.past_trial import PastTrial
from study.space.domains import Domain
from study.space.objectives import direction
from study.space.space import Space

# Random trials of a stratum before TPE starts (Optuna's default).
STARTUP = 10
# How often TPE is asked again when it repeats a configuration, before a random one is drawn.
_TPE_ATTEMPTS = 10


def next_configuration(space: Space, stratum: Any, earlier: Sequence[PastTrial]) -> dict[str, Any]:
    """The parameters of the next trial of ``stratum``; no configuration comes twice."""
    index = len(earlier)
    if space.search.algorithm == "grid":
        chosen = _grid_point(space.searched, index)
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
    seen = [trial for trial in earlier if trial.state in ("finished", "stopped")]
    use_tpe = space.search.algorithm == "tpe" and len(seen) >= STARTUP
    for attempt in itertools.count():
        seed = _derived_seed(space.search.seed, stratum, index, attempt)
        if use_tpe and attempt < _TPE_ATTEMPTS:
            chosen = _ask_tpe(space, earlier, seed)
        else:
            generator = np.random.default_rng(seed)
            chosen = {path: domain.draw(generator) for path, domain in space.searched.items()}
        if chosen not in taken:
            return chosen
    raise AssertionError("count() does not end")


def _derived_seed(seed: int, stratum: Any, index: int, attempt: int) -> int:
    content = json.dumps([seed, stratum, index, attempt]).encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:4], "big")


def _ask_tpe(space: Space, earlier: Sequence[PastTrial], seed: int) -> dict[str, Any]:
    import optuna  # takes a second to import

    from study.search.optuna_trials import distributions, frozen_trial, silence

    silence()
    # Running trials count as bad (constant liar), so that concurrent trials differ.
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    domains = space.searched
    directions = [direction(metric) for metric in space.search.metrics]
    study = optuna.create_study(directions=directions, sampler=sampler)
    study.add_trials([frozen_trial(trial, domains) for trial in earlier])
    asked = study.ask(distributions(domains))
    return {path: asked.params[path] for path in domains}

"""Asks Optuna's samplers for configurations, each time with a sampler and a study made anew.

A sampler that lived between calls would hold state that a crash loses.
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, TPESampler

from study.search.optuna_trials import distributions, frozen_trial, silence
from study.search.past_trial import PastTrial
from study.space.domains import Domain
from study.space.objectives import direction
from study.space.space import Space


def sobol_configuration(domains: Mapping[str, Domain], seed: int, index: int) -> dict[str, Any]:
    """The ``index``-th (from 0) distinct point of a scrambled Sobol sequence over ``domains``.

    Choices and whole numbers let points repeat; repeated ones are left out. The order of
    ``domains`` does not matter.
    """
    seen: set[str] = set()
    for point in _sobol_points({path: domains[path] for path in sorted(domains)}, seed):
        name = json.dumps(point, sort_keys=True)
        if name not in seen and len(seen) == index:
            return {path: point[path] for path in domains}
        seen.add(name)
    raise AssertionError("the sequence does not end")


def _sobol_points(domains: Mapping[str, Domain], seed: int) -> Iterator[dict[str, Any]]:
    silence()
    with warnings.catch_warnings():  # it has been experimental since Optuna 3.0
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = QMCSampler(qmc_type="sobol", scramble=True, seed=seed)
    # In a study run by Optuna, the first trial would be random. So the sampler itself is asked; it
    # counts in ``study`` how many points it has given, and looks at no trial.
    study, trial = optuna.create_study(), optuna.trial.create_trial(value=0.0)
    space = distributions(domains)
    while True:
        yield sampler.sample_relative(study, trial, space)


def ask(space: Space, earlier: Sequence[PastTrial], seed: int) -> dict[str, Any]:
    """What the space's model-based sampler tries after the ``earlier`` trials of a stratum."""
    domains = space.searched
    sampler = _tpe(seed) if space.search.algorithm == "tpe" else _gaussian_process(seed)
    directions = [direction(metric) for metric in space.search.metrics]
    study = optuna.create_study(directions=directions, sampler=sampler)
    study.add_trials([frozen_trial(trial, domains) for trial in earlier])
    asked = study.ask(distributions(domains))
    return {path: asked.params[path] for path in domains}


def _tpe(seed: int) -> BaseSampler:
    silence()
    # Running trials count as bad (constant liar), so that concurrent trials differ.
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _gaussian_process(seed: int) -> BaseSampler:
    silence(optuna.logging.ERROR)  # it warns of a package that would make it faster
    # Averages over what running trials may find, so that concurrent trials differ. It learns from
    # finished trials only.
    return GPSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)

"""Computes the importance of each searched parameter, and compares it with chance.

Optuna's PED-ANOVA (Watanabe et al., IJCAI 2023) measures how differently the better half of the
trials is spread over a parameter's range. Shares add up to 1 even if no parameter matters: in 12
simulated searches of 24 trials of pure noise, one of two parameters got 9 to 93 %. So each share
comes with a test against searches with shuffled accuracies.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.tables.parameters import Parameter

FEWEST_TRIALS = 10  # half of them are compared, and Optuna needs five
BETTER_SHARE = 0.5
SHUFFLES = 100
CHANCE = 0.95  # share of the shuffled searches that must have less importance
SEED = 0


def importances(
    trials: pd.DataFrame, parameters: Mapping[str, Parameter], metric: str
) -> pd.DataFrame | None:
    """Each parameter's share of the importance, and whether it exceeds chance.

    Args:
        trials: finished trials of one search.
        parameters: the searched parameters, by column of ``trials``.
        metric: column that the search maximised.

    Returns:
        By parameter, ``share`` and ``stands_out``: whether its importance is above that in 95 % of
        searches with shuffled accuracies. None for fewer than ten trials, or fewer than two
        parameters that vary: these show nothing.
    """
    varied = {path: one for path, one in parameters.items() if one.size > 1 and path in trials}
    if metric not in trials or len(varied) < 2:
        return None
    done = trials.dropna(subset=[metric])
    if len(done) < FEWEST_TRIALS:
        return None
    values = done[metric].to_numpy(float)
    chosen = [
        {path: _plain(value, varied[path]) for path, value in zip(varied, row, strict=True)}
        for row in done[list(varied)].itertuples(index=False)
    ]
    separation = _separation(chosen, values, varied)
    generator = np.random.default_rng(SEED)
    shuffled = [_separation(chosen, generator.permutation(values), varied) for _ in range(SHUFFLES)]
    total = separation.sum()
    return pd.DataFrame(
        {
            "share": separation / total if total > 0 else 1 / len(varied),
            "stands_out": separation > np.quantile(shuffled, CHANCE, axis=0),
        },
        index=list(varied),
    )


def _separation(
    chosen: list[dict[str, Any]], values: np.ndarray, parameters: Mapping[str, Parameter]
) -> np.ndarray:
    """PED-ANOVA's importance of each parameter, not normalised."""
    import optuna  # takes a second, so only where there are enough trials
    from optuna.importance import PedAnovaImportanceEvaluator

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {path: _distribution(one) for path, one in parameters.items()}
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            optuna.trial.create_trial(
                params=parameters_of, distributions=distributions, value=float(value)
            )
            for parameters_of, value in zip(chosen, values, strict=True)
        ]
    )
    evaluator = PedAnovaImportanceEvaluator(target_quantile=BETTER_SHARE)
    found = evaluator.evaluate(study)
    return np.array([found[path] for path in parameters])


def _distribution(parameter: Parameter) -> Any:
    from optuna import distributions

    if parameter.kind == "choice":
        return distributions.CategoricalDistribution(parameter.values)
    low, high = parameter.values
    if parameter.kind == "int":
        return distributions.IntDistribution(low, high)
    return distributions.FloatDistribution(low, high, log=parameter.is_logarithmic)


def _plain(value: Any, parameter: Parameter) -> Any:
    """The value as in the space file: tables hold null as NaN, and then integers as floats."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    return int(value) if parameter.kind == "int" else value

"""Maps of the estimated metric over two searched parameters, with Landscape's Gaussian process."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from analysis.exploration.columns import on_axis
from analysis.read_study import Study
from analysis.tables.parameters import Parameter, show
from focusnet.winner import SearchSpace, landscape

_MAPPED = 3  # parameters, in the order of the space file; each pair of them has a map
_STEPS = 17  # of a range on a map


def estimate_maps(study: Study) -> Iterator[dict[str, Any]]:
    """What all trials together say of the metric over each pair of parameters, by stratum.

    The other parameters have the values of the winner.
    """
    searched = [one for one in study.parameters.values() if one.size > 1][:_MAPPED]
    pairs = list(itertools.combinations(searched, 2))
    choices = [stratum.choice for stratum in study.strata if stratum.choice is not None]
    if not pairs or not choices:
        return
    fitted = landscape(study.trials, study.space)
    if not fitted.can_be_fitted:
        return
    wanted = []
    for choice, (one, other) in itertools.product(choices, pairs):
        across, up = _steps(fitted.space, one), _steps(fitted.space, other)
        grid = [choice.parameters | {one.path: x, other.path: y} for y in up for x in across]
        wanted.append((choice.stratum, one, other, across, up, grid))
    surface = fitted.estimate([settings for *_, grid in wanted for settings in grid])
    first = 0
    for stratum, one, other, across, up, grid in wanted:
        of = fitted.strata.index(stratum)
        mean = surface.mean[of, first : first + len(grid)].reshape(len(up), len(across))
        first += len(grid)
        yield {
            "stratum": show(stratum),
            "x": one.path,
            "y": other.path,
            "across": [on_axis(one, value) for value in across],
            "up": [on_axis(other, value) for value in up],
            "estimates": np.round(100 * mean, 2).tolist(),
        }


def _steps(space: SearchSpace, parameter: Parameter) -> list[Any]:
    if parameter.kind == "choice":
        return list(parameter.values)
    shares = np.linspace(0, 1, _STEPS)
    return list(
        dict.fromkeys(
            space.cube.settings_at({parameter.path: one})[parameter.path] for one in shares
        )
    )

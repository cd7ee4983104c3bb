"""Metrics that a search may optimise (on ``select`` only), and in which direction."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from focusnet.system.validation import nearest

METRICS = tuple(
    f"{stage}/select/{metric}"
    for stage in ("focus", "gain", "template", "student")
    for metric in ("macro_accuracy", "accuracy")
)
# A second objective may also measure confidence, or accuracy on a group of devices.
SECOND_METRICS = (
    *METRICS,
    *(
        f"{stage}/select/{name}"
        for stage in ("focus", "student")
        for name in ("log_loss", "calibration_error", "group/real", "group/seen", "group/unseen")
    ),
)
_LOWER_IS_BETTER = ("log_loss", "calibration_error")


def direction(metric: str) -> Literal["minimize", "maximize"]:
    """The direction of a metric, in Optuna's words."""
    return "minimize" if metric.endswith(_LOWER_IS_BETTER) else "maximize"


def _check(metric: str, known: tuple[str, ...]) -> str:
    if "/report/" in metric:
        raise ValueError(
            f"'{metric}' is on the half of the test split that is kept for the report, which a "
            "search must not use: name a metric on select"
        )
    if metric not in known:
        raise ValueError(f"unknown metric '{metric}'{nearest(metric, list(known))}")
    return metric


Metric = Annotated[str, AfterValidator(lambda metric: _check(metric, METRICS))]
SecondMetric = Annotated[str, AfterValidator(lambda metric: _check(metric, SECOND_METRICS))]

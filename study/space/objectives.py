"""What a search may go by: metrics on ``select``, and whether more of them is better."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from focusnet.config import nearest

METRICS = tuple(
    f"{stage}/select/{metric}"
    for stage in ("focus", "gain", "template")
    for metric in ("macro_accuracy", "accuracy")
)
# A second objective may be another side of the same network.
SECOND_METRICS = (
    *METRICS,
    *(f"focus/select/{name}" for name in ("log_loss", "calibration_error")),
    *(f"focus/select/group/{group}" for group in ("real", "seen", "unseen")),
)
_LOWER_IS_BETTER = ("log_loss", "calibration_error")


def direction(metric: str) -> Literal["minimize", "maximize"]:
    """``maximize`` or ``minimize``, as Optuna says it."""
    return "minimize" if metric.endswith(_LOWER_IS_BETTER) else "maximize"


def _check(metric: str, known: tuple[str, ...]) -> str:
    if "/report/" in metric:
        raise ValueError(
            f"'{metric}' is on the half of the test split that is kept for the report; a search "
            "that sees it makes the report worthless: use a metric on select"
        )
    if metric not in known:
        raise ValueError(f"unknown metric '{metric}'{nearest(metric, list(known))}")
    return metric


Metric = Annotated[str, AfterValidator(lambda metric: _check(metric, METRICS))]
SecondMetric = Annotated[str, AfterValidator(lambda metric: _check(metric, SECOND_METRICS))]

"""Exports a study's state as Ray metrics, which Prometheus and Grafana plot: docs/monitoring.md.

A failure to export never ends a study.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from ray.util.metrics import Gauge

from study.ledger.ledger import ENDED, Trial
from study.search.tune_types import Report
from study.search.winners import best_trials
from study.space.space import Space

logger = logging.getLogger(__name__)

_REFRESH_SECONDS = 5.0  # Ray stops exporting a gauge that was not set for half a minute
STATES = ("finished", "stopped", "failed", "running", "pending")
# Name, help and labels of each gauge; Ray puts "ray_" before the name.
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "focusnet_trials": (
        "Trials by state; pending ones were begun and wait for a worker.",
        ("study", "stratum", "state"),
    ),
    "focusnet_best_metric": (
        "Best value of the search's metric so far; of many trials, so partly luck.",
        ("study", "stratum", "metric"),
    ),
    "focusnet_trial_epoch": (
        "Epochs that a running trial has done in its stage.",
        ("study", "trial", "stage"),
    ),
    "focusnet_trial_accuracy_ratio": (
        "Macro accuracy of a running trial on select.",
        ("study", "trial", "stage"),
    ),
    "focusnet_trial_clips_per_second": (
        "Training clips a second in the last epoch, evaluation included.",
        ("study", "trial"),
    ),
    "focusnet_trial_gpu_memory_bytes": (
        "The most GPU memory that a running trial has reserved.",
        ("study", "trial"),
    ),
}
Labels = tuple[tuple[str, str], ...]


class StudyMetrics:
    """The gauges of one study.

    Args:
        clips: gives the number of training clips of a stratum.
        make_gauge: makes a gauge from its name, help and labels; Ray's own by default.
        clock: gives seconds.
    """

    def __init__(
        self,
        space: Space,
        clips: Callable[[Any], float],
        make_gauge: Callable[[str, str, tuple[str, ...]], Any] = Gauge,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._space = space
        self._clips = clips
        self._make_gauge = make_gauge
        self._clock = clock
        self._gauges: dict[str, Any] = {}
        self._series: dict[tuple[str, Labels], float] = {}
        self._refreshed = clock()
        self._last: dict[str, tuple[str, int, float]] = {}  # stage, epoch and seconds
        self._works = True

    def count(self, trials: Sequence[Trial], running: Collection[str]) -> None:
        """Export how many trials are in which state, and the best of each stratum."""
        states = Counter((one.stratum, _state(one, running)) for one in trials)
        for stratum in self._space.strata:
            for state in STATES:
                self._set("focusnet_trials", states[stratum, state], stratum=stratum, state=state)
        metric = self._space.search.metric
        searched = [one for one in trials if one.searched and one.status == "finished"]
        for stratum, best in best_trials(searched, metric).items():
            value = best.metrics[metric]
            self._set("focusnet_best_metric", value, stratum=stratum, metric=metric)

    def report(self, trial: Trial, report: Report) -> None:
        """Export what a running trial has reported."""
        if "gpu_memory" in report:
            self._set("focusnet_trial_gpu_memory_bytes", report["gpu_memory"], trial=trial.id)
        if "stage" not in report:
            return
        stage, epoch, seconds = report["stage"], report["epoch"], report.get("seconds", 0.0)
        self._set("focusnet_trial_epoch", epoch, trial=trial.id, stage=stage)
        accuracy = dict(report).get(f"{stage}/select/macro_accuracy")
        if isinstance(accuracy, float):
            self._set("focusnet_trial_accuracy_ratio", accuracy, trial=trial.id, stage=stage)
        before = self._last.get(trial.id, (stage, 0, 0.0))
        self._last[trial.id] = stage, epoch, seconds
        epochs, took = (epoch - before[1], seconds - before[2]) if before[0] == stage else (1, 0.0)
        if epochs > 0 and took > 0:
            speed = epochs * self._clips(trial.stratum) / took
            self._set("focusnet_trial_clips_per_second", speed, trial=trial.id)

    def ended(self, trial: str) -> None:
        """Let the series of a trial that does not run any more end."""
        self._last.pop(trial, None)
        own = ("trial", trial)
        self._series = {key: v for key, v in self._series.items() if own not in key[1]}

    def refresh(self) -> None:
        """Set all series again, every few seconds, so that Ray goes on exporting them."""
        if self._clock() - self._refreshed < _REFRESH_SECONDS:
            return
        self._refreshed = self._clock()
        for (name, labels), value in self._series.items():
            self._export(name, labels, value)

    def _set(self, name: str, value: float, **labels: Any) -> None:
        texts = tuple(
            (key, "all" if label is None else str(label)) for key, label in labels.items()
        )
        self._series[name, texts] = float(value)
        self._export(name, texts, float(value))

    def _export(self, name: str, labels: Labels, value: float) -> None:
        if not self._works:
            return
        try:
            if name not in self._gauges:
                text, keys = GAUGES[name]
                self._gauges[name] = self._make_gauge(name, text, keys)
            self._gauges[name].set(value, tags={"study": self._space.name, **dict(labels)})
        except Exception as error:  # whatever Ray raises: the study goes on
            self._works = False
            logger.warning("metrics  not exported any more: %s: %s", type(error).__name__, error)


def _state(trial: Trial, running: Collection[str]) -> str:
    """As this driver sees it: what the ledger calls running may be left by an earlier driver."""
    if trial.status in ENDED:
        return trial.status
    return "running" if trial.id in running else "pending"


def names() -> Iterable[str]:
    """The names that Prometheus sees."""
    return (f"ray_{name}" for name in GAUGES)

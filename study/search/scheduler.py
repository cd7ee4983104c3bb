"""Early stopping by ASHA, separately for each stratum.

A trial on 100 % of the data always scores higher than one on 5 %: a single ASHA would stop all
trials of the small subsets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from study.search.tune_types import NoSnapshot, Report, TuneTrial


class StratifiedAsha(NoSnapshot, FIFOScheduler):
    """One ASHA per stratum, in epochs of the stage that the metric measures.

    No decision is lost when the driver dies or the study is interrupted. A decision to stop is
    recorded before Tune carries it out. Until then the trial waits in its report, and an epoch is
    recorded in the ledger only when its report has returned: a resumed trial reports the epoch
    again, and is judged with all that is known by then.

    Args:
        metric: metric to maximise; results without it (epochs of other stages) are ignored.
        stratify: the parameter whose values are the strata, or None for one stratum.
        grace_epochs: epochs that every trial gets.
        max_epochs: the most epochs that a trial can have.
        reduction_factor: at each rung the best 1 / factor of the trials continue.
    """

    def __init__(
        self,
        *,
        metric: str,
        stratify: str | None,
        grace_epochs: int,
        max_epochs: int,
        reduction_factor: float,
    ) -> None:
        super().__init__()
        self._metric = metric
        self._stratify = stratify
        self._settings = {
            "time_attr": "epoch",
            "metric": metric,
            "mode": "max",
            # ASHA stops a trial that reaches max_t, before it has written its results.
            "max_t": max_epochs + 1,
            "grace_period": grace_epochs,
            "reduction_factor": reduction_factor,
        }
        self._by_stratum: dict[Any, AsyncHyperBandScheduler] = {}
        self.stopped: set[str] = set()  # names of the trials that were stopped

    def tell(self, stratum: Any, name: str, curve: dict[int, float]) -> None:
        """Fill the rungs with the ``curve`` that a trial reported in earlier runs of this study.

        When the trial is resumed, it does not report these epochs again.
        """
        config = {"trial": name}
        if self._stratify is not None:
            config[self._stratify] = stratum
        trial = _NamedTrial(name, config)
        self.on_trial_add(None, trial)
        for epoch, value in sorted(curve.items()):
            result = {"epoch": epoch, self._metric: value}
            self._of(trial).on_trial_result(None, _named(trial), result)

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        self._of(trial).on_trial_add(tune_controller, _named(trial))

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: Report) -> str:
        follow_up = trial.config.get("phase", "search") != "search"  # these are never stopped
        if follow_up or self._metric not in result:  # or this is an epoch of another stage
            return TrialScheduler.CONTINUE
        decision = self._of(trial).on_trial_result(tune_controller, _named(trial), result)
        if decision == TrialScheduler.STOP:
            if result["epoch"] >= result["epochs"]:
                return TrialScheduler.CONTINUE  # its last epoch: stopping saves nothing
            self.stopped.add(trial.config["trial"])
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: Report) -> None:
        # Its last result is in the rungs already.
        self.on_trial_remove(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        pass  # its results stay in the rungs

    def _of(self, trial: TuneTrial) -> AsyncHyperBandScheduler:
        stratum = trial.config.get(self._stratify) if self._stratify else None
        if stratum not in self._by_stratum:
            self._by_stratum[stratum] = AsyncHyperBandScheduler(**self._settings)
        return self._by_stratum[stratum]


@dataclass
class _NamedTrial:
    """A trial under its name in the ledger; Tune gives it another id in each run."""

    trial_id: str
    config: Mapping[str, Any]


def _named(trial: TuneTrial) -> _NamedTrial:
    return _NamedTrial(trial.config["trial"], trial.config)

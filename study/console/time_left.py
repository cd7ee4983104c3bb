"""Estimates how long the rest of a study takes, from what its trials have taken so far."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from study.ledger.ledger import Phase, Trial

# A trial's stages in their order, and what says that another trial had trained one.
STAGES = {"template": "template_reused", "focus": "teacher_reused", "student": "student_reused"}

StageWork = Callable[[Any, Phase], Mapping[str, float]]


@dataclass
class RunningTrial:
    """A trial that a worker runs.

    Attributes:
        trains_template: whether it is the first one that needs its template.
        at: what it does, for people.
        stage, epoch, epochs: of its last report; no stage before the first.
        seconds: from the start of that stage to that report.
    """

    trial: Trial
    since: float
    trains_template: bool
    at: str = "starting"
    stage: str | None = None
    epoch: int = 0
    epochs: int = 1
    seconds: float = 0.0


class TimeLeft:
    """Learns from trials how long a unit of work takes in each stage.

    Args:
        work: the work of each stage (see ``STAGES``) of a trial in a stratum and phase, in any
            unit, such as clips.
        slots: number of trials side by side.
    """

    def __init__(self, work: StageWork, slots: int) -> None:
        self._work = work
        self._slots = max(1, slots)
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._units = dict.fromkeys(STAGES, 0.0)
        self._extra: list[float] = []  # seconds of a trial outside its stages: start, data, waits
        self._shares: list[float] = []  # of the stages of trials that a scheduler may stop

    def learn(self, trial: Trial, seconds: float | None) -> None:
        """Learn from an ended trial, which took ``seconds``; None if that is not known."""
        if trial.status == "stopped":
            last = trial.epochs[-1] if trial.epochs else {"epoch": 0, "epochs": 1}
            self._shares.append(last["epoch"] / last["epochs"])
        if trial.status != "finished":
            return
        if trial.phase == "search":
            self._shares.append(1.0)
        own = 0.0
        for stage, took in self._trained(trial).items():
            self._seconds[stage] += took
            self._units[stage] += self._work(trial.stratum, trial.phase)[stage]
            own += took
        if seconds is not None:
            self._extra.append(max(0.0, seconds - own))

    def _trained(self, trial: Trial) -> dict[str, float]:
        """Seconds of the stages that this trial has trained itself."""
        taken = {
            stage: trial.metrics.get(f"{stage}/seconds", 0.0)
            for stage, reused in STAGES.items()
            if not trial.result.get(reused)
        }
        if "template" in taken:
            taken["template"] += trial.metrics.get("folds/seconds", 0.0)
        return {stage: seconds for stage, seconds in taken.items() if seconds}

    def seconds(
        self,
        now: float,
        running: Iterable[RunningTrial],
        to_come: Mapping[tuple[Any, Phase], int],
        templates: Mapping[Any, int],
    ) -> float | None:
        """Seconds until all trials have ended; None before anything is known.

        Args:
            now: on the clock of ``RunningTrial.since``.
            to_come: number of trials by stratum and phase.
            templates: number of templates that they will train, by stratum.
        """
        running = list(running)
        rates = self._rates(running)
        if rates is None:
            return None
        extra = sorted(self._extra)[len(self._extra) // 2] if self._extra else 0.0
        share = sum(self._shares) / len(self._shares) if self._shares else 1.0

        def cost(stratum: Any, phase: Phase, stages: Iterable[str]) -> float:
            work = self._work(stratum, phase)
            return sum(work[stage] * rates[stage] for stage in stages)

        rest = [self._rest(now, one, rates) for one in running]
        total = sum(rest)
        for (stratum, phase), count in to_come.items():
            own = cost(stratum, phase, ("focus", "student"))
            total += count * (extra + own * (share if phase == "search" else 1.0))
        for stratum, count in templates.items():
            total += count * cost(stratum, "confirm", ["template"])
        return max([total / self._slots, *rest])

    def _rest(self, now: float, one: RunningTrial, rates: Mapping[str, float]) -> float:
        work = self._work(one.trial.stratum, one.trial.phase)
        names = list(STAGES)
        stages = names[names.index(one.stage) :] if one.stage else names
        seconds = 0.0
        for stage in stages:
            if stage == one.stage:
                seconds += (1 - one.epoch / one.epochs) * work[stage] * rates[stage]
            elif stage != "template" or one.trains_template:
                seconds += work[stage] * rates[stage]
        if one.stage is None:
            seconds -= now - one.since
        return max(0.0, seconds)

    def _rates(self, running: Iterable[RunningTrial]) -> dict[str, float] | None:
        """Seconds for a unit of each stage's work; those of the others where it has not run."""
        seconds, units = dict(self._seconds), dict(self._units)
        for one in running:
            if one.stage is not None and one.epoch and not self._units[one.stage]:
                work = self._work(one.trial.stratum, one.trial.phase)[one.stage]
                seconds[one.stage] += one.seconds
                units[one.stage] += work * one.epoch / one.epochs
        all_units = sum(units.values())
        if not all_units:
            return None
        usual = sum(seconds.values()) / all_units
        return {s: seconds[s] / units[s] if units[s] else usual for s in STAGES}

"""What a person sees while a study runs: plain lines, one for what happened, one for the sum."""

import math
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from focusnet.arms import FEW_WARM_CLASSES, FEW_WARM_NOTE, label_of
from focusnet.system.units import clock_time, rough_time
from study.ledger.ledger import Trial
from study.search.winners import winners

HEARTBEAT_SECONDS = 30.0
_SHARED = ("template", "folds")  # what one trial trains and others take


@dataclass
class _Running:
    trial: Trial
    since: float
    at: str = "starting"


class Progress:
    """Prints the course of a study.

    Args:
        label: what a stratum is called, such as ``subset 25``.
        total: trials of the whole study.
        ended: trials that ended in earlier runs.
        slots: trials side by side.
        to_come: for each stratum, how many trials this run will start, at most.
        templates_shared: of the trials of a stratum with one seed, the first alone trains their
            template, so that the time it takes for that says nothing about the next.
        searches: for each stratum, how many trials its search has.
        seeds: of all trials, where they are known; a template is trained for each in each stratum.
        metric: what the search maximises.
    """

    def __init__(
        self,
        *,
        label: Callable[[Any], str],
        total: int,
        ended: Collection[Trial],
        slots: int,
        to_come: Mapping[Any, int],
        templates_shared: bool = False,
        searches: Mapping[Any, int] | None = None,
        seeds: Collection[int] = (),
        metric: str = "focus/select/macro_accuracy",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._total = total
        self._ended = list(ended)
        self._slots = slots
        self._to_come = dict(to_come)
        self._stream = stream or sys.stdout
        self._clock = clock
        self._templates_shared = templates_shared
        self._searches = dict(searches or {})
        self._metric = metric
        self._templates_left = {(s, seed) for s in self._to_come for seed in seeds}
        self._templates_left -= {(trial.stratum, trial.seed) for trial in ended}
        self._template_seconds: dict[Any, list[float]] = {}
        self._begin = clock()
        self._running: dict[str, _Running] = {}
        self._durations: dict[Any, list[float]] = {}
        self._last_line = self._begin
        self._told_few_warm = False

    def say(self, text: str) -> None:
        """One line with the time since the start."""
        now = self._clock()
        self._last_line = now
        print(f"[{clock_time(now - self._begin)}] {text}", file=self._stream, flush=True)

    def started(self, trial: Trial) -> None:
        again = f" (attempt {trial.attempts + 1})" if trial.attempts else ""
        self._running[trial.id] = _Running(trial, self._clock())
        self._to_come[trial.stratum] = max(0, self._to_come.get(trial.stratum, 0) - 1)
        self._templates_left.discard((trial.stratum, trial.seed))
        self.say(f"start    {trial.id}{again}")

    def reported(self, trial: str, record: Mapping[str, Any]) -> None:
        """An epoch has ended, or the trial waits."""
        if trial in self._running and "stage" in record:
            at = f"{record['stage']} {record['epoch']}/{record['epochs']}"
            self._running[trial].at = at
        elif trial in self._running and "at" in record:
            self._running[trial].at = record["at"]

    def lost_worker(self, trial: Trial) -> None:
        self._running.pop(trial.id, None)
        self._to_come[trial.stratum] = self._to_come.get(trial.stratum, 0) + 1
        self.say(f"again    {trial.id}: its worker died")

    def ended(self, trial: Trial) -> None:
        running = self._running.pop(trial.id, None)
        seconds = self._clock() - running.since if running else math.nan
        if trial.status == "finished":
            typical = seconds
            template = sum(trial.metrics.get(f"{what}/seconds", 0.0) for what in _SHARED)
            if self._templates_shared and trial.result.get("template_reused") is False:
                typical -= template
            self._template_seconds.setdefault(trial.stratum, []).append(template)
            self._durations.setdefault(trial.stratum, []).append(typical)
            self.say(f"done     {trial.id}: {_numbers(trial)}, {seconds:.0f} s")
            warm = trial.metrics.get("focus/warm_classes", math.inf)
            if warm < FEW_WARM_CLASSES and not self._told_few_warm:
                self._told_few_warm = True
                self.say(f"note     {FEW_WARM_NOTE}")
        elif trial.status == "stopped":
            epoch = max(trial.curve("focus/select/macro_accuracy"), default=0)
            self.say(f"stopped  {trial.id}: behind its stratum after FocusNet epoch {epoch}")
        else:
            self.say(f"FAILED   {trial.id}: {trial.error}")
        self._ended.append(trial)
        self.say("study    " + self.summary())
        self._tell_winner(trial)

    def _tell_winner(self, last: Trial) -> None:
        """Once the whole search of a stratum has ended."""
        own = [one for one in self._ended if one.searched and one.stratum == last.stratum]
        if not last.searched or len(own) != self._searches.get(last.stratum):
            return
        best = winners(own, self._metric).get(last.stratum)
        where = " ".join(filter(None, ["search of", self._label(last.stratum)]))
        if best is None:
            self.say(f"winner   {where}: none, because no trial finished; nothing follows it")
        elif self._to_come.get(last.stratum):
            self.say(f"winner   {where}: {best.id}; its controls and confirmation follow")

    def heartbeat(self) -> None:
        """Show that the study lives, where nothing else did for a while."""
        if self._clock() - self._last_line >= HEARTBEAT_SECONDS and self._running:
            self.say(
                "running  " + ", ".join(f"{name}: {r.at}" for name, r in self._running.items())
            )

    def summary(self) -> str:
        """Counts, the best gain of each stratum on ``select``, and the time left."""
        states = [trial.status for trial in self._ended]
        parts = [f"{states.count('finished')} of {self._total} done"]
        if states.count("stopped"):
            parts.append(f"{states.count('stopped')} stopped early")
        parts.append(f"{len(self._running)} running")
        parts.append(f"{states.count('failed')} failed")
        text = ", ".join(parts)
        gains = self._best_gains()
        if gains:
            text += " | best gain on select: " + ", ".join(
                f"{self._label(stratum)} {100 * gain:+.1f}" for stratum, gain in gains.items()
            )
        left = self.seconds_left()
        if left:
            text += f" | about {rough_time(left)} left"
        return text

    def seconds_left(self) -> float | None:
        """From the time that trials of the same stratum took; None before any has finished."""
        finished = [s for seconds in self._durations.values() for s in seconds]
        if not finished:
            return None

        def expected(stratum: Any) -> float:
            seconds = self._durations.get(stratum, finished)
            return sum(seconds) / len(seconds)

        now = self._clock()
        rest = [
            max(0.0, expected(running.trial.stratum) - (now - running.since))
            for running in self._running.values()
        ]
        work = sum(rest) + sum(n * expected(stratum) for stratum, n in self._to_come.items())
        if self._templates_shared:
            work += sum(self._template_time(stratum) for stratum, _ in self._templates_left)
        return max([work / max(1, self._slots), *rest])

    def _template_time(self, stratum: Any) -> float:
        every = [s for seconds in self._template_seconds.values() for s in seconds]
        own = self._template_seconds.get(stratum, every)
        return sum(own) / len(own) if own else 0.0

    def _best_gains(self) -> dict[Any, float]:
        best: dict[Any, float] = {}
        for trial in self._ended:
            gain = trial.metrics.get("gain/select/macro_accuracy")
            if trial.searched and trial.status == "finished" and gain is not None:
                best[trial.stratum] = max(gain, best.get(trial.stratum, -math.inf))
        return dict(sorted(best.items(), key=lambda item: str(item[0]).zfill(12)))


def _numbers(trial: Trial) -> str:
    metrics = trial.metrics

    def percent(name: str) -> str:
        return f"{100 * metrics.get(name, math.nan):.1f}"

    gain = 100 * metrics.get("gain/select/macro_accuracy", math.nan)
    text = (
        f"template {percent('template/select/macro_accuracy')} %, "
        f"{label_of(trial.arm)} {percent('focus/select/macro_accuracy')} %, gain {gain:+.1f}"
    )
    if "focus/warm_classes" in metrics:  # only an arm with masks has them
        text += f", warm classes {metrics['focus/warm_classes']:.2f}"
    return text

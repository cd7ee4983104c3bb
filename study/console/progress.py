"""Logs the progress of a running study: one line for an event, one for the state of the study."""

import logging
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from focusnet.arms import FEW_WARM_CLASSES, FEW_WARM_NOTE, STUDENT_ONLY, label_of
from focusnet.system.units import rough_time
from focusnet.winner import POSTERIOR_MEAN
from study.ledger.ledger import Trial
from study.search.tune_types import Report
from study.search.winners import Winner

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 30.0
_SHARED = ("template", "folds")  # stages that one trial trains and others reuse


@dataclass
class _Running:
    trial: Trial
    since: float
    at: str = "starting"


class Progress:
    """Logs what happens to trials, and estimates the time left.

    Args:
        label: gives the name of a stratum, such as ``subset 25``.
        total: number of trials of the whole study.
        ended: trials that ended in earlier runs.
        slots: number of trials side by side.
        to_come: for each stratum, how many trials this run will start at most.
        templates_shared: whether only the first trial of a stratum and seed trains the template,
            so that its training time does not count for the next ones.
        searches: for each stratum, the number of trials of its search.
        at_most: whether looks may end the study before ``to_come`` has been started.
        templates: for each stratum, how many seeds its trials have in all; each needs a template.
        winners: gives the winners of the strata whose search is decided, given the ended trials.
        metric: what the search maximises or minimises.
        clock: gives seconds.
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
        at_most: bool = False,
        templates: Mapping[Any, int] | None = None,
        winners: Callable[[Collection[Trial]], Mapping[Any, Winner]] = lambda trials: {},
        metric: str = "focus/select/macro_accuracy",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._total = total
        self._ended = list(ended)
        self._slots = slots
        self._to_come = dict(to_come)
        self._clock = clock
        self._templates_shared = templates_shared
        self._searches = dict(searches or {})
        self._winners = winners
        self._metric = metric
        self._named = set(winners(self._ended))  # whom the log has named
        self._at_most = at_most
        self._templates = dict(templates or {})
        self._seeds = {(trial.stratum, trial.seed) for trial in ended}
        self._template_seconds: dict[Any, list[float]] = {}
        self._running: dict[str, _Running] = {}
        self._durations: dict[Any, list[float]] = {}
        self._last_line = clock()
        self._noted_few_warm = False

    def _log(self, what: str, text: str, level: int = logging.INFO) -> None:
        self._last_line = self._clock()
        logger.log(level, "%-8s %s", what, text)

    def started(self, trial: Trial) -> None:
        again = f" (attempt {trial.attempts + 1})" if trial.attempts else ""
        self._running[trial.id] = _Running(trial, self._clock())
        self._to_come[trial.stratum] = max(0, self._to_come.get(trial.stratum, 0) - 1)
        self._seeds.add((trial.stratum, trial.seed))
        self._log("start", f"{trial.id}{again}")

    def reported(self, trial: str, report: Report) -> None:
        """An epoch has ended, or the trial waits for a template."""
        if trial not in self._running:
            return
        if "stage" in report:
            self._running[trial].at = f"{report['stage']} {report['epoch']}/{report['epochs']}"
        elif "at" in report:
            self._running[trial].at = report["at"]
        process = f"process {report.get('pid', '?')} on {report.get('hostname', '?')}"
        logger.debug("report   %s: %s, from %s", trial, self._running[trial].at, process)

    def look_taken(
        self, found: Collection[str], to_come: Mapping[Any, int], *, at_most: bool
    ) -> None:
        """A look has been taken, which decides how many trials are still to come."""
        for line in found:
            self._log("look", line)
        if not at_most and self._at_most:  # the trials that are left reuse templates
            self._templates = {}
        self._at_most = at_most
        self._to_come = dict(to_come)
        self._total = len(self._ended) + len(self._running) + sum(to_come.values())

    def lost_worker(self, trial: Trial) -> None:
        self._running.pop(trial.id, None)
        self._to_come[trial.stratum] = self._to_come.get(trial.stratum, 0) + 1
        self._log("again", f"{trial.id}: its worker died", logging.WARNING)

    def ended(self, trial: Trial) -> None:
        running = self._running.pop(trial.id, None)
        seconds = self._clock() - running.since if running else math.nan
        self._ended.append(trial)
        if trial.status == "finished":
            self._record_times(trial, seconds)
            self._log("done", f"{trial.id}: {_numbers(trial)}, {seconds:.0f} s")
            warm = trial.metrics.get("focus/warm_classes", math.inf)
            if warm < FEW_WARM_CLASSES and not self._noted_few_warm:
                self._noted_few_warm = True
                self._log("note", FEW_WARM_NOTE)
        elif trial.status == "stopped":
            where = stopped_after(trial, self._metric)
            self._log("stopped", f"{trial.id}: behind its stratum {where}")
        else:
            where = f"trials/{trial.id}/error.txt and trial.log"
            self._log("FAILED", f"{trial.id}: {trial.error} (see {where})", logging.WARNING)
        self._log("study", self.summary())
        self._log_winners(trial)

    def _record_times(self, trial: Trial, seconds: float) -> None:
        typical = seconds
        template = sum(trial.metrics.get(f"{stage}/seconds", 0.0) for stage in _SHARED)
        if self._templates_shared and trial.result.get("template_reused") is False:
            typical -= template
        self._template_seconds.setdefault(trial.stratum, []).append(template)
        self._durations.setdefault(trial.stratum, []).append(typical)

    def _log_winners(self, last: Trial) -> None:
        """Name the winners that are known since ``last`` ended the search of its stratum."""
        own = [one for one in self._ended if one.searched and one.stratum == last.stratum]
        if not last.searched or len(own) != self._searches.get(last.stratum):
            return
        if not any(one.status == "finished" for one in own):
            where = self._search_of(last.stratum)
            self._log("winner", f"{where}: none, because no trial finished; nothing follows it")
        for key, winner in self._winners(self._ended).items():
            if key not in self._named:
                self._log_winner(winner)
            self._named.add(key)

    def _log_winner(self, winner: Winner) -> None:
        where, follow = self._search_of(winner.stratum), self._to_come.get(winner.stratum)
        if winner.half == "report":
            where += ", chosen on the other half"
        if follow or winner.rule == POSTERIOR_MEAN:
            rest = "; its controls and confirmation follow" if follow else ""
            self._log("winner", f"{where}: {winner.described}{rest}")
        if winner.doubt:
            self._log("winner", f"{where}: {winner.doubt}", logging.WARNING)

    def _search_of(self, stratum: Any) -> str:
        return " ".join(filter(None, ["search of", self._label(stratum)]))

    def heartbeat(self) -> None:
        """Show that the study lives, if nothing else was logged for a while."""
        if self._clock() - self._last_line >= HEARTBEAT_SECONDS and self._running:
            stages = (f"{name}: {running.at}" for name, running in self._running.items())
            self._log("running", ", ".join(stages))

    def summary(self) -> str:
        """Counts, the best on ``select`` of each stratum, and the time left."""
        states = [trial.status for trial in self._ended]
        most = "up to " if self._at_most else ""
        parts = [f"{states.count('finished')} of {most}{self._total} done"]
        if states.count("stopped"):
            parts.append(f"{states.count('stopped')} stopped early")
        parts.append(f"{len(self._running)} running")
        parts.append(f"{states.count('failed')} failed")
        text = ", ".join(parts)
        text += self._best()
        left = self.seconds_left()
        if left:
            text += f" | about {rough_time(left)} left"
        return text

    def seconds_left(self) -> float | None:
        """Estimate from the times of trials of the same stratum; None before any has finished."""
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
            for stratum, count in self._templates.items():
                left = count - sum(begun == stratum for begun, _ in self._seeds)
                work += max(0, left) * self._template_time(stratum)
        return max([work / max(1, self._slots), *rest])

    def _template_time(self, stratum: Any) -> float:
        every = [s for seconds in self._template_seconds.values() for s in seconds]
        own = self._template_seconds.get(stratum, every)
        return sum(own) / len(own) if own else 0.0

    def _best(self) -> str:
        """The best gain of each stratum, or its best student where students decide."""
        students = _of_student(self._metric)
        name = "student/select/macro_accuracy" if students else "gain/select/macro_accuracy"
        best: dict[Any, float] = {}
        for trial in self._ended:
            value = trial.metrics.get(name)
            if trial.searched and trial.status == "finished" and value is not None:
                best[trial.stratum] = max(value, best.get(trial.stratum, -math.inf))
        if not best:
            return ""
        parts = [
            " ".join(filter(None, [self._label(stratum), _percent(value, signed=not students)]))
            for stratum, value in sorted(best.items(), key=lambda item: str(item[0]).zfill(12))
        ]
        return f" | best {'student' if students else 'gain'} on select: {', '.join(parts)}"


def stopped_after(trial: Trial, metric: str) -> str:
    """After which epoch a trial was stopped early; trials are compared by ``metric``."""
    stage = "student" if _of_student(metric) else "FocusNet"
    return f"after {stage} epoch {max(trial.curve(metric), default=0)}"


def _of_student(metric: str) -> bool:
    return metric.startswith("student/")


def _percent(value: float, *, signed: bool) -> str:
    return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f} %"


def _numbers(trial: Trial) -> str:
    """Accuracies on select of the stages that the trial has, and what its masks hold."""
    metrics = trial.metrics
    names = {"template": "template", "focus": label_of(trial.arm), "student": _student(trial.arm)}
    parts = [
        f"{name} {100 * value:.1f} %"
        for stage, name in names.items()
        if (value := metrics.get(f"{stage}/select/macro_accuracy")) is not None
    ]
    gain = metrics.get("gain/select/macro_accuracy")
    if gain is not None:
        parts.append(f"gain {100 * gain:+.1f}")
    if "focus/warm_classes" in metrics:  # only an arm with masks has them
        parts.append(f"warm classes {metrics['focus/warm_classes']:.2f}")
    return ", ".join(parts)


def _student(arm: str) -> str:
    return f"student ({label_of(arm)})" if arm in STUDENT_ONLY else "student"

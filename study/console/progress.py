"""Shows the progress of a running study: a line for each event, one for the state of the study."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from focusnet.arms import FEW_WARM_CLASSES, FEW_WARM_NOTE, STUDENT_ONLY, label_of
from focusnet.system.logs import ON_STATUS_LINE
from focusnet.system.units import rough_time
from focusnet.winner import POSTERIOR_MEAN
from study.console.time_left import RunningTrial, TimeLeft
from study.ledger.ledger import Phase, Trial
from study.ledger.records import PHASES, Status
from study.search.tune_types import Report
from study.search.winners import Winner

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 30.0
_STATUS_SECONDS = 1.0  # how often the line in a terminal is rewritten at most
PHASE_NAMES: dict[Phase, str] = {
    "search": "search",
    "controls": "controls",
    "confirm": "confirmation",
}


class Progress:
    """Logs what happens to trials, with the state of the study and the time left.

    In a terminal the state is one line that is rewritten; elsewhere it is logged.

    Args:
        label: gives the name of a stratum, such as ``subset 25``.
        ended: trials that ended in earlier runs.
        to_come: how many trials this run will start at most, by stratum and phase.
        time_left: estimates it; it is told of ``ended``.
        templates_shared: whether only the first trial of a stratum and seed trains the template.
        searches: gives the number of trials of a stratum's search.
        at_most: whether looks may end the study before ``to_come`` has been started.
        templates: for each stratum, how many seeds its trials have in all; each needs a template.
        winners: gives the winners of the strata whose search is decided, given the ended trials.
        metric: what the search maximises or minimises.
        show: shows the state on a line of a terminal; None where there is none.
        clock: gives seconds.
    """

    def __init__(
        self,
        *,
        label: Callable[[Any], str],
        ended: Collection[Trial],
        to_come: Mapping[tuple[Any, Phase], int],
        time_left: TimeLeft,
        templates_shared: bool = False,
        searches: Callable[[Any], int] = lambda stratum: 0,
        at_most: bool = False,
        templates: Mapping[Any, int] | None = None,
        winners: Callable[[Collection[Trial]], Mapping[Any, Winner]] = lambda trials: {},
        metric: str = "focus/select/macro_accuracy",
        show: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._ended = list(ended)
        self._to_come = Counter(to_come)
        self._clock = clock
        self._templates_shared = templates_shared
        self._searches = searches
        self._winners = winners
        self._metric = metric
        self._named = set(winners(self._ended))  # whom the log has named
        self._at_most = at_most
        self._templates = dict(templates or {})
        self._seeds = {(trial.stratum, trial.seed) for trial in ended}
        self._running: dict[str, RunningTrial] = {}
        self._time_left = time_left
        for trial in ended:
            time_left.learn(trial, None)
        self._phase: Phase | None = None
        self._show = show
        self._last_line = self._last_shown = clock()
        self._noted_few_warm = False

    def _log(self, what: str, text: str, level: int = logging.INFO, *, state: bool = False) -> None:
        """Log a line; one on the ``state`` is for where no line is rewritten."""
        self._last_line = self._clock()
        logger.log(level, "%-8s %s", what, text, extra={ON_STATUS_LINE: state})

    def started(self, trial: Trial) -> None:
        key = trial.stratum, trial.seed
        own = not self._templates_shared or key not in self._seeds
        self._running[trial.id] = RunningTrial(trial, self._clock(), trains_template=own)
        self._to_come[trial.stratum, trial.phase] -= 1
        self._seeds.add(key)
        if trial.phase != self._phase:
            self._phase = trial.phase
            self._log("phase", f"{PHASE_NAMES[trial.phase]}: {self._count(trial.phase)} trials")
        again = f" (attempt {trial.attempts + 1})" if trial.attempts else ""
        self._log("start", f"{trial.id}{again}", state=True)
        self._show_state()

    def reported(self, trial: str, report: Report) -> None:
        """An epoch has ended, or the trial waits for a template."""
        one = self._running.get(trial)
        if one is None:
            return
        if "stage" in report:
            one.stage, one.epoch, one.epochs = report["stage"], report["epoch"], report["epochs"]
            one.seconds = report.get("seconds", 0.0)
            one.at = f"{one.stage} {one.epoch}/{one.epochs}"
        elif "at" in report:
            one.at = report["at"]
        process = f"process {report.get('pid', '?')} on {report.get('hostname', '?')}"
        logger.debug("report   %s: %s, from %s", trial, one.at, process)
        self._show_state()

    def search_ended(self, why: str, to_come: Mapping[tuple[Any, Phase], int]) -> None:
        """The search has ended before its last trial."""
        self._log("search", why)
        self._to_come = Counter(to_come)

    def look_taken(
        self, found: Collection[str], to_come: Mapping[tuple[Any, Phase], int], *, at_most: bool
    ) -> None:
        """A look has been taken, which decides how many trials are still to come."""
        for line in found:
            self._log("look", line)
        if not at_most and self._at_most:  # the trials that are left reuse templates
            self._templates = {}
        self._at_most = at_most
        self._to_come = Counter(to_come)

    def lost_worker(self, trial: Trial) -> None:
        self._running.pop(trial.id, None)
        self._to_come[trial.stratum, trial.phase] += 1
        self._log("again", f"{trial.id}: its worker died", logging.WARNING)

    def ended(self, trial: Trial) -> None:
        running = self._running.pop(trial.id, None)
        seconds = self._clock() - running.since if running else None
        self._ended.append(trial)
        self._time_left.learn(trial, seconds)
        if trial.status == "finished":
            took = "" if seconds is None else f", {seconds:.0f} s"
            self._log("done", f"{trial.id}: {_numbers(trial)}{took}")
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
        self._log("study", self.summary(), state=True)
        self._log_winners(trial)
        self._show_state()

    def _log_winners(self, last: Trial) -> None:
        """Name the winners that are known since ``last`` ended the search of its stratum."""
        own = [one for one in self._ended if one.searched and one.stratum == last.stratum]
        if not last.searched or len(own) != self._searches(last.stratum):
            return
        if not any(one.status == "finished" for one in own):
            where = self._search_of(last.stratum)
            self._log("winner", f"{where}: none, because no trial finished; nothing follows it")
        for key, winner in self._winners(self._ended).items():
            if key not in self._named:
                self._log_winner(winner)
            self._named.add(key)

    def _log_winner(self, winner: Winner) -> None:
        where = self._search_of(winner.stratum)
        follow = any(n > 0 for (own, _), n in self._to_come.items() if own == winner.stratum)
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
        """Show that the study lives, if nothing else was shown for a while."""
        now = self._clock()
        if now - self._last_line >= HEARTBEAT_SECONDS and self._running:
            stages = (f"{name}: {running.at}" for name, running in self._running.items())
            self._log("running", ", ".join(stages), state=True)
        if now - self._last_shown >= _STATUS_SECONDS:
            self._show_state()

    def _show_state(self) -> None:
        """Rewrite the line in the terminal: what matters most comes first, the rest may not fit."""
        if self._show is None:
            return
        self._last_shown = self._clock()
        stages = (
            " ".join(filter(None, [self._label(one.trial.stratum), one.at]))
            for one in self._running.values()
        )
        now = [phase for phase in PHASES if self._unended(phase)]
        parts = [self._left(), ", ".join(map(self._ended_of, now)), ", ".join(stages)]
        self._show(" | ".join(filter(None, parts)))

    def summary(self) -> str:
        """Counts by phase and the time left."""
        return " | ".join(filter(None, [self._counts(), self._left()]))

    def _counts(self) -> str:
        phases = [phase for phase in PHASES if self._in_phase(phase) or self._left_in(phase)]
        parts = [*map(self._ended_of, phases), f"{len(self._running)} running"]
        states = Counter(trial.status for trial in self._ended)
        parts += [f"{states[s]} {text}" for s, text in _ENDS.items() if states[s]]
        return ", ".join(parts)

    def _ended_of(self, phase: Phase) -> str:
        ended = sum(trial.phase == phase for trial in self._ended)
        return f"{PHASE_NAMES[phase]} {ended} of {self._count(phase)}"

    def _unended(self, phase: Phase) -> bool:
        running = any(one.trial.phase == phase for one in self._running.values())
        return running or self._left_in(phase) > 0

    def _count(self, phase: Phase) -> str:
        """How many trials a phase has in all."""
        most = "up to " if self._at_most and phase != "search" else ""
        return f"{most}{self._in_phase(phase) + self._left_in(phase)}"

    def _in_phase(self, phase: Phase) -> int:
        """Trials that have ended or run."""
        known = [*self._ended, *(one.trial for one in self._running.values())]
        return sum(trial.phase == phase for trial in known)

    def _left_in(self, phase: Phase) -> int:
        return sum(max(0, n) for (_, own), n in self._to_come.items() if own == phase)

    def _left(self) -> str:
        seconds = self.seconds_left()
        most = "at most " if self._at_most else ""
        return f"{most}about {rough_time(seconds)} left" if seconds else ""

    def seconds_left(self) -> float | None:
        """The time left; None before anything is known."""
        begun = Counter(stratum for stratum, _ in self._seeds)
        left = {s: max(0, count - begun[s]) for s, count in self._templates.items()}
        if not self._templates_shared:  # each trial trains one
            left = Counter()
            for (stratum, _), count in self._to_come.items():
                left[stratum] += max(0, count)
        to_come = {key: n for key, n in self._to_come.items() if n > 0}
        return self._time_left.seconds(self._clock(), self._running.values(), to_come, left)


_ENDS: dict[Status, str] = {"stopped": "stopped early", "failed": "failed"}


def stopped_after(trial: Trial, metric: str) -> str:
    """After which epoch a trial was stopped early; trials are compared by ``metric``."""
    stage = "student" if metric.startswith("student/") else "FocusNet"
    return f"after {stage} epoch {max(trial.curve(metric), default=0)}"


def _numbers(trial: Trial) -> str:
    """Accuracies on select of the stages that the trial has, and what its masks hold."""
    metrics = trial.metrics
    names = {"template": "template", "focus": label_of(trial.arm), "student": _student(trial.arm)}
    parts = [
        f"{name} {100 * value:.1f} %"
        for stage, name in names.items()
        if (value := metrics.get(f"{stage}/select/macro_accuracy")) is not None
    ]
    if "focus/warm_classes" in metrics:  # only an arm with masks has them
        parts.append(f"warm classes {metrics['focus/warm_classes']:.2f}")
    return ", ".join(parts)


def _student(arm: str) -> str:
    return f"student ({label_of(arm)})" if arm in STUDENT_ONLY else "student"

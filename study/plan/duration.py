"""Estimates how long a study takes, from the training speed measured on this machine."""

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from focusnet.arms import STUDENT_ONLY
from focusnet.auto_settings import choose_here, with_choices
from focusnet.config import TrialConfig
from focusnet.errors import FocusNetError
from focusnet.system.units import rough_time, size_text
from focusnet.training.gpu_memory import CONTEXT
from study.plan.data_size import DataSize, largest_data
from study.plan.disk import slots_here
from study.space.space import Space

if TYPE_CHECKING:
    from focusnet.training.speed import Speed  # imports torch

_USABLE = 0.95  # share of a GPU's memory that trials may fill


@dataclass(frozen=True)
class Work:
    """Clips that a network trains on and predicts, each counted as often as it is used."""

    train: float
    predict: float

    def __add__(self, other: "Work") -> "Work":
        return Work(self.train + other.train, self.predict + other.predict)

    def __mul__(self, times: float) -> "Work":
        return Work(self.train * times, self.predict * times)

    def seconds(self, train: float, predict: float) -> float:
        """Time that it takes at ``train`` and ``predict`` clips a second."""
        return self.train / train + self.predict / predict


def study_work(space: Space, data: DataSize) -> tuple[Work, Work]:
    """Work of a whole study: with templates shared, and with one trained in every trial.

    Trials that are stopped early count in full.
    """
    shared = own = Work(0, 0)
    folds = space.folds_at_most() / space.templates_at_most()
    for stratum in space.strata:
        trials = space.trials_of(stratum) + space.follow_ups_of(stratum)
        templates = space.templates_of(stratum)
        teachers, searched = space.teachers_of(stratum), space.trials_of(stratum)
        fresh = min(templates, space.fresh_templates_of(stratum))
        first = min(teachers, searched)
        # Trials of the search, then those after it, which are evaluated at their end only.
        for once, some_templates, some_teachers, some_trials in (
            (False, templates - fresh, first, searched),
            (True, fresh, teachers - first, trials - searched),
        ):
            template, fold, focus = stage_work(space, data, stratum, evaluated_once=once)
            template += fold * folds
            shared += template * some_templates + focus * some_teachers
            own += (template + focus) * some_trials
    return shared, own


def stage_work(
    space: Space, data: DataSize, stratum: Any, *, evaluated_once: bool
) -> tuple[Work, Work, Work]:
    """Work for one template, one template of a fold, and one second stage."""
    trial = trial_of(space, stratum)
    clips = data.train * trial.data.subset / 100
    half = data.test / 2  # clips of select, or of report
    epochs = trial.template.epochs
    focus_epochs = trial.focus.epochs or epochs
    best = trial.template.keep == "best"  # evaluates every epoch
    every = 1 if best else max(epochs, focus_epochs) if evaluated_once else _every(trial)
    evaluations, focus_evaluations = (math.ceil(n / every) for n in (epochs, focus_epochs))
    template = Work(epochs * clips, (evaluations + 1) * half + clips)  # and report
    share = 1 / trial.focus.folds  # of the clips, which a fold's template predicts
    evaluated = epochs * half if best else 0
    fold = Work(epochs * clips * (1 - share), evaluated + clips * share)
    return template, fold, Work(focus_epochs * clips, (focus_evaluations + 1) * half)


def student_work(space: Space, data: DataSize) -> Work:
    """Work for the students of a whole study; none without any."""
    work = Work(0, 0)
    for stratum in space.strata if space.has_student else ():
        trial = trial_of(space, stratum)
        assert trial.student is not None
        clips, half = data.train * trial.data.subset / 100, data.test / 2
        epochs = trial.student.epochs
        best = trial.student.keep == "best"
        searched = space.trials_of(stratum)
        for every, students in (
            (_every(trial), searched),
            (epochs, space.students_of(stratum) - searched),
        ):
            evaluations = math.ceil(epochs / (1 if best else every))
            work += Work(epochs * clips, (evaluations + 1) * half) * students
    return work


def _every(trial: TrialConfig) -> int:
    return trial.compute.eval_epochs


def trial_of(space: Space, stratum: Any) -> TrialConfig:
    """A trial of a stratum: searched settings have their first values."""
    values = space.first_values()
    if space.search.stratify is not None:
        values[space.search.stratify] = stratum
    return space.trial_config(values)


def confirmation_work(space: Space, data: DataSize) -> tuple[list[Work], Work]:
    """Work up to each look, and of all controls at the most; templates included."""
    ends = []
    controls = Work(0, 0)
    stages = {
        stratum: stage_work(space, data, stratum, evaluated_once=True) for stratum in space.strata
    }
    for look in space.confirm_looks:
        work = Work(0, 0)
        for stratum, (template, _, focus) in stages.items():
            work += (template + focus) * look[stratum]
        ends.append(work)
    arms = len([arm for arm in space.control_arms if arm not in STUDENT_ONLY])
    for stratum, (_, _, focus) in stages.items():
        trained = arms * (space.seeds_of(stratum) + len(space.control_seeds))
        controls += focus * (space.tunings_of(stratum) + trained)
    return ends, controls


def _look_hours(space: Space, data: DataSize, seconds: Callable[[Work], float]) -> Iterator[str]:
    """How long the confirmation takes up to each of its planned looks."""
    if space.looks_planned:
        ends, controls = confirmation_work(space, data)
        times = (f"look {n} {rough_time(seconds(end))}" for n, end in enumerate(ends, 1))
        yield f"of it the confirmation up to {', '.join(times)}"
        if space.control_arms:
            yield f"after a gain its controls, up to {rough_time(seconds(controls))}"


def describe_duration(space: Space) -> Iterator[str]:
    """Lines on time and memory for the plan; trains a network on noise for some seconds."""
    data = largest_data(space)
    if not data.test:
        yield "unknown: the data set is missing"
        return
    trial = space.trial_config(space.first_values())
    slots = slots_here(space)
    shared, own = study_work(space, data)
    try:
        choices = choose_here(trial, shared.train / slots)
        measured = _measure(with_choices(trial, choices))
    except FocusNetError as error:
        yield f"cannot be measured here: {'; '.join(error.problems)}"
        return
    speed, students = measured.speed, 0.0
    if measured.student is not None:
        work = student_work(space, data)
        students = work.seconds(measured.student.train, measured.student.predict)
    starts = measured.start_seconds(space, slots)
    gpu = space.resources.gpu
    # Trials that share a GPU share its time: measured alone, one has all of it.
    at_once = max(1.0, slots * min(gpu, 1.0)) if gpu else slots
    seconds, unshared = (
        work.seconds(speed.train, speed.predict) + students + starts for work in (shared, own)
    )
    cost = f", {seconds * max(gpu, 1.0) / 3600:.1f} GPU-hours" if gpu else ""
    at_a_time = "one trial" if slots == 1 else f"{slots} trials"
    yield (
        f"about {rough_time(seconds / at_once)}{cost} with {at_a_time} at a time; "
        f"{rough_time(unshared / at_once)} if every trial trained its own template"
    )
    if space.has_student:
        yield f"of it the students {rough_time(students / at_once)}, if none is like another"
    yield from measured.describe_starts(starts / at_once, seconds / at_once)
    yield (
        f"measured on noise ({speed.device}): {speed.train:,.0f} clips/s in training, "
        f"{speed.predict:,.0f} clips/s in prediction, with one trial at a time"
    )
    yield from _look_hours(
        space, data, lambda work: work.seconds(speed.train, speed.predict) / at_once
    )
    if space.search.scheduler.name != "none":
        yield "less with early stopping"
    for name, choice in choices.items():
        yield f"{name}: {choice}"
    yield f"memory: {_memory(speed.memory, speed.device_memory)}"


@dataclass(frozen=True)
class _Measured:
    """What a trial takes on this machine."""

    speed: "Speed"
    student: "Speed | None"
    process: float  # seconds until a new process has imported what a trial needs
    compiled: bool

    def start_seconds(self, space: Space, slots: int) -> float:
        """Seconds of a whole study until its processes and stages are at their speed."""
        # A trial on a GPU has a process of its own; on CPUs a process runs trial after trial.
        processes = space.trials_searched + space.follow_ups if space.resources.gpu else slots
        stages = space.templates_at_most() + sum(space.teachers_of(one) for one in space.strata)
        seconds = self.process * processes + self.speed.warm_up * stages
        if self.student is not None:
            students = sum(space.students_of(one) for one in space.strata)
            seconds += self.student.warm_up * students
        return seconds

    def describe_starts(self, starts: float, total: float) -> Iterator[str]:
        """What starts take, and what helps where they take most of the time."""
        yield (
            f"of it starts {rough_time(starts)}: {self.process:.0f} s a process, "
            f"{self.speed.warm_up:.1f} s a stage until its steps are fast"
        )
        if starts > total / 2:
            helps = "fewer trials with more epochs or larger subsets"
            if self.compiled:
                helps = "trial.compute.compile: false"
            yield f"starts take longer than training and evaluation; what helps: {helps}"


def _measure(trial: TrialConfig) -> _Measured:
    from focusnet.student.speed import measure_student_speed  # these import torch
    from focusnet.training.speed import measure_speed

    speed = measure_speed(trial)
    student = measure_student_speed(trial) if trial.student else None
    return _Measured(speed, student, import_seconds(), trial.compute.compile is True)


def import_seconds() -> float:
    """Seconds that a new process needs to import what a trial needs."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import focusnet.pipeline"], check=True)
    return time.perf_counter() - began


def _memory(used: int, has: int | None) -> str:
    if has is None:
        return f"{size_text(used)} per trial (its process, at this batch size)"
    fit = max(1, math.floor(_USABLE * has / (used + CONTEXT)))
    text = f"{size_text(used + CONTEXT)} per trial, of the GPU's {size_text(has)}"
    if fit == 1:
        return f"{text}: one trial fits"
    share = math.floor(100 / fit) / 100
    return f"{text}: {fit} trials fit (resources.gpu: {share:g}), which may or may not be faster"

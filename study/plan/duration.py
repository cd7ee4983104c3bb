"""Estimates how long a study takes, from the training speed measured on this machine."""

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from focusnet.auto_settings import choose_here, with_choices
from focusnet.config import TrialConfig
from focusnet.errors import FocusNetError
from focusnet.system.units import rough_time, size_text
from focusnet.training.gpu_memory import CONTEXT
from study.plan.data_size import DataSize, largest_data
from study.plan.disk import slots_here
from study.plan.work import Work, confirmation_work, search_work, student_work, study_work
from study.space.space import Space

if TYPE_CHECKING:
    from focusnet.training.speed import Speed  # imports torch

_USABLE = 0.95  # share of a GPU's memory that trials may fill


def _look_hours(space: Space, data: DataSize, seconds: Callable[[Work], float]) -> Iterator[str]:
    """How long the confirmation takes up to each of its planned looks."""
    if space.looks_planned:
        ends, controls = confirmation_work(space, data)
        times = (f"look {n} {rough_time(seconds(end))}" for n, end in enumerate(ends, 1))
        yield f"of it the confirmation up to {', '.join(times)}"
        if space.control_arms:
            yield f"after a gain its controls, up to {rough_time(seconds(controls))}"


def _search_hours(space: Space, seconds: float) -> Iterator[str]:
    """How far the search comes in its time, if it needs ``seconds`` for all of its trials."""
    if space.search.hours is None:
        return
    share = min(1.0, 3600 * space.search.hours / seconds)
    limit = f"search.hours: {space.search.hours:g}"
    if share == 1:
        yield f"{limit}; the search takes about {rough_time(seconds)} of it"
    else:
        most, all_of_it = round(share * space.trials_searched), space.trials_searched
        yield (
            f"{limit}, in which about {most} of the search's {all_of_it} trials end, so the study "
            f"ends about {rough_time(seconds * (1 - share))} sooner"
        )


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
    speeds = speed.train, speed.predict
    seconds, unshared = (work.seconds(*speeds) + students + starts for work in (shared, own))
    cost = f", {seconds * max(gpu, 1.0) / 3600:.1f} GPU-hours" if gpu else ""
    at_a_time = "one trial" if slots == 1 else f"{slots} trials"
    yield (
        f"about {rough_time(seconds / at_once)}{cost} with {at_a_time} at a time; "
        f"{rough_time(unshared / at_once)} if every trial trained its own template"
    )
    yield from _search_hours(space, search_work(space, data).seconds(*speeds) / at_once)
    if space.has_student:
        yield f"of it the students {rough_time(students / at_once)}, if none is like another"
    yield from measured.describe_starts(starts / at_once, seconds / at_once)
    yield (
        f"measured on noise ({speed.device}): {speed.train:,.0f} clips/s in training, "
        f"{speed.predict:,.0f} clips/s in prediction, with one trial at a time"
    )
    yield from _look_hours(space, data, lambda work: work.seconds(*speeds) / at_once)
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

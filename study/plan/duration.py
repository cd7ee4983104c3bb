"""Estimates how long a study takes, from the training speed measured on this machine."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from focusnet.auto_settings import choose_here, with_choices
from focusnet.errors import FocusNetError
from focusnet.system.units import rough_time, size_text
from study.plan.data_size import DataSize, largest_data
from study.plan.disk import slots_here
from study.space.space import Space

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
        trials = space.trials_of(stratum) + space.follow_ups_per_stratum
        templates = space.templates_of(stratum)
        template, fold, focus = _stages(space, data, stratum)
        template += fold * folds
        shared += template * templates + focus * trials
        own += (template + focus) * trials
    return shared, own


def _stages(space: Space, data: DataSize, stratum: Any) -> tuple[Work, Work, Work]:
    """Work for one template, one template of a fold, and one second stage."""
    values = space.first_values()
    if space.search.stratify is not None:
        values[space.search.stratify] = stratum
    trial = space.trial_config(values)
    clips = data.train * trial.data.subset / 100
    half = data.test / 2  # clips of select, or of report
    epochs = trial.template.epochs
    focus_epochs = trial.focus.epochs or epochs
    best = trial.template.keep == "best"  # evaluates every epoch
    every = 1 if best else trial.compute.eval_epochs
    evaluations, focus_evaluations = (math.ceil(n / every) for n in (epochs, focus_epochs))
    template = Work(epochs * clips, (evaluations + 1) * half + clips)  # and report
    share = 1 / trial.focus.folds  # of the clips, which a fold's template predicts
    evaluated = epochs * half if best else 0
    fold = Work(epochs * clips * (1 - share), evaluated + clips * share)
    return template, fold, Work(focus_epochs * clips, (focus_evaluations + 1) * half)


def describe_duration(space: Space) -> Iterator[str]:
    """Lines on time and memory for the plan; trains a network on noise for some seconds."""
    data = largest_data(space)
    if not data.test:
        yield "unknown: the data set is missing"
        return
    from focusnet.training.speed import measure_speed  # imports torch

    trial = space.trial_config(space.first_values())
    slots = slots_here(space)
    shared, own = study_work(space, data)
    try:
        choices = choose_here(trial, shared.train / slots)
        speed = measure_speed(with_choices(trial, choices))
    except FocusNetError as error:
        yield f"cannot be measured here: {'; '.join(error.problems)}"
        return
    seconds, unshared = (work.seconds(speed.train, speed.predict) for work in (shared, own))
    gpu = space.resources.gpu
    cost = f", {seconds * gpu / 3600:.1f} GPU-hours" if gpu else ""
    at_a_time = "one trial" if slots == 1 else f"{slots} trials"
    yield (
        f"about {rough_time(seconds / slots)}{cost} with {at_a_time} at a time; "
        f"{rough_time(unshared / slots)} if every trial trained its own template"
    )
    yield (
        f"measured on noise ({speed.device}): {speed.train:,.0f} clips/s in training, "
        f"{speed.predict:,.0f} clips/s in prediction, with one trial at a time"
    )
    if space.search.scheduler.name != "none":
        yield "less with early stopping"
    for name, choice in choices.items():
        yield f"{name}: {choice}"
    yield f"memory: {_memory(speed.memory, speed.device_memory)}"


def _memory(used: int, has: int | None) -> str:
    if has is None:
        return f"{size_text(used)} per trial (its process, at this batch size)"
    from focusnet.training.gpu_clips import CONTEXT  # imports torch

    fit = max(1, math.floor(_USABLE * has / (used + CONTEXT)))
    text = f"{size_text(used + CONTEXT)} per trial, of the GPU's {size_text(has)}"
    if fit == 1:
        return f"{text}: one trial fits"
    share = math.floor(100 / fit) / 100
    return f"{text}: {fit} trials fit (resources.gpu: {share:g}), which may or may not be faster"

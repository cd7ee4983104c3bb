"""How long a study will take, from the speed that is measured on the machine at hand."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from focusnet.auto_settings import choose_here, with_choices
from focusnet.config import TrialConfig
from focusnet.errors import FocusNetError
from focusnet.system.units import rough_time
from study.plan.data_size import DataSize, largest_data
from study.plan.disk import size, slots_here
from study.space.space import Space, with_values

_SPARE = 0.95  # of a GPU's memory that trials may fill


@dataclass(frozen=True)
class Work:
    """Clips that pass through a network."""

    train: float
    predict: float

    def __add__(self, other: "Work") -> "Work":
        return Work(self.train + other.train, self.predict + other.predict)

    def __mul__(self, times: float) -> "Work":
        return Work(self.train * times, self.predict * times)

    def seconds(self, train: float, predict: float) -> float:
        """With so many clips a second."""
        return self.train / train + self.predict / predict


def study_work(space: Space, data: DataSize) -> tuple[Work, Work]:
    """All of a study, with its templates shared as they are, and with one in every trial.

    Trials that are stopped early count in full.
    """
    shared = own = Work(0, 0)
    trials = space.trials_per_stratum + space.followers_per_stratum
    templates = space.templates_at_most() / len(space.strata)
    folds = space.folds_at_most() / space.templates_at_most()
    for stratum in space.strata:
        template, fold, focus = _stages(space, data, stratum)
        template += fold * folds
        shared += template * templates + focus * trials
        own += (template + focus) * trials
    return shared, own


def _stages(space: Space, data: DataSize, stratum: Any) -> tuple[Work, Work, Work]:
    """Template, template of a fold and FocusNet of one trial."""
    values = space.first_values()
    if space.search.stratify is not None:
        values[space.search.stratify] = stratum
    trial = TrialConfig.model_validate(with_values(space.trial, values))
    clips = data.train * trial.data.subset / 100
    half = data.test / 2  # select, after every epoch or every few
    epochs = trial.template.epochs
    focus_epochs = trial.focus.epochs or epochs
    best = trial.template.keep == "best"  # which needs every epoch
    every = 1 if best else trial.compute.eval_epochs
    looks, focus_looks = math.ceil(epochs / every), math.ceil(focus_epochs / every)
    template = Work(epochs * clips, (looks + 1) * half + clips)  # and report
    share = 1 / trial.focus.folds  # of the clips, which a fold's template predicts
    watched = epochs * half if best else 0
    fold = Work(epochs * clips * (1 - share), watched + clips * share)
    return template, fold, Work(focus_epochs * clips, (focus_looks + 1) * half)


def describe_hours(space: Space) -> Iterator[str]:
    """Lines for the plan; trains a network on noise for some seconds."""
    data = largest_data(space)
    if not data.test:
        yield "not worked out: the data set is not there"
        return
    from focusnet.training.speed import measure_speed  # imports torch

    trial = space.example()
    slots = slots_here(space)
    shared, own = study_work(space, data)
    try:
        choices = choose_here(trial, shared.train / slots)
        speed = measure_speed(with_choices(trial, choices))
    except FocusNetError as error:
        yield f"not measured here: {'; '.join(error.problems)}"
        return
    busy, alone = (work.seconds(speed.train, speed.predict) for work in (shared, own))
    gpu = space.resources.gpu
    cost = f", {busy * gpu / 3600:.1f} GPU-hours" if gpu else ""
    yield (
        f"about {rough_time(busy / slots)}{cost} with {slots} side by side; with a template in "
        f"every trial {rough_time(alone / slots)}"
    )
    yield (
        f"measured on noise ({speed.device}): {speed.train:,.0f} clips a second in training, "
        f"{speed.predict:,.0f} in prediction, for one trial alone"
    )
    if space.search.scheduler.name != "none":
        yield "early stopping will save some of it"
    for name, choice in choices.items():
        yield f"{name}: {choice}"
    yield f"memory: {_memory(speed.memory, speed.device_memory)}"


def _memory(used: int, has: int | None) -> str:
    if has is None:
        return f"{size(used)} a trial (its process, at this batch size)"
    from focusnet.training.gpu_clips import CONTEXT  # imports torch

    fit = max(1, math.floor(_SPARE * has / (used + CONTEXT)))
    text = f"{size(used + CONTEXT)} of the GPU's {size(has)} a trial"
    if fit == 1:
        return f"{text}: one fits on it"
    share = math.floor(100 / fit) / 100
    return f"{text}: {fit} fit on it by memory (resources.gpu: {share:g}); whether that pays, try"

"""Counts the work of a study: the clips that its networks train on and predict."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from focusnet.arms import FOCUSNET, STUDENT_ONLY
from focusnet.config import TrialConfig
from study.ledger.records import Phase
from study.plan.data_size import DataSize, largest_data
from study.space.space import Space

_PREDICTED = 3  # clips that a network predicts in the time of training on one


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
    parts = [*_parts(space, data)]
    return sum((one[0] for one in parts), Work(0, 0)), sum((one[1] for one in parts), Work(0, 0))


def search_work(space: Space, data: DataSize) -> Work:
    """Work of the search alone, with templates shared."""
    return sum((shared for shared, _, once in _parts(space, data) if not once), Work(0, 0))


def _parts(space: Space, data: DataSize) -> Iterator[tuple[Work, Work, bool]]:
    """As ``study_work``, for each stratum; and whether it is evaluated at its end only."""
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
            shared = template * some_templates + focus * some_teachers
            yield shared, (template + focus) * some_trials, once


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


def training_clips(space: Space) -> Callable[[Any], float]:
    """The number of training clips of a stratum, about."""
    data = largest_data(space)
    return lambda stratum: data.train * trial_of(space, stratum).data.subset / 100


def stage_units(space: Space) -> Callable[[Any, Phase], dict[str, float]]:
    """The work of each stage of a trial by its stratum and phase, in clips of a training.

    Of the arms of a phase the mean is meant: some train a student only.
    """
    data = largest_data(space)
    data = data if data.test else replace(data, train=100, test=100)
    arms = (FOCUSNET, *space.control_arms)
    with_second = sum(arm not in STUDENT_ONLY for arm in arms) / len(arms)

    def clips(work: Work) -> float:
        return work.train + work.predict / _PREDICTED

    @cache
    def of_trial(stratum: Any, phase: Phase) -> dict[str, float]:
        searched = phase == "search"
        template, fold, second = stage_work(space, data, stratum, evaluated_once=not searched)
        template += fold * (space.folds_at_most() / space.templates_at_most())
        one = trial_of(space, stratum)
        student = 0.0
        if one.student is not None:
            student = one.student.epochs * data.train * one.data.subset / 100
        return {
            "template": clips(template),
            "focus": clips(second) * (1.0 if searched else with_second),
            "student": student,
        }

    return of_trial


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

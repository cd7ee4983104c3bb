"""Checks, before anything starts, that a study's students can work and keep their limits."""

import itertools

from focusnet.errors import ConfigError
from study.plan.data_size import largest_data
from study.space.space import Space

_SECONDS = 1  # of a clip, before one has been read; trials check the clips themselves
_DECIDE = (
    "student.network.", "student.features.", "student.precision", "student.limits.",
    "student.augment.fmax_aug_range",
)  # fmt: skip


def check_students(space: Space) -> None:
    """Check the students of all extremes of what is searched.

    Raises:
        ConfigError: every setting that cannot work, or that makes a student too large.
    """
    if not space.has_student:
        return
    from focusnet.student.check import check_student  # imports torch

    searched = {p: d.extremes() for p, d in space.domains.items() if p.startswith(_DECIDE)}
    scenes = largest_data(space).scenes or 10
    problems: list[str] = []
    for values in itertools.product(*searched.values()):
        parameters = space.first_values() | dict(zip(searched, values, strict=True))
        trial = space.trial_config(parameters)
        assert trial.student is not None
        samples = _SECONDS * trial.student.features.sample_rate
        try:
            check_student(trial.student, samples, trial.model.n_classes or scenes)
        except ConfigError as error:
            problems += [f"trial.{problem}" for problem in error.problems]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))

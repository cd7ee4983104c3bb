"""Rules on a study's student; each yields one message a broken rule."""

from collections.abc import Iterator

from focusnet.arms import STUDENT_ONLY
from study.space.settings import SpaceSettings
from study.space.space import Space

_FEWEST_TEACHERS = 2  # of an ensemble


def student_problems(settings: SpaceSettings, space: Space) -> Iterator[str]:
    """Rules that need a student, and those of an ensemble of teachers; of a valid space."""
    student = space.trial_config(space.first_values()).student
    if student is None:
        for arm in space.control_arms:
            if arm in STUDENT_ONLY:
                yield (
                    f"controls.arms: arm '{arm}' has no second stage and trains a student only: it "
                    "needs settings in trial.student, received trial.student: null"
                )
        for name in ("metric", "second_metric"):
            metric = getattr(settings.search, name)
            if metric is not None and metric.startswith("student/"):
                yield (
                    f"search.{name}: needs a student, settings in trial.student, received "
                    f"'{metric}' and trial.student: null"
                )
        return
    if space.looks_planned:
        yield (
            "confirm.looks: judge second stages and train controls after a gain only, but a "
            "student of FocusNet needs the template's student beside it from the start: with "
            f"trial.student give confirm.seeds, received {len(space.confirm_looks)} looks"
        )
    domain = space.domains.get("student.teachers")
    teachers = domain.extremes() if domain else (student.teachers,)
    if "ensemble" not in teachers:
        return
    fewest = min(ensemble_size(space, stratum) for stratum in space.strata)
    if fewest < _FEWEST_TEACHERS:
        halves = " for each half of the test split" if space.cross_fit else ""
        yield (
            "trial.student.teachers: ensemble is of the teachers of the fresh seeds of the first "
            f"look, so confirm.seeds or confirm.looks must give at least {_FEWEST_TEACHERS} of "
            f"them{halves}, received {fewest}"
        )


def ensemble_size(space: Space, stratum: object) -> int:
    """Teachers of an ensemble of ``stratum``: the fresh seeds of the first look, of one half."""
    if not space.confirm_looks:
        return len(space.confirm_seeds)
    count = space.confirm_looks[0][stratum]
    return count // 2 if space.cross_fit else count

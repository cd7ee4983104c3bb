"""Says what the students show: whether what FocusNet taught its network reaches the small one."""

from collections.abc import Iterator

import numpy as np

from analysis.figures.students import GainPoint, draw_gains
from analysis.inference.comparisons import INCOMPLETE, STEPS, Claims, accuracy_of
from analysis.read_study import Study
from analysis.render.document import Block, Figure, Table, percent
from analysis.sections.answer.sentences import (
    STUDENTS,
    both_intervals,
    ends,
    headline,
    p_text,
    signed,
    verdict_cell,
    verdict_words,
)
from analysis.tables.predictions import TEMPLATE
from focusnet.arms import FOCUSNET, LABELS, label_of
from focusnet.statistics.verdict import STRATA_ALPHA

HEADER = ("FocusNet's student against that of", "seeds", "effect", "95 % new locations",
          "95 % these locations", "p", "verdict")  # fmt: skip
ACCURACIES = ("stratum", "taught by", "seeds", "student %", "95 % new locations")


def student_sentences(study: Study) -> Iterator[str]:
    """The answer of a study with students, which comes first; nothing without any."""
    claims = study.student_claims
    if claims is None:
        return
    one = claims.template
    if one.average is None or one.verdict == INCOMPLETE:
        yield (
            "Students: no claim can be made yet, because their trials with fresh seeds are not "
            "complete, or too few are left for a test."
        )
        return
    yield headline(study, claims, STUDENTS)
    yield from _over_controls(claims)
    yield _against_labels(claims)
    yield "The teachers themselves:"


def _over_controls(claims: Claims) -> Iterator[str]:
    for arms, verdict in claims.steps:
        found = [claims.comparisons[arm] for arm in arms]
        if TEMPLATE in arms or any(one.average is None for one in found):
            continue
        effects = ", ".join(
            f"{label_of(one.against)} {signed(float(one.average.estimate[0]))} points "
            f"({both_intervals(one.average)})"
            for one in found
            if one.average is not None
        )
        words = verdict_words(verdict, claims)
        yield f"FocusNet's student over the students of: {effects}: {words}."


def _against_labels(claims: Claims) -> str:
    """How much a teacher helps at all, which is described and not claimed."""
    one = claims.comparisons.get(LABELS)
    if one is None or one.average is None:
        return "No student without a teacher was trained, so it is not shown that teachers help."
    return (
        f"Over a student without a teacher it has {signed(float(one.average.estimate[0]))} points "
        f"({both_intervals(one.average)}; described, not claimed)."
    )


def student_tables(study: Study) -> Iterator[Block]:
    """Comparisons and accuracies of the students, and their gains against the teachers'."""
    claims = study.student_claims
    if claims is None or claims.template.average is None:
        return
    yield _comparisons(claims)
    yield _accuracies(study)
    if points := gain_points(study):
        yield Figure(
            "student_gains.png",
            "What FocusNet gains over an arm as a teacher (across) and what its student gains over "
            "that arm's student (up), by stratum, with 95 % intervals for new locations. On the "
            "diagonal the student has all of the teacher's gain; on the horizontal line none of it "
            "reaches the student.",
            "Scatter plot of the students' gains against the teachers'.",
            draw_gains(points),
        )
    yield _how(study)


def _comparisons(claims: Claims) -> Table:
    ordered = [arm for step in STEPS for arm in step if arm in claims.comparisons]
    rows = []
    for arm in [*ordered, *(arm for arm in claims.comparisons if arm not in ordered)]:
        one = claims.comparisons[arm]
        verdict = verdict_cell(one.verdict, claims) if arm in ordered else "described"
        numbers: tuple[str, ...] = ("-",) * 4
        if one.average is not None:
            numbers = (
                signed(float(one.average.estimate[0])),
                ends(one.average),
                ends(one.average, locations=False),
                p_text(float(one.average.p_value()[0])),
            )
        counts = sorted(set(one.seeds.values()))
        fewest_and_most = dict.fromkeys((counts[0], counts[-1])) if counts else ()
        seeds = "-".join(map(str, fewest_and_most)) or "-"
        rows.append((_teacher(arm), seeds, *numbers, verdict))
    return Table(HEADER, rows, frozenset({HEADER[0], "verdict"}))


def _teacher(arm: str) -> str:
    """Who taught the student of an arm."""
    return "the template" if arm == TEMPLATE else label_of(arm)


def _accuracies(study: Study) -> Table:
    claims = study.student_claims
    assert claims is not None
    rows = []
    for stratum in study.strata:
        for arm in (FOCUSNET, *claims.comparisons):
            effect = accuracy_of(stratum.confirmation, arm, study.plan, "student")
            if effect is not None:
                rows.append(
                    (
                        stratum.label,
                        _teacher(arm),
                        str(len(stratum.confirmation.seeds(arm))),
                        percent(float(effect.estimate[0]) / 100),
                        " to ".join(percent(float(end[0]) / 100) for end in effect.interval()),
                    )
                )
    return Table(ACCURACIES, rows, frozenset({"stratum", "taught by"}))


def gain_points(study: Study) -> list[GainPoint]:
    """FocusNet's gain over each arm as a teacher and at the student, by stratum."""
    students = study.student_claims
    if students is None:
        return []
    found = []
    for arm, of_student in students.comparisons.items():
        of_teacher = study.claims.comparisons.get(arm)
        for value, up in of_student.by_stratum.items():
            across = None if of_teacher is None else of_teacher.by_stratum.get(value)
            if across is not None:
                found.append(GainPoint(study.labels[value], _teacher(arm), across, up))
    return found


def _how(study: Study) -> str:
    text = (
        "A student is compared with another that has the same seed, so the same initial weights "
        "and order of the clips, and another teacher. Students and teachers are two questions, "
        f"each with its own tests: each claims falsely in at most {100 * STRATA_ALPHA:g} % of "
        "studies."
    )
    if ensembles(study):
        text += (
            " The students of an arm learn from one ensemble, the teachers of all fresh seeds of "
            "the first look. So intervals and p-values are about new students of these teachers; "
            "other teachers would add noise that they do not hold."
        )
    return text


def ensembles(study: Study) -> bool:
    """Whether confirmed students learn from ensembles."""
    student = (study.space.get("trial") or {}).get("student") or {}
    column = study.trials.get("student.teachers")
    searched = column is not None and bool(np.any(column.astype(str) == "ensemble"))
    return searched or student.get("teachers") == "ensemble"

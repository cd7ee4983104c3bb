"""The report on students: which come first, what is compared, and what is said of it."""

import copy

import numpy as np
import pandas as pd
import pytest
import yaml
from results_folder import SPACE, drawn_clips, finished, follower, write_study

from analysis.figures.confirmation import CURVES
from analysis.read_study import read_study
from analysis.render.document import Figure, Table
from analysis.report import build_report
from analysis.sections.answer.students import gain_points, student_sentences
from analysis.sections.answer.verdicts import answer_section
from analysis.sections.changes import classes_section, devices_section
from analysis.sections.evidence import main_evidence
from analysis.sections.search_results import search_section
from analysis.sections.subset_curve import subset_curve
from analysis.sections.trials import trials_section
from focusnet.statistics.cells import location_accuracies, locations_of
from focusnet.statistics.pooled import pooled_effect

ARMS = ("focusnet", "placebo", "template", "labels")
SEEDS = 8
# How often each arm's student is right; FocusNet's teacher is right in 60 %, all others in 50 %.
RIGHT = {"focusnet": 0.8, "placebo": 0.5, "template": 0.5, "labels": 0.4}


def frame_of(arm, seed, right):
    """Predictions of a trial of an arm: of the stages that it has."""
    teachers = drawn_clips(0.5, 0.6 if arm == "focusnet" else 0.5, template_seed=[seed],
                           focus_seed=[seed, ARMS.index(arm)], both_halves=True)  # fmt: skip
    students = drawn_clips(0.5, right, template_seed=[seed],
                           focus_seed=[seed, 10 + ARMS.index(arm)], both_halves=True)  # fmt: skip
    own = students[students["stage"] == "focus"].assign(stage="student")
    if arm == "labels":
        return own
    if arm == "template":
        teachers = teachers[teachers["stage"] == "template"]
    return pd.concat([teachers, own], ignore_index=True)


def write(folder, *, right=RIGHT, student=None, arms=ARMS):
    space = copy.deepcopy(SPACE)
    space["search"] |= {"algorithm": "sobol", "metric": "student/select/macro_accuracy"}
    space["controls"] = {"arms": list(arms[1:]), "seeds": []}
    space["confirm"] = {"seeds": SEEDS, "cross_fit": True, "margin": 1.0}
    space["trial"] = {"data": {"root": "synthetic"}, "student": student or {"teachers": "own"}}
    trials, predicted = [], {}
    for place, subset in enumerate((25, 100)):
        both = {"student/select/macro_accuracy": 0.8, "student/report/macro_accuracy": 0.8}
        winner = finished(f"t{subset}-a", subset, **both)
        trials.append(winner)
        predicted[winner["trial"]] = frame_of("focusnet", 7, 0.8)
        for j in range(SEEDS):
            seed = 8 + 2 * j + place
            for arm in arms:
                row = follower("confirm", arm, seed, winner, judged_on=["report", "select"][j % 2])
                if arm in ("template", "labels"):
                    row |= {name: np.nan for name in row if name.startswith(("focus/", "gain/"))}
                predicted[row["trial"]] = frame_of(arm, seed, right[arm])
                trials.append(row)
    return write_study(folder, trials, space=space, predicted=predicted)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return read_study(write(tmp_path_factory.mktemp("students") / "small"))


def text(section):
    return "\n".join(block for block in section.blocks if isinstance(block, str))


def test_the_first_sentence_is_about_the_student_then_the_teacher(study):
    blocks = [block for block in answer_section(study).blocks if isinstance(block, str)]
    assert blocks[0].startswith(
        "Averaged over two subsets, the student taught by FocusNet with searched settings gains "
    )
    assert "the template's student" in blocks[0]
    after = blocks.index("The teachers themselves:") + 1
    assert blocks[after].startswith(
        "Averaged over two subsets, FocusNet with searched settings gains "
    )


def test_effects_are_those_of_the_students_with_the_same_seed(study):
    for against in ("template", "placebo", "labels"):
        sides, judged_on = [[], []], []
        for place, subset in enumerate((25, 100)):
            rows = [[], []]
            for j in range(SEEDS):
                for side, arm in enumerate(("focusnet", against)):
                    name = f"confirm-{arm}-{8 + 2 * j + place}-t{subset}-a"
                    frame = pd.read_parquet(study.folder / "predictions" / f"{name}.parquet")
                    known = locations_of(frame)
                    rows[side].append(location_accuracies(frame, "student", known))
            for side in (0, 1):
                sides[side].append(np.array(rows[side])[None])
            judged_on.append(np.arange(SEEDS) % 2)
        expected, _ = pooled_effect(*sides, known.scene, known.half, known.clips, judged_on)
        found = study.student_claims.comparisons[against].average
        np.testing.assert_allclose(found.estimate, expected.estimate)
        np.testing.assert_allclose(found.interval(), expected.interval())


def test_students_are_compared_by_scene_and_device_with_those_of_the_same_seed(study):
    evidence = main_evidence(study, "student")
    assert len(evidence.trials) == len(evidence.before) == SEEDS
    right = {"template": [], "focus": []}
    for j in range(SEEDS):
        for arm, side in (("template", "template"), ("focusnet", "focus")):
            name = f"confirm-{arm}-{9 + 2 * j}-t100-a"
            frame = pd.read_parquet(study.folder / "predictions" / f"{name}.parquet")
            own = frame[
                (frame["stage"] == "student") & (frame["half"] == ["report", "select"][j % 2])
            ]
            best = own.filter(like="logit/").idxmax(axis=1).str.removeprefix("logit/")
            right[side].append((best == own["scene"]).groupby(own["scene"]).mean())
    found = evidence.shares("scene")
    for side, by_seed in right.items():
        expected = pd.concat(by_seed, axis=1).mean(axis=1)
        np.testing.assert_allclose(found[side], expected.reindex(found.index))
    headers = [
        block.header
        for section in (classes_section(study), devices_section(study, main_evidence(study)))
        for block in section.blocks
        if isinstance(block, Table)
    ]
    assert [header[2:4] for header in headers] == 2 * [
        ("template %", "FocusNet %"),
        ("template's student %", "FocusNet's student %"),
    ]


def test_tables_of_trials_have_the_students(study):
    for section in (search_section(study), trials_section(study)):
        (table,) = [block for block in section.blocks if isinstance(block, Table)]
        place = table.header.index("student %")
        assert table.header[place - 1 : place + 2] == ("FocusNet %", "student %", "gain")
        assert {row[place] for row in table.rows} == {"80.0"}
    sentences = search_section(study).blocks[0].items
    assert all("has a student of 80.0 % on report; FocusNet itself has" in one for one in sentences)


def test_students_are_judged_in_order_and_those_without_a_teacher_are_described(study):
    claims = study.student_claims
    assert claims.template.verdict == "gain"
    assert claims.comparisons["placebo"].verdict == "gain"
    assert "labels" not in {arm for arms, _ in claims.steps for arm in arms}
    said = text(answer_section(study))
    assert "FocusNet's student over the students of: FocusNet with placebo masks +3" in said
    assert "Over a student without a teacher it has +" in said
    assert "described, not claimed" in said


def test_arms_without_a_second_stage_are_not_compared_as_teachers(study):
    assert set(study.claims.comparisons) == {"template", "placebo"}
    _, sections = build_report(study)
    arms = next(section for section in sections if section.title == "Arms")
    table = next(block for block in arms.blocks if isinstance(block, Table))
    assert {row[1] for row in table.rows} == {"template", "FocusNet", "FocusNet with placebo masks"}


def test_the_figure_holds_each_arm_that_both_kinds_have_in_each_stratum(study):
    points = gain_points(study)
    assert {(one.stratum, one.arm) for one in points} == {
        (stratum, arm)
        for stratum in ("subset 25", "subset 100")
        for arm in ("the template", "FocusNet with placebo masks")
    }
    figures = [b for b in answer_section(study).blocks if isinstance(b, Figure)]
    assert "student_gains.png" in {figure.file for figure in figures}


def test_the_curve_over_subsets_has_the_students(study):
    curve = subset_curve(study)
    students = {name for name in CURVES if name.startswith("student")}
    assert students <= set(curve["curve"])
    labels = curve[curve["curve"] == "student, no teacher"]["accuracy"]
    assert labels.between(0.3, 0.5).all()


def test_a_student_that_loses_is_said_to_lose(tmp_path):
    right = RIGHT | {"focusnet": 0.3, "template": 0.7}
    sentences = list(student_sentences(read_study(write(tmp_path / "s", right=right))))
    assert " loses " in sentences[0]
    assert sentences[0].endswith(": a loss.")


def test_without_the_templates_students_nothing_is_claimed(tmp_path):
    arms = tuple(arm for arm in ARMS if arm != "template")
    sentences = list(student_sentences(read_study(write(tmp_path / "s", arms=arms))))
    assert sentences == [
        "Students: no claim can be made yet, because their trials with fresh seeds are not "
        "complete, or too few are left for a test."
    ]


def test_what_an_ensemble_means_for_the_intervals_is_said(tmp_path, study):
    with_ensemble = read_study(write(tmp_path / "s", student={"teachers": "ensemble"}))
    assert "about new students of these teachers" in text(answer_section(with_ensemble))
    assert "about new students of these teachers" not in text(answer_section(study))


def test_a_study_without_students_has_no_claims_of_them(tmp_path):
    folder = write(tmp_path / "s")
    space = yaml.safe_load((folder / "space.yaml").read_text())
    del space["trial"]["student"]
    (folder / "space.yaml").write_text(yaml.safe_dump(space))
    assert read_study(folder).student_claims is None

"""A study with a student: what its space file may say, and what follows from it."""

import copy

import pytest

from focusnet.errors import ConfigError
from study.plan.student import check_students
from study.search.follow_up import follow_ups
from study.search.winners import Winner
from study.space.recorded import validate_recorded

SMALL = {
    "network": {"base": 8},
    "features": {
        "sample_rate": 16_000, "n_mels": 64, "n_fft": 1024, "win_length": 800, "hop_length": 320,
    },
}  # fmt: skip


def student(**changes):
    """A small student, with other settings."""
    return (("trial", "student"), copy.deepcopy(SMALL) | changes)


STUDENT = student()
LR = {"student.lr": {"uniform": [1e-3, 1e-2]}}
WEIGHT = {"focus.weight": {"uniform": [0.1, 1.0]}}
METRIC = (("search", "metric"), "student/select/macro_accuracy")


def winner(**parameters):
    own = {"data.subset": 25, "focus.weight": 1.5, "focus.threshold": 0.1, **parameters}
    return Winner(25, own, "select", "winner", None, 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [(("controls", "arms"), ["template"])],
            r"controls\.arms: arm 'template' has no second stage .* trial\.student: null",
        ),
        ([METRIC], r"search\.metric: needs a student, .* 'student/select/macro_accuracy'"),
        (
            [student(teachers="ensemble"), (("confirm", "seeds"), 0)],
            r"trial\.student\.teachers: ensemble .* confirm\.seeds .* at least 2 .* received 0",
        ),
        (
            [STUDENT, (("confirm",), {"looks": [6, 12]})],
            r"confirm\.looks: .* with trial\.student give confirm\.seeds, received 2 looks",
        ),
        (
            [student(teachers="ensemble", teacher_seeds=[1, 2])],
            r"trial\.student\.teacher_seeds: is set by the study",
        ),
        (
            [student(network={"base": 10})],
            r"trial\.student\.network\.base",
        ),
        (
            [STUDENT, (("controls",), {"arms": ["template"], "search": {"template": LR}})],
            r"controls\.search\.template: has a student only, so search\.metric must be a student",
        ),
        (
            [STUDENT, METRIC, (("controls",), {"arms": ["labels"], "search": {"labels": WEIGHT}})],
            r"controls\.search\.labels\.focus\.weight: arm labels does not use this setting",
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_is_one_message_with_path_rule_and_value(changes, message, make_space):
    with pytest.raises(ConfigError, match=message) as caught:
        make_space(*changes)
    assert len(caught.value.problems) == 1


def test_the_arms_of_a_student_are_controls_where_there_is_one_only(make_space, content):
    assert "template" not in make_space((("controls",), {})).control_arms
    arms = make_space(STUDENT, (("controls",), {})).control_arms
    assert {"template", "labels"} <= set(arms)
    searched = make_space((("controls",), {}), (("space", "student.lr"), {"choice": [1e-3, 1e-2]}))
    assert {"template", "labels"} <= set(searched.control_arms)


def test_a_study_recorded_with_a_student_reads_the_same(make_space):
    space = make_space(STUDENT, METRIC)
    assert validate_recorded(space.content(), "space.yaml").content() == space.content()


def test_controls_get_those_of_the_students_settings_that_they_use(make_space):
    temperature = "student.distillation.temperature"
    space = make_space(
        STUDENT,
        METRIC,
        (("space", temperature), {"uniform": [1, 4]}),
        (("space", "student.lr"), {"uniform": [1e-3, 1e-2]}),
        (("controls", "arms"), ["template", "labels"]),
        (("confirm", "seeds"), [7]),
    )
    won = winner(**{temperature: 3.0, "student.lr": 5e-3})
    by_arm = {trial.arm: trial.parameters for trial in follow_ups(space, won)}
    assert by_arm["template"] == {"data.subset": 25, temperature: 3.0, "student.lr": 5e-3}
    assert by_arm["labels"] == {"data.subset": 25, "student.lr": 5e-3}


def test_an_ensemble_is_of_all_fresh_seeds_and_of_no_trial_of_the_search(make_space):
    space = make_space(
        student(teachers="ensemble"),
        (("controls", "arms"), ["placebo", "labels"]),
        (("confirm", "seeds"), [7, 8, 9]),
    )
    found = {
        (trial.phase, trial.arm, trial.seed): trial.teacher_seeds
        for trial in follow_ups(space, winner())
    }
    assert found["controls", "placebo", 0] is None
    assert found["confirm", "focusnet", 8] == found["confirm", "placebo", 7] == [7, 8, 9]
    assert found["confirm", "labels", 8] is None, "it has no teacher"


def test_second_stages_are_counted_once_for_the_settings_that_they_depend_on(make_space):
    changes = (
        (("space",), {
            "data.subset": {"choice": [25]},
            "focus.weight": {"choice": [1.0, 2.0]},
            "student.distillation.temperature": {"uniform": [1, 4]},
        }),
        (("search", "trials"), 10),
        (("controls", "arms"), ["placebo", "template", "labels"]),
        (("controls", "seeds"), [0]),
        (("confirm", "seeds"), 3),
    )  # fmt: skip
    space = make_space(STUDENT, *changes)
    # Two weights; the placebo of the search's seed; FocusNet and placebo with three seeds.
    assert space.teachers_of(25) == 2 + 1 + 2 * 3
    assert space.students_of(25) == 10 + 3 + 4 * 3
    assert space.templates_of(25) == 1 + 3
    unshared = make_space(STUDENT, (("trial", "template", "reuse"), False), *changes)
    assert unshared.teachers_of(25) == 10 + 1 + 2 * 3


def test_a_student_beyond_its_limits_is_refused_at_the_extremes_of_its_search(make_space):
    check_students(make_space(STUDENT))
    check_students(make_space())
    large = make_space(STUDENT, (("space", "student.network.base"), {"choice": [8, 48]}))
    with pytest.raises(
        ConfigError, match=r"trial\.student\.limits: .* 277\.5 kB in fp16 and 13\.10"
    ):
        check_students(large)


def test_asha_compares_epochs_of_the_student(make_space):
    asha = (("search", "scheduler"), {"name": "asha", "grace_epochs": 5})
    random = (("search", "algorithm"), "random")
    epochs = student(epochs=9)
    assert make_space(METRIC, asha, random, epochs).metric_epochs() == 9
    short = student(epochs=5)
    with pytest.raises(ConfigError, match=r"below the epochs of the student \(5\), received 5"):
        make_space(METRIC, asha, random, short)

"""A space file is validated as a whole, before anything starts."""

from pathlib import Path

import pytest
from small_space import put

from focusnet.errors import ConfigError
from focusnet.system.yaml_file import read_yaml
from study.plan.describe import describe_plan
from study.space.file import SHIPPED, read_space_file
from study.space.validation import validate_space

WRONG = [
    (("serach",), {}, "serach: unknown key (did you mean 'search'?)"),
    (("search", "trails"), 3, "search.trails: unknown key (did you mean 'trials'?)"),
    (("search", "trials"), "3", "search.trials: should be a valid integer, received '3'"),
    (("search", "trials"), 0, "search.trials: should be greater than or equal to 1, received 0"),
    (("search", "trials"), ..., "search.trials: must be given, the number of trials per stratum"),
    (("search", "trials"), [3], "search.trials: should be a valid integer, received [3]"),
    (("search", "trials"), {25: 3}, "search.trials: must name every stratum (25, 100), lacks 100"),
    (
        ("search", "trials"),
        {25: 3, 100: 2, 50: 9},
        "search.trials.50: no such stratum (25, 100), received 9",
    ),
    (
        ("search", "trials"),
        {"25": 3, 25: 3, 100: 2},
        "search.trials.25: no such stratum (25, 100), received 3",
    ),
    (
        ("search", "trials"),
        {25: 0, 100: 2},
        "search.trials.25: should be greater than or equal to 1, received 0",
    ),
    (
        ("search", "trials"),
        {25: 2, 100: 1.5},
        "search.trials.100: should be a valid integer, received 1.5",
    ),
    (
        ("search", "winner"),
        "best",
        "search.winner: should be 'posterior_mean' or 'best_observed', received 'best'",
    ),
    (("search", "seed"), -1, "search.seed: should be greater than or equal to 0, received -1"),
    (("search", "algorithm"), "tpee", "search.algorithm: should be 'sobol', 'random', 'grid', "),
    (("search", "scheduler"), "ashaa", "search.scheduler.name: should be 'asha' or 'none'"),
    (
        ("search", "scheduler"),
        {"name": "asha", "grace_epochs": 6},
        "search.scheduler.grace_epochs: must be below the epochs of the FocusNet stage (6)",
    ),
    (
        ("search", "metric"),
        "focus/report/macro_accuracy",
        "search.metric: 'focus/report/macro_accuracy' is on the half of the test split that is "
        "kept for the report",
    ),
    (
        ("search", "metric"),
        "focus/select/macro_acuracy",
        "did you mean 'focus/select/macro_accuracy'?",
    ),
    (
        ("search", "stratify"),
        "data.subsets",
        "search.stratify: must name a parameter of space, received 'data.subsets' "
        "(did you mean 'data.subset'?)",
    ),
    (("search", "stratify"), "focus.weight", "search.stratify: 'focus.weight' must be a choice"),
    (("search", "stratify"), None, "search.stratify: must be data.subset where space holds it"),
    (("name",), "a/b", "name: must consist of letters, digits"),
    (("name",), "..", "name: must consist of letters, digits"),
    (("resources", "gpu"), -1, "resources.gpu: should be greater than or equal to 0"),
    (("resources", "gpu"), 1.5, "gpu above 1 must be a whole number, received 1.5"),
    (("resources", "cpu"), 0, "resources.cpu: should be greater than 0, received 0"),
    (("space",), [1], "space: must be a mapping of keys to values, received [1]"),
    (("trial",), ..., "trial: must be given"),
    (
        ("space", "focus.wieght"),
        {"choice": [1]},
        "space.focus.wieght: the trial has no such setting (did you mean 'focus.weight'?)",
    ),
    (("space", "x"), {"choice": [1]}, "space.x: the trial has no such setting (write it as in"),
    (("trial", "template"), 3, "trial.template: must be a mapping of keys to values, received 3"),
    (("space", "focus"), {"choice": [1]}, "space.focus: is a section of the trial"),
    (("space", "focus.weight"), [1, 2], "space.focus.weight: must be one of {choice: [a, b, ...]}"),
    (("space", "focus.weight"), {"choices": [1]}, "space.focus.weight: unknown kind 'choices'"),
    (("space", "focus.weight"), {"choice": []}, "choice must be a list of at least one value"),
    (("space", "focus.weight"), {"choice": [1, 2, 1]}, "space.focus.weight: choice holds 1 twice"),
    (("space", "focus.weight"), {"uniform": [2, 1]}, "uniform needs low < high, received [2, 1]"),
    (("space", "focus.weight"), {"uniform": [1, 1]}, "uniform needs low < high, received [1, 1]"),
    (("space", "focus.weight"), {"uniform": [1]}, "uniform must be a list [low, high]"),
    (("space", "focus.weight"), {"uniform": [1, "x"]}, "uniform needs finite numbers"),
    (("space", "focus.weight"), {"loguniform": [0, 1]}, "loguniform needs low > 0, received 0"),
    (("space", "focus.weight"), {"uniform": [-1, 1]}, "space.focus.weight: should be greater"),
    (("space", "focus.threshold"), {"uniform": [0.5, 1]}, "space.focus.threshold: should be less"),
    (("space", "focus.threshold"), {"choice": [0]}, "space.focus.threshold: should be greater"),
    (("space", "data.subset"), {"choice": [0, 5]}, "space.data.subset: should be greater than or"),
    (("space", "data.subset"), {"choice": [101]}, "should be less than or equal to 100"),
    (("space", "template.epochs"), {"uniform": [1, 4]}, "should be a valid integer"),
    (("space", "template.epochs"), {"int": [1.5, 4]}, "int needs whole numbers, received 1.5"),
    (
        ("space", "features.win_length"),
        {"choice": [800, 3000]},
        "space.features.win_length: win_length 3000 is longer than n_fft 1024 (with 3000)",
    ),
    (("trial", "data", "rot"), "x", "trial.data.rot: unknown key (did you mean 'root'?)"),
    (("trial", "data", "root"), ..., "trial.data.root: must be given"),
    (("trial", "template", "epochs"), 2.5, "trial.template.epochs: should be a valid integer"),
    (("trial", "arm"), "placebo", "trial.arm: is set by the study: FocusNet in the search"),
    (("space", "arm"), {"choice": ["placebo"]}, "space.arm: is set by the study"),
    (
        ("trial", "seed"),
        3,
        "trial.seed: is set by the study: see search.seed, controls.seeds and confirm.seeds; "
        "received 3",
    ),
    (("trial", "compute"), {"device": "cuda"}, "resources.gpu: must be above 0 where"),
    (
        ("trial", "compute"),
        {"compile": "maybe"},
        "trial.compute.compile: should be 'auto', true or false, received 'maybe'",
    ),
    (("trial", "compute"), {"compile": True}, "where trial.compute.compile is true"),
]


@pytest.mark.parametrize(("keys", "value", "message"), WRONG)
def test_a_mistake_is_reported_with_path_rule_and_value(content, keys, value, message):
    put(content, keys, value)
    with pytest.raises(ConfigError) as error:
        validate_space(content, "small.yaml")
    assert [p for p in error.value.problems if message in p and p.startswith("small.yaml: ")]
    assert len(error.value.problems) == 1, error.value.problems


def test_the_first_evaluation_comes_no_later_than_the_first_comparison(make_space):
    asha = ("search", "scheduler"), {"name": "asha", "grace_epochs": 2}
    make_space(asha, (("trial", "compute"), {"eval_epochs": 2}))
    make_space((("trial", "compute"), {"eval_epochs": 3}))
    with pytest.raises(ConfigError, match=r"eval_epochs: must be at most .* \(2\).*received 3"):
        make_space(asha, (("trial", "compute"), {"eval_epochs": 3}))


def test_every_range_in_a_grid_is_reported(make_space):
    with pytest.raises(ConfigError) as error:
        make_space((("search", "algorithm"), "grid"))
    for problem, path in zip(error.value.problems, ("weight", "threshold"), strict=True):
        assert f"space.focus.{path}: a grid needs {{choice: [...]}}, received" in problem


def test_all_mistakes_are_reported_at_once(content):
    put(content, ("serach",), {})
    put(content, ("search", "trials"), 0)
    put(content, ("space", "focus.threshold"), {"uniform": [0.5, 1]})
    put(content, ("space", "data.subset"), {"choice": [0, 101]})
    put(content, ("trial", "data", "rot"), "x")
    with pytest.raises(ConfigError) as error:
        validate_space(content, "small.yaml")
    reported = "\n".join(error.value.problems)
    for part in ("serach", "search.trials", "focus.threshold", "received 0", "101", "data.rot"):
        assert part in reported


def test_more_trials_than_distinct_configurations_are_refused(make_space):
    two = (("space", "focus.weight"), {"choice": [1, 2]})
    fixed = (("space", "focus.threshold"), ...)
    assert make_space(two, fixed, (("search", "trials"), 2)).trials_of(25) == 2
    with pytest.raises(ConfigError, match="2 distinct configurations per stratum, received 3"):
        make_space(two, fixed)


def test_a_grid_has_as_many_trials_as_points_unless_fewer_are_asked_for(make_space):
    grid = [
        (("search", "algorithm"), "grid"),
        (("space", "focus.weight"), {"choice": [1, 2, 3]}),
        (("space", "focus.threshold"), {"choice": [0.1, 0.2]}),
    ]
    assert make_space(*grid, (("search", "trials"), ...)).trials_of(25) == 6
    assert make_space(*grid).trials_of(25) == 3


def test_trials_may_be_given_by_stratum(make_space):
    space = make_space((("search", "trials"), {100: 2, 25: 5}), (("confirm", "seeds"), 2))
    assert [space.trials_of(stratum) for stratum in space.strata] == [5, 2]
    assert (space.trials_searched, space.trials_in_all) == (7, 7 + 2 * 2)
    plan = describe_plan(space, Path("r"))
    assert "Study small: 11 trials" in plan
    assert "random, 7 trials: 5, 2 in these strata" in plan
    assert space.content()["search"]["trials"] == {100: 2, 25: 5}
    assert make_space().content()["search"]["trials"] == 3


def test_trials_by_stratum_need_strata(make_space):
    single = (("space", "data.subset"), ...), (("search", "stratify"), None)
    assert make_space(*single).trials_of(None) == 3
    with pytest.raises(ConfigError, match=r"search\.trials: numbers by stratum need search\.str"):
        make_space(*single, (("search", "trials"), {25: 3}))


def test_templates_by_stratum_are_no_more_than_its_trials(make_space):
    searched = (("space", "template.lr"), {"choice": [1e-5, 2e-5, 3e-5, 4e-5]})
    space = make_space(searched, (("search", "trials"), {25: 9, 100: 2}))
    assert [space.templates_of(stratum) for stratum in space.strata] == [4, 2]
    assert space.templates_at_most() == 6
    single = (("space", "data.subset"), ...), (("search", "stratify"), "focus.weight")
    one = (("space", "focus.weight"), {"choice": [1, 2]}), (("search", "trials"), {1: 1, 2: 2})
    shared = make_space(searched, *single, *one)
    assert shared.templates_at_most() == 3  # strata of the second stage share them
    assert [shared.templates_of(stratum) for stratum in shared.strata] == [1.5, 1.5]


@pytest.mark.parametrize(
    ("changes", "winner"),
    [
        ([], "posterior_mean"),
        ([("algorithm", "tpe")], "best_observed"),
        ([("scheduler", {"name": "asha", "grace_epochs": 1})], "best_observed"),
        ([("winner", "best_observed")], "best_observed"),
        ([("algorithm", "tpe"), ("winner", "posterior_mean")], "posterior_mean"),
    ],
)
def test_the_rule_for_the_winner_follows_from_the_search(make_space, changes, winner):
    default = ("search", "winner"), None
    space = make_space(default, *((("search", name), value) for name, value in changes))
    assert space.search.winner == winner
    assert space.content()["search"]["winner"] == winner
    assert f"({winner})" in describe_plan(space, Path("r"))


def test_relative_paths_are_made_absolute_and_keywords_are_kept(make_space, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = make_space(
        (("trial", "data", "root"), "data/tau"),
        (("trial", "model", "weights"), "passt.pt"),
        (("space", "augment.dir_folder"), {"choice": [None, "dirs", "/a/b"]}),
    )
    assert space.base.data.root == str(tmp_path / "data" / "tau")
    assert space.base.model.weights == str(tmp_path / "passt.pt")
    assert space.domains["augment.dir_folder"].values == (None, str(tmp_path / "dirs"), "/a/b")
    assert make_space().base.data.root == "synthetic"
    assert make_space().base.model.weights == "none"


def test_the_base_of_all_trials_has_first_values_except_below_focus(make_space):
    space = make_space(
        (("space", "data.subset"), {"choice": [25, 100]}),
        (("space", "template.lr"), {"choice": [1e-4, 1e-3]}),
        (("space", "focus.temperature"), {"choice": [1.0, 4.0]}),
        (("trial", "focus"), {"weight": 3.0}),
        (("search", "seed"), 7),
    )
    base = space.base
    assert (base.seed, base.data.subset, base.template.lr) == (7, 25, 1e-4)
    # An arm that does not use a searched focus setting is trained with these.
    assert (base.focus.weight, base.focus.temperature, base.focus.threshold) == (3.0, 2.0, None)
    trial = space.trial_config(space.first_values() | {"focus.weight": 0.5})
    assert (trial.seed, trial.focus.weight, trial.focus.temperature) == (7, 0.5, 1.0)


def test_a_stated_focus_setting_must_be_valid_even_if_it_is_searched(make_space):
    # Controls that do not use the parameter are trained with the stated value.
    with pytest.raises(ConfigError, match=r"trial\.focus\.weight: should be .* received -1"):
        make_space((("trial", "focus"), {"weight": -1.0}))


def test_scheduler_none_may_be_written_as_a_word(make_space):
    assert make_space((("search", "scheduler"), "none")).search.scheduler.name == "none"
    assert make_space((("search", "scheduler"), None)).search.scheduler.name == "none"


def test_focus_epochs_default_to_the_templates(make_space):
    assert make_space().focus_epochs() == 6
    assert make_space((("space", "template.epochs"), {"int": [2, 9]})).focus_epochs() == 9
    assert make_space((("space", "focus.epochs"), {"choice": [None, 4]})).focus_epochs() == 6
    assert make_space((("trial", "focus"), {"epochs": 11})).focus_epochs() == 11


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.yaml")), ids=lambda file: file.name)
def test_every_shipped_file_can_be_planned_and_is_named_in_the_readme(file: Path, tmp_path):
    space = validate_space(read_space_file(file, []), file.name)
    assert space.name == file.stem
    upper = "up to " if space.looks_planned else ""
    heading = f"Study {file.stem}: {upper}{space.trials_in_all} trials"
    assert heading in describe_plan(space, tmp_path)
    assert f"| `{file.name}` |" in (SHIPPED.parent / "README.md").read_text()


def test_a_second_objective_needs_another_metric_and_no_scheduler(make_space):
    second = (("search", "second_metric"), "focus/select/calibration_error")
    space = make_space(second)
    assert space.search.metrics == ("focus/select/macro_accuracy", second[1])
    assert "and minimises focus/select/calibration_error" in describe_plan(space, Path("r"))
    with pytest.raises(ConfigError, match="would stop those that are good by the second"):
        make_space(second, (("search", "scheduler"), {"name": "asha", "grace_epochs": 1}))
    with pytest.raises(ConfigError, match="must differ from metric"):
        make_space((("search", "second_metric"), "focus/select/macro_accuracy"))
    with pytest.raises(ConfigError, match="kept for the report"):
        make_space((("search", "second_metric"), "focus/report/log_loss"))


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.yaml")), ids=lambda file: file.name)
def test_the_recorded_space_of_every_shipped_file_validates_to_itself(file: Path):
    space = validate_space(read_yaml(file), file.name)
    resolved = space.content()
    assert validate_space(resolved, "space.yaml").content() == resolved
    assert resolved["trial"]["template"]["label_smoothing"] == 0.0  # a default, filled in


@pytest.mark.parametrize("name", ["focus", "quick", "demo"])
def test_the_searches_that_answer_the_question_are_fixed_in_advance(name):
    space = validate_space(read_yaml(SHIPPED / f"{name}.yaml"), name)
    assert space.search.algorithm == "sobol"
    assert space.search.is_fixed
    assert space.search.winner == "posterior_mean"
    assert space.base.template.keep == "last"
    if name == "focus":
        assert [space.trials_of(stratum) for stratum in space.strata] == [24, 24, 16, 8, 8]


def test_adaptive_searches_are_told_from_fixed_ones(make_space):
    def fixed(algorithm, scheduler="none"):
        changes = {"algorithm": algorithm, "scheduler": scheduler}
        return make_space(*((("search", n), v) for n, v in changes.items())).search.is_fixed

    assert [fixed(name) for name in ("sobol", "random", "tpe", "gp")] == [True, True, False, False]
    assert not fixed("sobol", {"name": "asha", "grace_epochs": 2})

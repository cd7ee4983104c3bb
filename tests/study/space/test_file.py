"""A space file is found, read, and changed by --set."""

import pytest

from focusnet.errors import ConfigError
from study.space.file import SHIPPED, find_space_file, read_space_file


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\nsearch: {trials: 3}\n"
        "space: {data.subset: {choice: [5]}, focus.weight: {uniform: [1, 2]}}\n"
        "trial:\n  data: {root: a}\n"
    )
    return path


def test_a_bare_name_is_looked_up_here_and_then_in_search_spaces(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_space_file("demo.yaml") == SHIPPED / "demo.yaml"
    assert find_space_file("demo") == SHIPPED / "demo.yaml"
    (tmp_path / "demo.yaml").write_text("")
    assert find_space_file("demo.yaml").absolute() == tmp_path / "demo.yaml"


def test_a_missing_file_is_reported_with_the_available_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"--space demmo.yaml: .*demo.yaml, focus.yaml"):
        find_space_file("demmo.yaml")


def test_set_changes_values_at_paths_in_order(file):
    content = read_space_file(
        file,
        [
            "search.trials=8",
            "trial.data.root=/data/x=y",
            "trial.template.lr=1e-5",
            "search.trials=9",
            "resources.gpu=0.5",
        ],
    )
    assert content["search"]["trials"] == 9
    assert content["trial"]["data"]["root"] == "/data/x=y"
    assert content["trial"]["template"] == {"lr": 1e-5}
    assert content["resources"] == {"gpu": 0.5}


def test_set_names_a_stratum_as_yaml_does(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("search: {trials: {25: 3, 100: 2}}")
    content = read_space_file(path, ["search.trials.25=9"])
    assert content["search"]["trials"] == {25: 9, 100: 2}
    content = read_space_file(path, ["search.trials={5: 1}"])
    assert content["search"]["trials"] == {5: 1}


def test_everything_after_space_is_the_name_of_a_parameter(file):
    content = read_space_file(
        file, ["space.data.subset={choice: [5, 10]}", "space.focus.weight=null"]
    )
    assert content["space"] == {"data.subset": {"choice": [5, 10]}}


def test_every_bad_assignment_is_reported(file):
    with pytest.raises(ConfigError) as error:
        read_space_file(file, ["search.trials", "trial.data.root.x=1", "name={", "=3"])
    trials, root, name, nothing = error.value.problems
    assert "--set search.trials: must be key=value" in trials
    assert "trial.data.root holds 'a', which is not a section" in root
    assert "--set name" in name
    assert "not valid YAML" in name
    assert "must be key=value" in nothing

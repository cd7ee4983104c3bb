"""Which trial of a study is its winner, from the study's files alone."""

import json

import pandas as pd
import pytest
import yaml
from study_folder import METRIC, row, space

from focusnet.config import TrialConfig
from focusnet.errors import ConfigError, DataError
from focusnet.export.choose import choose, choose_confirmed


@pytest.fixture
def study(tmp_path):
    """Writes a study whose trials have settings and results, and all but ``without`` weights."""

    def write(rows, without=(), **search):
        folder = tmp_path / "study"
        for one in rows:
            own = folder / "trials" / one["trial"]
            own.mkdir(parents=True)
            settings = TrialConfig(data={"root": "synthetic"}, seed=one["seed"]).model_dump()
            (own / "config.yaml").write_text(yaml.safe_dump(settings))
            (own / "result.json").write_text(json.dumps({"classes": ["bus", "tram"]}))
            if one["trial"] not in without:
                (own / "weights.safetensors").write_bytes(b"")
        (folder / "space.yaml").write_text(yaml.safe_dump(space(**search)))
        pd.DataFrame(rows).to_parquet(folder / "trials.parquet")
        return folder

    return write


def test_the_winner_is_the_best_finished_trial_of_the_search_in_its_stratum(study):
    folder = study(
        [
            row("low", 0.4),
            row("best", 0.6),
            row("equal", 0.6),
            row("small", 0.7, **{"data.subset": 25}),
            row("control", 0.8, arm="placebo"),
            row("confirmed", 0.9, phase="confirm", winner="best", seed=5),
            row("control5", 0.5, phase="confirm", winner="best", seed=5, arm="placebo"),
            row("former", 0.9, phase="confirm", winner=None),
            row("other", 0.9, phase="confirm", winner="low"),
            row("broken", 0.95, status="failed"),
            row("cut", 0.95, status="stopped"),
            row("nothing", float("nan")),
        ]
    )
    chosen = choose(folder, stratum="100")
    assert (chosen.study, chosen.id, chosen.tried) == ("small", "best", 3)
    assert chosen.confirm["trial"].tolist() == ["confirmed", "control5"]
    assert chosen.weights == folder / "trials" / "best" / "weights.safetensors"
    assert choose(folder, stratum="25").id == "small"


def test_the_winners_trainings_with_fresh_seeds_are_an_ensemble(study):
    folder = study(
        [
            row("best", 0.6),
            row("second", 0.9, phase="confirm", winner="best", seed=6),
            row("first", 0.3, phase="confirm", winner="best", seed=5),
            row("control", 0.5, phase="confirm", winner="best", seed=5, arm="placebo"),
            row("former", 0.9, phase="confirm", winner="other", seed=7),
            row("broken", 0.9, phase="confirm", winner="best", seed=8, status="failed"),
        ]
    )
    chosen = choose_confirmed(folder, stratum="100")
    assert [(one.id, one.trial.seed) for one in chosen] == [("first", 5), ("second", 6)]
    (folder / "trials" / "second" / "weights.safetensors").unlink()
    with pytest.raises(DataError, match=r"second: has no .*confirm\.keep_weights.*best, "):
        choose_confirmed(folder)


def test_a_winner_that_was_not_trained_again_is_no_ensemble(study):
    with pytest.raises(ConfigError, match=r"best was not trained again with fresh seeds \(yet\)"):
        choose_confirmed(study([row("best", 0.6)]))


def test_another_metric_has_another_winner(study):
    rows = [row("a", 0.4, other=0.9), row("b", 0.6, other=0.1)]
    assert choose(study(rows, metric="other")).id == "a"


def test_studies_from_before_there_were_phases_are_read(study):
    rows = [row("a", 0.4), row("b", 0.6)]
    for one in rows:
        del one["phase"], one["winner"]
    chosen = choose(study(rows))
    assert chosen.id == "b"
    assert chosen.confirm.empty


def test_a_stratum_need_not_be_named_where_there_is_one(study):
    assert choose(study([row("a", 0.4)])).id == "a"


def test_a_study_without_strata_has_one_winner(study):
    folder = study([row("a", 0.4), row("b", 0.6, **{"data.subset": 25})], stratify=None)
    assert choose(folder).id == "b"
    with pytest.raises(ConfigError, match="one search for all"):
        choose(folder, stratum="25")


def test_a_trial_can_be_named(study):
    folder = study([row("a", 0.4), row("b", 0.6), row("c", 0.5, arm="placebo")])
    chosen = choose(folder, trial="c")
    assert (chosen.id, chosen.tried) == ("c", 0)
    with pytest.raises(ConfigError, match="has no finished trial 'z'"):
        choose(folder, trial="z")


def test_what_to_choose_from_is_told(study):
    folder = study([row("a", 0.4), row("b", 0.6, **{"data.subset": 5})])
    with pytest.raises(ConfigError, match=r"winner for each data\.subset: choose one of 5, 100"):
        choose(folder)
    with pytest.raises(ConfigError, match=r"must be one of 5, 100, received '50'"):
        choose(folder, stratum="50")


def test_a_study_that_has_not_got_there_says_so(study, tmp_path):
    folder = study([row("a", 0.4, status="running")])
    with pytest.raises(ConfigError, match="no trial of its search is finished yet"):
        choose(folder)
    with pytest.raises(ConfigError, match=r"has no space\.yaml"):
        choose(tmp_path / "nowhere")


def test_weights_that_are_gone_are_told_with_those_that_are_there(study):
    folder = study([row("a", 0.4), row("b", 0.6)], without=["a"])
    with pytest.raises(DataError, match=r"keeps those of its winners only, .*fresh seeds: b"):
        choose(folder, trial="a")


@pytest.mark.parametrize("content", ["[1, 2", "just words", "search: {}\nname: x\n"])
def test_a_broken_space_is_no_traceback(study, content):
    folder = study([row("a", 0.4)])
    (folder / "space.yaml").write_text(content)
    with pytest.raises(DataError, match="cannot be read"):
        choose(folder)


def test_a_metric_of_another_study_has_no_winner(study):
    assert METRIC != "unknown"
    with pytest.raises(ConfigError, match="no trial of its search is finished"):
        choose(study([row("a", 0.4)], metric="unknown"))


def test_a_table_without_the_strata_is_no_traceback(study):
    with pytest.raises(DataError, match=r"trials\.parquet: has no column focus\.weight"):
        choose(study([row("a", 0.4)], stratify="focus.weight"))

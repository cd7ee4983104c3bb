"""Choosing the trial to export from a study's files."""

import json
import shutil

import pandas as pd
import pytest
import yaml
from study_folder import METRIC, row, space

from focusnet.config import TrialConfig
from focusnet.errors import ConfigError, DataError
from focusnet.export.choose import choose, choose_confirmed
from focusnet.winner import table_winners


@pytest.fixture
def study(tmp_path):
    """Writes a study's folder; trials in ``without`` have no weights."""

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


def test_the_winners_trainings_with_fresh_seeds_are_chosen_by_seed(study):
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
    with pytest.raises(DataError, match=r"second: has no .*keep_weights.*with it: best, "):
        choose_confirmed(folder)


def test_a_winner_that_was_not_trained_again_is_refused(study):
    with pytest.raises(ConfigError, match="best has not been trained again with fresh seeds"):
        choose_confirmed(study([row("best", 0.6)]))


def test_the_winner_depends_on_the_metric_of_the_search(study):
    rows = [row("a", 0.4, other=0.9), row("b", 0.6, other=0.1)]
    assert choose(study(rows, metric="other")).id == "a"


def test_studies_without_a_column_of_phases_are_read(study):
    rows = [row("a", 0.4), row("b", 0.6)]
    for one in rows:
        del one["phase"], one["winner"]
    chosen = choose(study(rows))
    assert chosen.id == "b"
    assert chosen.confirm.empty


def test_a_single_stratum_need_not_be_named(study):
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


def test_strata_to_choose_from_are_listed(study):
    folder = study([row("a", 0.4), row("b", 0.6, **{"data.subset": 5})])
    with pytest.raises(ConfigError, match=r"winner for each data\.subset; .* --subset: 5, 100"):
        choose(folder)
    with pytest.raises(ConfigError, match=r"must be one of 5, 100, received '50'"):
        choose(folder, stratum="50")


def test_a_study_without_finished_trials_is_refused(study, tmp_path):
    folder = study([row("a", 0.4, status="running")])
    with pytest.raises(ConfigError, match="no trial of its search is finished yet"):
        choose(folder)
    with pytest.raises(ConfigError, match=r"has no space\.yaml"):
        choose(tmp_path / "nowhere")


def test_missing_weights_are_reported_with_trials_that_have_them(study):
    folder = study([row("a", 0.4), row("b", 0.6)], without=["a"])
    with pytest.raises(DataError, match=r"of its winners and, .*trials with it: b"):
        choose(folder, trial="a")


@pytest.mark.parametrize("content", ["[1, 2", "just words", "search: {}\nname: x\n"])
def test_a_broken_space_file_is_a_data_error(study, content):
    folder = study([row("a", 0.4)])
    (folder / "space.yaml").write_text(content)
    with pytest.raises(DataError, match="cannot be read"):
        choose(folder)


def test_an_unknown_metric_has_no_winner(study):
    assert METRIC != "unknown"
    with pytest.raises(ConfigError, match="no trial of its search is finished"):
        choose(study([row("a", 0.4)], metric="unknown"))


def test_a_table_without_the_stratify_column_is_a_data_error(study):
    with pytest.raises(DataError, match=r"trials\.parquet: has no column focus\.weight"):
        choose(study([row("a", 0.4)], stratify="focus.weight"))


RANGES = {"data.subset": {"choice": [25, 100]}, "focus.weight": {"uniform": [0.0, 1.0]}}


def estimated_study(study, followers=(), **options):
    """Six trials a stratum; the best settings are between two of them."""
    rows = [
        row(f"t{subset}-{place}", value, **{"data.subset": subset, "focus.weight": place / 5})
        for subset in (25, 100)
        for place, value in enumerate((0.40, 0.50, 0.56, 0.561, 0.50, 0.40))
    ]
    folder = study([*rows, *followers], winner="posterior_mean", trials=6, seed=0, **options)
    content = yaml.safe_load((folder / "space.yaml").read_text()) | {"space": RANGES}
    (folder / "space.yaml").write_text(yaml.safe_dump(content))
    return folder, pd.DataFrame(rows), content


def test_an_estimated_winner_that_was_never_trained_is_its_first_confirmation(study):
    folder, rows, content = estimated_study(study)
    won = {one.stratum: one for one in table_winners(rows, content)}[100]
    assert (won.row, won.name, won.rule) == (None, None, "posterior_mean")
    assert 0.4 < won.parameters["focus.weight"] < 0.6
    with pytest.raises(
        ConfigError, match=r"\(never trained in the search\), and no training .* --tri"
    ):
        choose(folder, stratum="100")
    again = [
        row(f"again{seed}", 0.5, phase="confirm", winner="named", seed=seed, **won.parameters)
        for seed in (5, 6)
    ]
    shutil.rmtree(folder)
    folder, *_ = estimated_study(study, again)
    chosen = choose(folder, stratum="100")
    assert (chosen.id, chosen.tried) == ("again5", 0)
    assert "never trained them: this is their first training with a fresh seed" in chosen.chosen
    assert chosen.confirm["trial"].tolist() == ["again5", "again6"]
    (folder / "trials" / "again5" / "weights.safetensors").unlink()
    assert choose(folder, stratum="100").id == "again6"


def test_before_all_searches_have_ended_the_best_trial_so_far_is_chosen(study):
    folder, *_ = estimated_study(study)
    content = yaml.safe_load((folder / "space.yaml").read_text())
    content["search"]["trials"] = {25: 6, 100: 7}
    (folder / "space.yaml").write_text(yaml.safe_dump(content))
    chosen = choose(folder, stratum="100")
    assert (chosen.id, chosen.tried, chosen.chosen) == ("t100-3", 6, "")

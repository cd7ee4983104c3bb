"""Importance of parameters, compared with chance."""

import numpy as np
import pandas as pd
import pytest
from results_folder import SPACE, finished, write_study

from analysis.inference.importance import importances
from analysis.report import main
from analysis.tables.parameters import read_parameters

PARAMETERS = {k: v for k, v in read_parameters(SPACE["space"]).items() if k != "data.subset"}


def trials(number, strength, seed=0):
    """Accuracy depends on the weight's logarithm, and not on the threshold."""
    generator = np.random.default_rng(seed)
    weight = 10 ** generator.uniform(-1, 1, number)
    threshold = generator.uniform(0.02, 0.5, number)
    accuracy = strength * np.log10(weight) + generator.normal(0, 0.01, number)
    return pd.DataFrame(
        {"focus.weight": weight, "focus.threshold": threshold, "accuracy": accuracy}
    )


def test_a_parameter_that_matters_stands_out_and_another_does_not():
    table = importances(trials(40, 0.05), PARAMETERS, "accuracy")
    assert table["share"].sum() == pytest.approx(1)
    assert table.loc["focus.weight", "share"] > 0.8
    assert list(table["stands_out"]) == [True, False]


def test_without_any_effect_no_parameter_stands_out_though_shares_add_up():
    tables = [importances(trials(20, 0.0, seed), PARAMETERS, "accuracy") for seed in range(3)]
    assert [table["share"].sum() for table in tables] == pytest.approx([1] * 3)
    assert max(table["share"].max() for table in tables) > 0.75
    assert not any(table["stands_out"].any() for table in tables)


@pytest.mark.parametrize("number", [0, 1, 9])
def test_few_trials_give_no_importance(number):
    assert importances(trials(number, 0.05), PARAMETERS, "accuracy") is None


def test_one_parameter_alone_gives_no_importance():
    only = {"focus.weight": PARAMETERS["focus.weight"]}
    assert importances(trials(20, 0.05), only, "accuracy") is None
    assert importances(trials(20, 0.05), PARAMETERS, "not there") is None


def test_choices_with_null_and_integers_read_back_as_floats_are_accepted():
    space = {
        "focus.threshold": {"choice": [None, 0.1, 0.3]},
        "focus.epochs": {"int": [1, 9]},
        "focus.template_logits": {"choice": ["stored", "online"]},
    }
    generator = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "focus.threshold": generator.choice([np.nan, 0.1, 0.3], 20),
            "focus.epochs": generator.integers(1, 9, 20).astype(float),
            "focus.template_logits": generator.choice(["stored", "online"], 20),
            "accuracy": generator.normal(size=20),
        }
    )
    table = importances(frame, read_parameters(space), "accuracy")
    assert list(table.index) == list(space)
    assert (table["share"] >= 0).all()


def test_the_report_has_the_shares_or_says_what_they_need(tmp_path, recwarn):
    frame = trials(12, 0.05)
    rows = [
        finished(f"t{i}", 25, weight=one[1], threshold=one[2], select=0.5 + one[3])
        for i, one in enumerate(frame.itertuples())
    ]
    folder = write_study(tmp_path / "s", rows)
    assert main([str(folder)]) == 0
    text = (folder / "report" / "report.md").read_text()
    assert "| subset 25 " in text
    assert "weight: stands out" in text
    assert "subset 100 |        - |" in text
    few = write_study(tmp_path / "t", rows[:9])
    assert main([str(few)]) == 0
    words = " ".join((few / "report" / "report.md").read_text().split())
    assert "is not shown: it needs at least 10 finished trials" in words
    assert not recwarn.list

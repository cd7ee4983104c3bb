"""Tests of the comparison of a setting's values, paired by seed."""

import copy

import pytest
import yaml
from results_folder import REPORT, SPACE, confirmed_study, finished, predictions, write_study

from analysis.inference.single_seed import macro_gain
from analysis.read_study import read_study
from analysis.sections.compare_setting import setting_section
from analysis.tables.predictions import paired_clips

PATH = "focus.template_logits"


def with_setting(folder, value):
    """The study at ``folder``, all its trials with one value of the setting."""
    path = folder / "space.yaml"
    space = yaml.safe_load(path.read_text())
    space["trial"]["focus"] = {"template_logits": value}
    path.write_text(yaml.safe_dump(space, sort_keys=False))
    return read_study(folder)


def test_studies_that_differ_in_one_setting_are_paired_by_seed(tmp_path):
    one = with_setting(confirmed_study(tmp_path / "a", focus={25: 0.5}, arms=()), "stored")
    other = with_setting(confirmed_study(tmp_path / "b", focus={25: 0.9}, arms=()), "cross_fitted")
    section = setting_section([one, other], PATH)
    table = section.blocks[1]
    assert table.header == (
        "subset", "weight", "threshold", "seeds", "stored: warm classes", "stored %",
        "cross_fitted: warm classes", "cross_fitted %", "cross_fitted over stored",
        "95 % interval",
    )  # fmt: skip
    row = next(row for row in table.rows if row[3] != "0")
    # Winner of the search and three fresh seeds.
    assert row[:5] == ("25", "1", "0.1", "4", "1.50")
    assert float(row[7]) - float(row[5]) == pytest.approx(float(row[8]), abs=0.11)
    low, high = (float(end) for end in row[9].split(" to "))
    assert low < float(row[8]) < high
    assert float(row[8]) > 15


def test_a_search_over_the_setting_is_compared_within_its_other_parameters(tmp_path):
    space = copy.deepcopy(SPACE)
    space["space"][PATH] = {"choice": ["stored", "cross_fitted"]}
    better = predictions([(*line[:4], line[0]) for line in REPORT])
    trials = [
        finished("a", 25) | {PATH: "stored"},
        finished("b", 25, **{"focus/warm_classes": 2.5}) | {PATH: "cross_fitted"},
        finished("c", 25, weight=3.0) | {PATH: "stored"},
    ]
    folder = write_study(
        tmp_path / "s", trials, space=space,
        predicted={"a": predictions(), "b": better, "c": predictions()},
    )  # fmt: skip
    rows = setting_section([read_study(folder)], PATH).blocks[1].rows
    both = paired_clips(predictions(), "report")
    both["other"] = both["scene"]
    expected = macro_gain(both, before="focus", after="other")
    assert rows[0][:5] == ("25", "1", "0.1", "1", "1.50")
    assert rows[0][6] == "2.50"
    assert rows[0][8] == f"{100 * expected.gain:+.1f}"
    assert rows[0][9].startswith(f"{100 * expected.low:+.1f}".replace("+0.0", "0.0"))
    assert rows[1] == ("25", "3", "0.1", "0", "-", "-", "-", "-", "-", "-")


def test_one_value_cannot_be_compared(tmp_path):
    study = with_setting(confirmed_study(tmp_path / "a", arms=()), "stored")
    text = setting_section([study], PATH).blocks[0]
    assert "finished trials have one value of focus.template_logits (stored)" in text

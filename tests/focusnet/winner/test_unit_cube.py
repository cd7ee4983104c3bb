"""Settings map to the unit cube and back."""

import json
import math

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from focusnet.winner.unit_cube import UnitCube, stratum_distances

DOMAINS = {
    "weight": {"loguniform": [0.1, 10.0]},
    "threshold": {"uniform": [0.02, 0.5]},
    "folds": {"int": [2, 5]},
    "logits": {"choice": ["stored", "online", None]},
    "flag": {"choice": [True, False, 1]},
    "fixed": {"choice": [7]},
}
SHARES = st.floats(0, 1, exclude_max=True)
SETTINGS = st.fixed_dictionaries(
    {
        "weight": st.floats(0.1, 10),
        "threshold": st.floats(0.02, 0.5),
        "folds": st.integers(2, 5),
        "logits": st.sampled_from(["stored", "online", None]),
        "flag": st.sampled_from([True, False, 1]),
        "fixed": st.just(7),
    }
)


def same(one, other):
    """Equal, types included: 1 is not True."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def test_points_by_hand():
    settings = {"weight": 1.0, "threshold": 0.26, "folds": 3, "logits": "online", "flag": True}
    points = UnitCube(DOMAINS).points([settings | {"fixed": 7}])
    half = math.sqrt(0.5)
    expected = [0.5, 0.5, 1 / 3, 0, half, 0, half, 0, 0]
    np.testing.assert_allclose(points, [expected], atol=1e-12)


@given(SETTINGS, SETTINGS)
def test_each_parameter_contributes_its_distance_on_its_own_scale(one, other):
    cube = UnitCube(DOMAINS)
    apart = np.linalg.norm(np.subtract(*cube.points([one, other])))
    expected = math.log(one["weight"] / other["weight"], 100) ** 2
    expected += ((one["threshold"] - other["threshold"]) / 0.48) ** 2
    expected += ((one["folds"] - other["folds"]) / 3) ** 2
    expected += (one["logits"] != other["logits"]) + (not same(one["flag"], other["flag"]))
    assert apart == pytest.approx(math.sqrt(expected), abs=1e-9)


@given(st.fixed_dictionaries(dict.fromkeys(DOMAINS, SHARES)))
def test_settings_of_any_place_are_in_their_domains_and_survive_files(shares):
    cube = UnitCube(DOMAINS)
    settings = cube.settings_at(shares)
    assert 0.1 <= settings["weight"] <= 10
    assert 0.02 <= settings["threshold"] <= 0.5
    assert settings["folds"] == 2 + int(4 * shares["folds"])
    assert same(settings["logits"], ["stored", "online", None][int(3 * shares["logits"])])
    (point,) = cube.points([settings])
    assert point[0] == pytest.approx(shares["weight"], abs=1e-5)
    assert point[1] == pytest.approx(shares["threshold"], abs=1e-5)
    assert same(json.loads(json.dumps(settings)), settings)
    assert same(yaml.safe_load(yaml.safe_dump(settings, sort_keys=False)), settings)
    assert same(cube.settings_of(settings), settings)


@given(SETTINGS)
def test_settings_are_recognised_in_a_table(settings):
    in_table = {"folds": float(settings["folds"]), "fixed": np.float64(7.0)}
    in_table["weight"] = np.float64(settings["weight"])
    in_table["logits"] = math.nan if settings["logits"] is None else settings["logits"]
    assert same(UnitCube(DOMAINS).settings_of({**settings, **in_table, "more": 1}), settings)


def test_a_value_that_no_choice_has_is_refused():
    with pytest.raises(ValueError, match="'x' is none of 'stored', 'online', None"):
        UnitCube({"logits": DOMAINS["logits"]}).settings_of({"logits": "x"})


def test_further_settings_cover_the_cube_and_depend_on_the_seed_alone():
    cube = UnitCube(DOMAINS)
    settings = cube.spread(256, seed=3)
    assert settings == cube.spread(256, seed=3) != cube.spread(256, seed=4)
    # A Sobol sequence of a power of 2 has equally many points in each of 16 parts of a range.
    counts = np.histogram(cube.points(settings)[:, 0], bins=16, range=(0, 1))[0]
    assert set(counts) == {16}
    assert {one["folds"] for one in settings} == {2, 3, 4, 5}
    assert UnitCube({"fixed": DOMAINS["fixed"]}).spread(256, seed=3) == []


def test_strata_are_as_far_apart_as_their_logarithms_or_as_different():
    expected = [[0, math.log(2), math.log(20)], [math.log(2), 0, math.log(10)]]
    np.testing.assert_allclose(stratum_distances([5, 10, 100])[:2], expected, atol=1e-12)
    for strata in (["a", "b"], [0, 1], [True, 2], [None, 0.5]):
        np.testing.assert_array_equal(stratum_distances(strata), [[0, 1], [1, 0]])
    assert stratum_distances([None]).tolist() == [[0]]

"""What a plan says it can detect is what simulated studies detect."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from focusnet.errors import ConfigError
from focusnet.statistics.pooled import Effect
from study.ledger.ledger import Ledger, Trial
from study.plan.confirmation import describe_confirmation
from study.plan.data_size import largest_data
from study.plan.detection import (
    ASSUMED,
    ExpectedNoise,
    detectable,
    detections,
    expected_effect,
    noise_of_study,
    seeds_to_detect,
)
from study.plan.work import confirmation_work, stage_work

SEEDS = (("confirm", "seeds"), None)
LOOKS = (("confirm", "looks"), [4, {25: 8, 100: 6}, 16])


def test_variances_are_those_of_seeds_and_of_locations(make_space):
    space = make_space(SEEDS, LOOKS)
    assert largest_data(space).locations == 10 * 12
    effect = expected_effect(space, {25: 8, 100: 5}, ExpectedNoise("", 2.0, 4.0, {100: 3.0}))
    # Of 5 seeds 3 are judged on report, 2 on select; two strata, each for half of the average.
    parts = [2**2 * (1 / 4 + 1 / 4) / 4 / 4, 3**2 * (1 / 3 + 1 / 2) / 4 / 4]
    assert effect.seed_variance == pytest.approx(sum(parts))
    df = sum(parts) ** 2 / (parts[0] ** 2 / 6 + parts[1] ** 2 / 3)
    assert effect.seed_df == pytest.approx(df)
    assert effect.location_variance == pytest.approx(4**2 / 120)
    assert effect.location_df == pytest.approx(120 - 2 * 10)
    one_way = make_space(SEEDS, LOOKS, (("confirm", "cross_fit"), False))
    effect = expected_effect(one_way, {25: 8, 100: 5}, ExpectedNoise("", 2.0, 4.0))
    assert effect.seed_variance == pytest.approx((4 / 8 + 4 / 5) / 4)
    assert effect.location_variance == pytest.approx(4**2 / 60)


def test_without_locations_it_is_the_power_of_a_t_test():
    effect = Effect(*(np.array([x]) for x in (0.0, 0.25, 9.0, 0.0, 50.0)))
    points = detectable(effect, 0.05)
    power = 1 - special.nctdtr(9, points / 0.5, stats.t.isf(0.025, 9))
    assert power == pytest.approx(0.8, abs=1e-6)
    assert math.isinf(detectable(effect, 0.0))


@pytest.mark.parametrize("level", [0.04, 0.005])
@pytest.mark.parametrize("look", [0, 1, 2])
def test_the_effect_is_claimed_with_a_probability_of_80_percent(make_space, look, level):
    space = make_space(SEEDS, LOOKS)
    effect = expected_effect(space, space.confirm_looks[look], ASSUMED)
    points = detectable(effect, level)
    generator, studies = np.random.default_rng(0), 20_000

    def observed(variance, df):
        return variance * generator.chisquare(df, studies) / df

    error = float(effect.standard_error()[0])
    simulated = Effect(
        points + error * generator.standard_normal(studies),
        observed(effect.seed_variance[0], effect.seed_df[0]),
        np.full(studies, effect.seed_df[0]),
        observed(effect.location_variance[0], effect.location_df[0]),
        np.full(studies, effect.location_df[0]),
    )
    low, high = simulated.interval(1 - level)
    assert np.mean((low > 0) | (high < 0)) == pytest.approx(0.8, abs=0.02)


def test_later_looks_detect_less_and_locations_set_a_floor(make_space):
    space = make_space(SEEDS, LOOKS)
    found = [one.points for one in detections(space)]
    assert found == sorted(found, reverse=True)
    assert seeds_to_detect(space, found[-1] * 0.99, ASSUMED) is not None
    assert seeds_to_detect(space, 0.1, ASSUMED) is None
    no_locations = ExpectedNoise("", location_sd=0.0)
    more = seeds_to_detect(space, detections(space, no_locations)[-1].points / 2, no_locations)
    assert more is not None
    assert more[25] == pytest.approx(4 * 16, rel=0.15), "half the effect takes four times as many"


def test_the_plan_names_looks_costs_and_the_look_that_detects(make_space):
    arms = (("controls", "arms"), ["placebo", "distillation"])
    space = make_space(SEEDS, LOOKS, arms, (("controls", "seeds"), []))
    found = detections(space)
    text = "\n".join(describe_confirmation(space, ASSUMED, found[1].points))
    assert "3 planned looks; a gain, a loss or an effect surely below 1 point ends it" in text
    assert "look 1: 8 trainings of template and FocusNet, 8 in all (4 seeds a stratum)" in text
    assert "look 2: 6 trainings of template and FocusNet, 14 in all (8, 6 seeds by stratum)" in text
    assert "after a gain: controls, 16 to 64 second stages" in text
    assert "in all 8 to 32 trainings, and up to 64 second stages of controls" in text
    assert "assumed: a training's macro accuracy varies by 1 point" in text
    assert "to detect" in text.splitlines()[-1]
    assert "look 2 of 3, after 14 trainings" in text.splitlines()[-1]
    never = list(describe_confirmation(space, ASSUMED, 0.01))[-1]
    assert "not with any number of seeds" in never


def test_the_work_of_a_look_is_that_of_its_trainings(make_space):
    space = make_space(SEEDS, LOOKS, (("controls", "arms"), ["placebo"]))
    data = largest_data(space)
    ends, controls = confirmation_work(space, data)
    of = {s: stage_work(space, data, s, evaluated_once=True) for s in (25, 100)}
    assert ends[1].train == pytest.approx(
        8 * (of[25][0] + of[25][2]).train + 6 * (of[100][0] + of[100][2]).train
    )
    assert controls.train == pytest.approx(17 * (of[25][2] + of[100][2]).train)


def write_trial(ledger, subset, seed, half, sd, generator):
    parameters = {"data.subset": subset, "focus.weight": 1.0, "focus.threshold": 0.1}
    trial = Trial(f"t{seed}", "focusnet", subset, 0, seed, parameters, phase="confirm", look=1)
    object.__setattr__(trial, "judged_on", half)
    ledger.hand_out(trial)
    frames = []
    for stage in ("template", "focus"):
        of_training = sd * generator.standard_normal()
        for place in range(8):
            count = round(5 * (50 + of_training))
            logit = np.where(np.arange(500) < count, 1.0, 0.0)
            about = {"stage": stage, "half": ("select", "report")[place % 2], "scene": "bus"}
            logits = {"logit/bus": logit, "logit/park": 1 - logit}
            frames.append(pd.DataFrame({**about, "location": f"place{place}", **logits}))
    folder = ledger.trial_folder(trial.id)
    pd.concat(frames).to_parquet(folder / "predictions.parquet")
    (folder / "result.json").write_text(json.dumps({"metrics": {}}))


def test_the_noise_of_an_earlier_study_is_measured(make_space, tmp_path):
    ledger = Ledger(tmp_path / "earlier")
    ledger.begin(make_space(SEEDS, LOOKS).content())
    generator = np.random.default_rng(1)
    with pytest.raises(ConfigError, match="--noise earlier: its confirmation has no stratum"):
        noise_of_study("earlier", tmp_path)
    for number in range(60):
        half = ("report", "select")[number % 2]
        write_trial(ledger, 25, number, half, 2.0, generator)
    noise = noise_of_study("earlier", tmp_path)
    assert noise == noise_of_study(str(ledger.folder), tmp_path / "elsewhere")
    assert noise.difference_sd == pytest.approx(2 * 2**0.5, rel=0.25)
    assert noise.of_stratum(25) == noise.difference_sd
    assert noise.of_stratum(100) == noise.difference_sd, "of a stratum that it does not have"
    assert noise.location_sd == pytest.approx(0.0, abs=0.05)
    assert "1 strata, 60 seeds" in noise.source
    with pytest.raises(ConfigError, match="--noise nothing: no such study in"):
        noise_of_study("nothing", tmp_path)

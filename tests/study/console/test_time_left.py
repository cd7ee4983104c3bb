"""The time left: worked by hand, and against simulated studies."""

import heapq
from dataclasses import replace

import numpy as np
import pytest

from study.console.time_left import RunningTrial, TimeLeft
from study.ledger.ledger import Trial

WORK = {"template": 100.0, "focus": 200.0, "student": 50.0}


def finished(seed=0, phase="search", stratum=25, reused=False, **seconds):
    metrics = {f"{stage}/seconds": value for stage, value in seconds.items()}
    result = {"metrics": metrics, "template_reused": reused}
    name = f"{phase}-{stratum}-{seed}"
    return Trial(name, "focusnet", stratum, 0, seed, {}, "finished", result=result, phase=phase)


@pytest.fixture
def left():
    return TimeLeft(lambda stratum, phase: WORK, slots=2)


def test_nothing_is_known_before_the_first_epoch(left):
    running = [RunningTrial(finished(), since=0.0, trains_template=True)]
    assert left.seconds(60.0, running, {(25, "search"): 3}, {}) is None


def test_trials_to_come_take_what_their_stages_took_and_the_rest_of_a_trial(left):
    left.learn(finished(template=50.0, focus=80.0), 140.0)  # 0.5 and 0.4 s a unit, 10 s beside
    # Two trials of 80 + 20 (no student has run: 0.4333 s a unit as all) + 10 s, one template.
    usual = 130 / 300
    expected = 2 * (80 + 50 * usual + 10) + 50
    assert left.seconds(0.0, [], {(25, "confirm"): 2}, {25: 1}) == pytest.approx(expected / 2)


def test_a_stage_that_another_trial_trained_teaches_nothing(left):
    left.learn(finished(template=50.0, focus=80.0), 130.0)
    left.learn(finished(template=999.0, focus=80.0, reused=True), 80.0)
    assert left.seconds(0.0, [], {}, {25: 2}) == pytest.approx(50.0)


def test_what_runs_counts_from_its_last_report(left):
    left.learn(finished(template=50.0, focus=80.0, student=25.0), 155.0)
    one = RunningTrial(finished(), 0.0, trains_template=True, stage="focus", epoch=3, epochs=4)
    # A quarter of FocusNet and the student, alone: with one trial the other slot is idle.
    assert left.seconds(500.0, [one], {}, {}) == pytest.approx(20 + 25)


def test_an_epoch_of_the_first_trial_is_enough_for_an_estimate(left):
    one = RunningTrial(finished(), 0.0, True, "at", "template", epoch=1, epochs=10, seconds=5.0)
    assert left.seconds(5.0, [one], {}, {}) == pytest.approx(0.5 * (90 + 200 + 50))


def test_trials_that_a_scheduler_stops_shorten_the_search_to_come(left):
    left.learn(finished(template=50.0, focus=80.0, student=25.0), 155.0)
    stopped = {"stage": "focus", "epoch": 2, "epochs": 10}
    left.learn(replace(finished(), status="stopped", epochs=[stopped]), 60.0)
    assert left.seconds(0.0, [], {(25, "search"): 2}, {}) == pytest.approx(0.6 * 105)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("slots", [1, 2, 4])
def test_after_a_fifth_of_a_study_the_estimate_is_right_within_a_third(seed, slots):
    rng = np.random.default_rng(seed)
    speed = rng.uniform(0.2, 3.0)  # seconds a unit

    def work(stratum, phase):
        evaluated = 1.15 if phase == "search" else 1.0
        return {"template": stratum * 2.0, "focus": stratum * 2.0 * evaluated, "student": 0.0}

    strata = (5, 25, 100)
    queue = [(s, "search", 0) for _ in range(8) for s in strata]
    queue += [(s, "confirm", 1 + n) for n in range(6) for s in strata for _ in range(3)]
    total = len(queue)
    left, to_come, seeds = TimeLeft(work, slots), {}, {(s, n) for s, _, n in queue}
    for stratum, phase, _ in queue:
        to_come[stratum, phase] = to_come.get((stratum, phase), 0) + 1
    now, done, running, begun, estimates = 0.0, 0, [], set(), []
    while queue or running:
        while queue and len(running) < slots:
            stratum, phase, number = queue.pop(0)
            to_come[stratum, phase] -= 1
            first = (stratum, number) not in begun
            begun.add((stratum, number))
            noise = rng.lognormal(0, 0.1, size=2)
            took = work(stratum, phase)
            focus = took["focus"] * speed * noise[0]
            template = took["template"] * speed * noise[1] if first else 0.0
            trial = finished(
                number, phase, stratum, reused=not first, template=template, focus=focus
            )
            start = 8.0 if done < slots else 1.0
            one = RunningTrial(trial, now, trains_template=first)
            heapq.heappush(running, (now + start + template + focus, len(begun), id(one), one))
        now, _, _, one = heapq.heappop(running)
        done += 1
        left.learn(one.trial, now - one.since)
        templates = {s: sum(a == s and (a, n) not in begun for a, n in seeds) for s in strata}
        running_now = [other for *_, other in running]
        estimates.append((done, now, left.seconds(now, running_now, to_come, templates)))
    wrong = [
        (count, round(at), round(estimate), round(now - at))
        for count, at, estimate in estimates
        if 0.2 * total <= count <= 0.8 * total and abs(estimate / (now - at) - 1) > 1 / 3
    ]
    assert not wrong, "trials ended, seconds, estimate, truth"

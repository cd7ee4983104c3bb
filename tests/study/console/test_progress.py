"""Texts for the terminal: the plan, the progress of a study, its summary."""

import io
import logging
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from focusnet.errors import ConfigError
from focusnet.system.logs import ON_STATUS_LINE
from focusnet.system.units import clock_time, rough_time
from study.console.command import Command
from study.console.progress import Progress
from study.console.summary import print_summary
from study.console.time_left import TimeLeft
from study.ledger.ledger import Trial
from study.outputs.provenance import git_state
from study.search.follow_up import all_follow_ups, follow_ups
from study.search.winners import winners
from study.tune.cluster import Cluster, check_request

PLACES = [(stage, half) for stage in ("template", "focus") for half in ("select", "report")]
BOTH = {f"{stage}/{half}/macro_accuracy": 0.5 for stage, half in PLACES}
COMMAND = Command((), Path("/nowhere"))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def trial(name, subset, gain=None, status="finished", warm=2.0, **result):
    metrics = {} if gain is None else {"gain/select/macro_accuracy": gain}
    metrics |= {"template/select/macro_accuracy": 0.5, "focus/select/macro_accuracy": 0.5}
    metrics |= {"focus/warm_classes": warm, "template/seconds": 100.0}
    parameters = {"data.subset": subset, "focus.weight": 1.25, "focus.threshold": 0.1}
    content = {"metrics": metrics, **result}
    return Trial(name, "focusnet", subset, 0, 0, parameters, status, result=content)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.DEBUG, "study")
    return caplog


def unit_work(stratum, phase):
    return {"template": 100.0, "focus": 100.0, "student": 100.0}


@pytest.fixture
def progress(clock, make_space):
    return Progress(
        label=make_space().label,
        ended=[trial("before", 100, 0.02)],
        to_come={(25, "search"): 3, (100, "search"): 2, (25, "confirm"): 4},
        time_left=TimeLeft(unit_work, slots=2),
        templates_shared=True,
        clock=clock,
    )


def lines(log):
    return [one.getMessage() for one in log.records if one.levelno >= logging.INFO]


def test_the_study_line_counts_each_phase_and_what_failed(progress, clock, log):
    for name, gain in (("a", -0.01), ("b", 0.034)):
        progress.started(trial(name, 25))
        clock.now += 60
        progress.ended(trial(name, 25, gain))
    progress.started(trial("c", 100))
    progress.ended(replace(trial("c", 100, status="failed"), error="why"))
    assert lines(log)[-2] == "FAILED   c: why (see trials/c/error.txt and trial.log)"
    assert log.records[-2].levelno == logging.WARNING, "shown with --quiet"
    progress.started(trial("d", 100))
    counts = "search 4 of 6, confirmation 0 of 4, 1 running, 1 failed"
    assert progress.summary().startswith(f"{counts} | about ")
    assert "gain" not in progress.summary(), "the best of several is luck"


def test_a_phase_is_announced_when_its_first_trial_starts(progress, log):
    for name in ("a", "b"):
        progress.started(trial(name, 25))
    progress.started(replace(trial("c", 25), phase="confirm"))
    assert [line for line in lines(log) if line.startswith("phase")] == [
        "phase    search: 6 trials",
        "phase    confirmation: 4 trials",
    ]


def test_in_a_terminal_the_state_is_one_line_with_the_most_important_first(make_space, clock, log):
    shown = []
    progress = Progress(
        label=make_space().label,
        ended=[],
        to_come={(25, "search"): 2},
        time_left=TimeLeft(unit_work, slots=1),
        show=shown.append,
        clock=clock,
    )
    progress.started(trial("a", 25))
    progress.reported("a", {"stage": "template", "epoch": 3, "epochs": 12, "seconds": 30.0})
    # 90 s of the template, 120 s of FocusNet and as much of a student are left, and all of the
    # second trial.
    assert shown[0] == "search 0 of 2 | subset 25 starting"
    assert shown[-1] == "about 12 min left | search 0 of 2 | subset 25 template 3/12"
    states = [one for one in log.records if getattr(one, ON_STATUS_LINE, False)]
    assert [one.getMessage() for one in states] == ["start    a"], "for where there is no terminal"
    clock.now = 500.0
    progress.heartbeat()
    assert len(shown) == 3, "shows that time passes"


def test_the_winner_is_logged_when_the_search_of_its_stratum_has_ended(make_space, clock, log):
    space = make_space((("search", "trials"), 2))
    progress = Progress(
        label=space.label,
        ended=[trial("before", 25, 0.02)],
        to_come={(25, "search"): 1, (25, "confirm"): 3, (100, "search"): 2},
        time_left=TimeLeft(unit_work, slots=1),
        searches=space.trials_of,
        winners=partial(winners, space),
        clock=clock,
    )
    for subset, status in ((100, "failed"), (25, "finished"), (100, "failed")):
        progress.ended(replace(trial("a", subset, 0.0), status=status, index=1))
    progress.ended(replace(trial("control", 25, 0.0), arm="cross_entropy", phase="controls"))
    assert [line for line in lines(log) if "winner" in line] == [
        "winner   search of subset 25: before; its controls and confirmation follow",
        "winner   search of subset 100: none, because no trial finished; nothing follows it",
    ]


def test_a_control_is_named_by_its_arm(progress, log):
    control = trial("control", 25, 0.3)
    del control.result["metrics"]["focus/warm_classes"]
    progress.ended(replace(control, arm="cross_entropy", phase="confirm"))
    assert lines(log)[0].endswith("template 50.0 %, the template drawn again 50.0 %")


def test_a_heartbeat_comes_only_when_nothing_else_was_logged(progress, clock, log):
    progress.started(trial("a", 25))
    progress.reported("a", {"stage": "focus", "epoch": 3, "epochs": 12})
    clock.now = 20.0
    progress.heartbeat()
    assert len(lines(log)) == 2
    assert log.records[-1].getMessage() == "report   a: focus 3/12, from process ? on ?"
    clock.now = 31.0
    progress.heartbeat()
    progress.heartbeat()
    assert lines(log)[2:] == ["running  a: focus 3/12"]


def test_masks_that_hold_only_the_label_are_explained_once(progress, log):
    for name in ("a", "b"):
        progress.started(trial(name, 25))
        progress.ended(trial(name, 25, 0.0, warm=1.02))
    assert sum("differ from label smoothing" in line for line in lines(log)) == 1


def test_times_are_short_text():
    assert [clock_time(s) for s in (5, 125, 3725)] == ["00:05", "02:05", "1:02:05"]
    assert [rough_time(s) for s in (1, 44, 300, 7200)] == ["10 s", "40 s", "5 min", "2.0 h"]


def test_the_summary_names_the_winners_and_where_to_look(make_space, tmp_path):
    space = make_space((("search", "trials"), 2), (("search", "winner"), "best_observed"))
    stream = io.StringIO()
    better = trial("a", 25, 0.03)
    better.result["metrics"]["focus/select/macro_accuracy"] = 0.53
    others = [trial("c", 100, -0.02, warm=1.0), trial("d", 100, -0.03)]
    print_summary(
        space, [trial("b", 25, 0.0), better, *others], tmp_path / "small", COMMAND, stream
    )
    text = stream.getvalue()
    assert "│          25 │   1.25 │       0.1 │       53.0 │            2 │" in text
    assert "where a winner looks better than it is" in text
    assert "in 1 of 4 trials" in text
    assert f"tensorboard --logdir {tmp_path}/small/ray" in text


def test_a_narrow_terminal_gets_lists_in_place_of_tables(make_space, tmp_path, monkeypatch):
    class Narrow(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "40")
    stream = Narrow()
    space = make_space((("search", "trials"), 1), (("search", "winner"), "best_observed"))
    print_summary(space, [trial("a", 25), trial("b", 100)], tmp_path, COMMAND, stream)
    text = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert "data.subset 25: weight 1.25, threshold\n0.1, accuracy % 50.0, warm classes 2" in text
    assert max(map(len, text.splitlines()[:5])) <= 40


def test_the_summary_shows_the_means_of_the_confirmation(make_space, tmp_path):
    one_trial = ("search", "trials"), 1
    space = make_space(one_trial, (("controls", "arms"), ["placebo"]), (("confirm", "seeds"), 2))
    won = trial("won", 25, 0.03)
    trials = [won]
    followers = follow_ups(space, winners(space, trials)[25])
    for value, follower in zip((0.5, 0.4, 0.7, 0.2), followers[1:], strict=True):
        metrics = {"template/report/macro_accuracy": 0.45, "focus/report/macro_accuracy": value}
        trials.append(replace(follower, status="finished", result={"metrics": metrics}))
    stream = io.StringIO()
    print_summary(space, trials, tmp_path / "small", COMMAND, stream)
    table = stream.getvalue().partition("Confirmation")[2]
    # Seeds 1 and 2: FocusNet 50 and 70 %, placebo 40 and 20 %.
    rows = re.findall(r"│ (\w[\w ]*\w) +│ +([0-9.]+) │", table)
    placebo = "FocusNet with placebo masks"
    assert rows == [("template", "45.0"), ("FocusNet", "60.0"), (placebo, "30.0"), ("seeds", "2")]
    trials = [replace(one, phase="search") for one in trials]
    stream = io.StringIO()
    print_summary(make_space(), trials[:1], tmp_path / "small", COMMAND, stream)
    assert "Confirmation" not in stream.getvalue()


def test_the_summary_counts_each_training_on_the_half_that_judges_it(make_space, tmp_path):
    settings = (("search", "trials"), 1), (("search", "winner"), "best_observed")
    space = make_space(*settings, (("confirm", "seeds"), 3))
    won = replace(
        trial("won", 25, 0.03), result={"metrics": {**BOTH, "gain/select/macro_accuracy": 0}}
    )
    trials = [won, replace(won, id="too", stratum=100)]
    due = all_follow_ups(space, trials)[25]
    # Two seeds are judged on report, one on select, which counts as much as they together.
    for value, one in zip((0.5, 0.1, 0.7), due, strict=True):
        metrics = {f"{stage}/{half}/macro_accuracy": 0.9 for stage, half in PLACES}
        metrics[f"focus/{one.judged_on}/macro_accuracy"] = value
        metrics[f"template/{one.judged_on}/macro_accuracy"] = value - 0.02
        trials.append(replace(one, status="finished", result={"metrics": metrics}))
    assert [one.judged_on for one in due] == ["report", "select", "report"]
    stream = io.StringIO()
    print_summary(space, trials, tmp_path / "small", COMMAND, stream)
    table = stream.getvalue().partition("Confirmation")[2]
    rows = re.findall(r"│ (\w[\w ]*\w) +│ +([0-9.]+) │", table)
    assert rows == [("template", "33.0"), ("FocusNet", "35.0"), ("seeds", "3")]


def test_a_look_that_ends_the_study_lowers_what_is_to_come(make_space, clock, log):
    progress = Progress(
        label=make_space().label,
        ended=[trial("before", 25, 0.02)],
        to_come={(25, "confirm"): 8},
        time_left=TimeLeft(unit_work, slots=1),
        at_most=True,
        clock=clock,
    )
    assert progress.summary().startswith("search 1 of 1, confirmation 0 of up to 8")
    own = replace(trial("a", 25), phase="confirm")
    progress.started(own)
    progress.ended(own)
    left = {(25, "controls"): 2}
    progress.look_taken(["look 1 of 2: a gain", "controls follow"], left, at_most=False)
    assert lines(log)[-2:] == ["look     look 1 of 2: a gain", "look     controls follow"]
    counts = "search 1 of 1, controls 0 of 2, confirmation 1 of 1"
    assert progress.summary().startswith(counts)


def test_where_students_decide_a_stopped_trial_names_their_epoch(make_space, clock, log):
    metric = "student/select/macro_accuracy"
    progress = Progress(
        label=make_space().label,
        ended=[],
        to_come={(100, "search"): 1},
        time_left=TimeLeft(unit_work, slots=1),
        metric=metric,
        clock=clock,
    )
    epochs = [{"stage": "student", "epoch": 3, "epochs": 9, metric: 0.3}]
    stopped = replace(trial("c", 100, status="stopped"), epochs=epochs)
    progress.started(stopped)
    progress.ended(stopped)
    assert lines(log)[-2] == "stopped  c: behind its stratum after student epoch 3"


def test_without_a_finished_trial_the_summary_has_no_table(make_space, tmp_path):
    stream = io.StringIO()
    print_summary(make_space(), [trial("c", 100, status="failed")], tmp_path, COMMAND, stream)
    assert "Winners" not in stream.getvalue()


@pytest.mark.parametrize(
    ("cpu", "gpu", "slots"), [(1, 0, 12), (4, 1, 2), (1, 0.5, 4), (1, 0.6, 2), (0.5, 0.1, 16)]
)
def test_slots_are_what_each_node_can_hold(cpu, gpu, slots):
    nodes = ({"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0})
    assert Cluster(None, False, nodes).slots(cpu, gpu) == slots


def test_more_than_any_node_has_is_refused():
    cluster = Cluster(None, True, ({"CPU": 8.0}, {"CPU": 2.0, "GPU": 1.0}))
    check_request(cluster, 8, 0)
    check_request(cluster, 2, 1)
    with pytest.raises(ConfigError, match="asks for 2 GPU, the largest node has 1"):
        check_request(cluster, 1, 2)
    with pytest.raises(ConfigError, match="asks for 9 CPU, the largest node has 8"):
        check_request(cluster, 9, 0)
    with pytest.raises(ConfigError, match="no node has both"):
        check_request(cluster, 4, 1)


def test_a_folder_without_git_has_no_revision(tmp_path):
    assert git_state(tmp_path) is None

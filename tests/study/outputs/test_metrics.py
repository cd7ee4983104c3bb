"""The metrics that Prometheus gets: their values, and those of a study that runs."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest
from paths import ROOT
from study_command import FAKE, command

from study.ledger.ledger import Trial
from study.outputs.metrics import GAUGES, StudyMetrics, names

MONITORING = ROOT / "monitoring"
METRIC = "focus/select/macro_accuracy"


class FakeGauges(dict):
    """The series by gauge and labels, as Ray keeps them."""

    def __call__(self, name, text, keys):
        assert text

        def set(value, tags):
            assert tuple(tags) == keys or set(tags) == set(keys)
            self[name, tuple(tags[key] for key in keys[1:])] = value

        return type("Gauge", (), {"set": staticmethod(set)})


@pytest.fixture
def gauges():
    return FakeGauges()


@pytest.fixture
def clock():
    def read():
        return read.now

    read.now = 0.0
    return read


@pytest.fixture
def metrics(make_space, gauges, clock):
    return StudyMetrics(make_space(), lambda stratum: 10.0 * stratum, gauges, clock)


def trial(name, subset, status, accuracy=None):
    result = {} if accuracy is None else {"metrics": {METRIC: accuracy}}
    return Trial(name, "focusnet", subset, 0, 0, {}, status, result=result)


def test_trials_are_counted_by_stratum_and_state_and_the_best_is_named(metrics, gauges):
    trials = [
        trial("a", 25, "finished", 0.4),
        trial("b", 25, "finished", 0.5),
        trial("c", 25, "running"),
        trial("d", 100, "running"),
    ]
    metrics.count(trials, running={"c"})
    assert gauges["focusnet_trials", ("25", "finished")] == 2
    assert gauges["focusnet_trials", ("25", "running")] == 1
    assert gauges["focusnet_trials", ("100", "pending")] == 1, "its driver has died"
    assert gauges["focusnet_trials", ("100", "running")] == 0
    assert gauges["focusnet_best_metric", ("25", METRIC)] == 0.5
    assert ("focusnet_best_metric", ("100", METRIC)) not in gauges


def test_a_running_trial_has_epoch_accuracy_and_speed_until_it_ends(metrics, gauges, clock):
    one = trial("a", 25, "running")
    metrics.report(one, {"stage": "focus", "epoch": 2, "epochs": 9, "seconds": 10.0, METRIC: 0.3})
    metrics.report(one, {"stage": "focus", "epoch": 3, "epochs": 9, "seconds": 12.5})
    metrics.report(one, {"at": "waiting for template", "gpu_memory": 7})
    assert gauges == {
        ("focusnet_trial_epoch", ("a", "focus")): 3,
        ("focusnet_trial_accuracy_ratio", ("a", "focus")): 0.3,
        ("focusnet_trial_clips_per_second", ("a",)): 100.0,  # 250 clips in 2.5 s
        ("focusnet_trial_gpu_memory_bytes", ("a",)): 7,
    }
    # Ray exports what was set in the last half minute.
    gauges.clear()
    clock.now = 4.0
    metrics.refresh()
    assert gauges == {}, "too early"
    clock.now = 6.0
    metrics.refresh()
    assert len(gauges) == 4
    gauges.clear()
    metrics.ended("a")
    clock.now = 12.0
    metrics.refresh()
    assert gauges == {}


def test_an_error_of_ray_is_logged_once_and_ends_nothing(make_space, caplog):
    def broken(*_):
        raise RuntimeError("no agent")

    metrics = StudyMetrics(make_space(), lambda stratum: 1.0, broken)
    for _ in range(3):
        metrics.count([trial("a", 25, "running")], running={"a"})
    assert [record.getMessage() for record in caplog.records] == [
        "metrics  not exported any more: RuntimeError: no agent"
    ]


def test_the_dashboard_asks_for_metrics_that_exist():
    dashboard = json.loads((MONITORING / "grafana" / "focusnet.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [one["definition"] for one in dashboard["templating"]["list"][1:]]
    asked = set(re.findall(r"ray_focusnet_\w+", " ".join(queries)))
    assert asked == set(names())
    documented = (ROOT / "docs" / "monitoring.md").read_text()
    assert all(f"| `{name}` |" in documented for name in GAUGES)
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs Debian's package prometheus")
def test_prometheus_accepts_the_configuration():
    checked = subprocess.run(
        ["promtool", "check", "config", str(MONITORING / "prometheus.yml")],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def scraped(folder: Path) -> str:
    """What the nodes of the Ray in ``folder`` export now."""
    found = folder / "ray" / "prom_metrics_service_discovery.json"
    found = found if found.is_file() else folder / found.name
    if not found.is_file():
        return ""
    text = ""
    for target in json.loads(found.read_text())[0]["targets"]:
        try:
            with urllib.request.urlopen(f"http://{target}/metrics", timeout=5) as answer:
                text += answer.read().decode()
        except OSError:  # not up yet
            continue
    return text


def running(text: str) -> set[str]:
    """The strata that have a running trial."""
    series = r'^ray_focusnet_trials\{.*state="running",stratum="(\d+)".*\} 1\.0$'
    return set(re.findall(series, text, re.M)) if "ray_focusnet_trial_epoch{" in text else set()


@pytest.mark.slow
def test_the_endpoint_of_a_running_study_is_scraped(tmp_path):
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # a short path: Ray puts sockets there
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        study = subprocess.Popen(
            command(FAKE, tmp_path, "--set=search.trials=1", "--set=trial.template.epochs=20"),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "FAKE_EPOCH_SECONDS": "3", "RAY_TMPDIR": str(folder)},
        )
        try:
            text, deadline = "", time.monotonic() + 120
            # The strata's trials start one after the other; Ray exports every ten seconds.
            while len(running(text)) < 2 and time.monotonic() < deadline:
                assert study.poll() is None, log.read_text()
                time.sleep(1)
                text = scraped(folder)
            time.sleep(40)  # an epoch later nothing new was counted, and Ray forgets
            assert running(scraped(folder)) == {"25", "100"}
        finally:
            study.kill()
            study.wait()
            shutil.rmtree(folder, ignore_errors=True)
    assert running(text) == {"25", "100"}
    epochs = re.findall(r"^ray_focusnet_trial_epoch\{(.*)\} (.*)$", text, re.M)
    assert epochs
    for labels, epoch in epochs:
        assert 'stage="template"' in labels or 'stage="focus"' in labels
        assert re.search(r'trial="subset\d+-weight', labels)
        assert 1 <= float(epoch) <= 20

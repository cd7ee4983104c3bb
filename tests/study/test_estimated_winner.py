"""A winner that the search has never trained, in a real study that is killed and resumed."""

import re
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml
from paths import ROOT
from study_command import FAKE, command, run

from analysis.read_study import read_study
from focusnet.winner import table_winners
from study.ledger.trial_id import trial_id

pytestmark = pytest.mark.slow

OPTIONS = [
    "--set=trial.template.epochs=2",
    "--set=search.trials=5",
    "--set=search.algorithm=random",
    "--set=search.winner=posterior_mean",
    "--set=controls={arms: [placebo]}",
    "--set=confirm={seeds: 2}",
]


def test_the_same_settings_are_confirmed_before_and_after_a_kill(tmp_path):
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        study = subprocess.Popen(
            command(FAKE, tmp_path, *OPTIONS), stdout=output, stderr=subprocess.STDOUT, cwd=tmp_path
        )
        deadline = time.monotonic() + 300
        while not re.search(r"done .*seed[12]", log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        study.kill()
        study.wait(timeout=120)
    folder = tmp_path / "demo"
    before = pd.read_parquet(folder / "trials.parquet")
    resumed = run(FAKE, tmp_path, *OPTIONS, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "Winners by focus/select/macro_accuracy, estimated from all trials" in resumed.stdout

    after = pd.read_parquet(folder / "trials.parquet")
    assert set(before["trial"]) <= set(after["trial"])
    assert after["status"].eq("finished").all()
    again = after[(after["phase"] == "confirm") & (after["arm"] == "focusnet")]
    assert again.groupby("data.subset")["seed"].apply(list).to_dict() == {25: [1, 2], 100: [1, 2]}
    space = yaml.safe_load((folder / "space.yaml").read_text())
    assert space["search"]["winner"] == "posterior_mean"
    won = {one.stratum: one for one in table_winners(after[after["phase"] == "search"], space)}
    assert set(won) == {25, 100}
    untried, lines = 0, (folder / "study.log").read_text()
    kept = set()
    for stratum, one in won.items():
        name = trial_id("focusnet", one.parameters, space["search"]["seed"])
        followers = after[(after["data.subset"] == stratum) & (after["phase"] != "search")]
        assert set(followers["winner"]) == {name}
        own = again[again["data.subset"] == stratum]
        for path, value in one.parameters.items():
            assert set(own[path]) == {value}, "the parameters survive the study's files exactly"
        search = after[(after["data.subset"] == stratum) & (after["phase"] == "search")]
        best = search.loc[search["focus/select/macro_accuracy"].idxmax(), "trial"]
        if name not in set(search["trial"]):
            untried += 1
            assert f"{name}, setting estimated best (never trained" in lines
        kept |= {best} | ({own.iloc[0]["trial"]} if name != best else set())
    assert untried, "the settings of five trials are all but certain not to be the best"
    assert {path.parent.name for path in folder.glob("trials/*/weights.safetensors")} == kept

    strata = read_study(folder).strata
    assert sum(stratum.is_untried for stratum in strata) == untried
    assert all(len(stratum.confirmation.trials) == 4 for stratum in strata)
    shown = subprocess.run(
        [sys.executable, ROOT / "study" / "status.py", folder], capture_output=True, text=True
    )
    assert "setting estimated best (never trained in the search), estimated" in shown.stdout
    assert (
        "5 finished trials in its search, fewer than 8: the choice is nearly luck" in shown.stdout
    )

"""Runs small studies by the real command and injects one fault into each."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from benchmarks.fault_injection.cluster import ray_cluster
from benchmarks.fault_injection.small_disk import SmallDisk
from focusnet.synthetic.generate import make_dataset
from study.ledger.ledger import Ledger, Trial

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 6
TRIALS = 2  # searched per stratum
STRATA = (50, 100)
CONTROLS = ("cross_entropy",)
SEEDS = 1  # for confirmation
ALL_TRIALS = len(STRATA) * (TRIALS + len(CONTROLS) + SEEDS * (1 + len(CONTROLS)))
TIMEOUT = 900.0  # seconds for a fault to be injected, and for a study to end
# Columns of trials.parquet that a fault may change.
VARIABLE_COLUMNS = ("seconds", "started", "ended", "attempts", "template_reused")

# A sitecustomize.py for all processes of a study: it kills the first one that is about to rename a
# file of the given name.
KILL_BEFORE_RENAME = """
import os, pathlib, signal
pattern, marker = os.environ["FAULT_NAME"], os.environ["FAULT_MARKER"]
replace = pathlib.Path.replace
def replace_or_die(self, target):
    if pattern in pathlib.Path(target).name and pathlib.Path(target).suffix != ".lock":
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return replace(self, target)
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
pathlib.Path.replace = replace_or_die
"""


@dataclass(frozen=True)
class Snapshot:
    """State of a running study."""

    trials: list[Trial]
    workers: dict[str, int]  # process id of each running trial
    driver: int  # process id


# Returns the process to kill, or None if it is too early to inject the fault.
Trigger = Callable[[Snapshot], int | None]


@dataclass(frozen=True)
class Fault:
    """A fault and when to inject it: a process is killed unless a field below says otherwise."""

    name: str
    trigger: Trigger | None
    number: signal.Signals = signal.SIGKILL  # of the signal that kills the process
    renaming: str = ""  # instead of a trigger: kill whoever is about to rename a file of this name
    node: bool = False  # kill a node of a Ray cluster
    disk: bool = False  # fill the disk until the study has ended


class Studies:
    """Runs studies of the same space in folders of their own, each with a cache of its own."""

    def __init__(self, root: Path) -> None:
        self.disk_problems: dict[Path, list[str]] = {}  # by folder: wrong behaviour on a full disk
        data = root / "data"
        make_dataset(
            data,
            train_locations=4,
            test_locations=2,
            clips_per_location=4,
            seed=0,
            progress=False,
        )
        self.space = root / "faults.yaml"
        settings = {
            "name": "faults",
            "search": {"algorithm": "random", "trials": TRIALS, "stratify": "data.subset"},
            "controls": {"arms": list(CONTROLS)},
            "confirm": {"seeds": SEEDS},
            "resources": {"cpu": 1, "max_concurrent": 2},
            "space": {
                "data.subset": {"choice": list(STRATA)},
                "focus.weight": {"loguniform": [0.1, 10.0]},
            },
            "trial": {
                "data": {"root": str(data)},
                "features": {"sample_rate": 16_000},
                "augment": {"patchout_freq": 2, "freq_mask": 8, "roll": 1000},
                "model": {"size": "tiny", "weights": "none", "max_frames": 100},
                "template": {"epochs": EPOCHS, "batch_size": 8, "lr": 1e-3, "keep": "best"},
                "compute": {"device": "cpu"},
            },
        }
        self.space.write_text(yaml.safe_dump(settings))

    def start(
        self, folder: Path, renaming: str = "", address: str | None = None
    ) -> subprocess.Popen[str]:
        """Start or resume the study in ``folder``, on the Ray cluster at ``address`` if given."""
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "FOCUSNET_CACHE": str(folder / "cache")}
        if renaming:
            (folder / "path").mkdir(exist_ok=True)
            (folder / "path" / "sitecustomize.py").write_text(KILL_BEFORE_RENAME)
            environment |= {
                "PYTHONPATH": str(folder / "path"),
                "FAULT_NAME": renaming,
                "FAULT_MARKER": str(folder / "killed"),
            }
        command = [sys.executable, ROOT / "study" / "run.py", "--space", self.space, "--resume"]
        command += ["--results", folder / "results"]
        command += ["--address", address] if address else []
        with (folder / "output.txt").open("a") as output:
            return subprocess.Popen(
                [str(word) for word in command],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def snapshot(self, folder: Path, driver: int) -> Snapshot:
        """Read the current state from the study's ledger."""
        ledger = Ledger(folder / "results" / "faults")
        trials = ledger.trials()
        workers = {}
        for trial in trials:
            if trial.status == "running":
                record = (ledger.trial_folder(trial.id) / "started.json").read_text()
                workers[trial.id] = int(json.loads(record)["pid"])
        return Snapshot(trials, workers, driver)

    def table(self, folder: Path) -> pd.DataFrame:
        """trials.parquet without times and attempts, which a fault may change."""
        table = pd.read_parquet(folder / "results" / "faults" / "trials.parquet")
        variable = [c for c in table if c in VARIABLE_COLUMNS or c.endswith("/seconds")]
        return table.drop(columns=variable).sort_values("trial").reset_index(drop=True)

    def run_with(self, fault: Fault, folder: Path) -> bool:
        """Run the study to its end with ``fault``; returns whether the fault was injected."""
        with ExitStack() as stack:
            cluster = stack.enter_context(ray_cluster()) if fault.node else None
            disk = stack.enter_context(SmallDisk(folder)) if fault.disk else None
            address = cluster.address if cluster else None
            driver = self.start(folder, fault.renaming, address)
            injected = False
            deadline = time.monotonic() + TIMEOUT
            while driver.poll() is None and time.monotonic() < deadline:
                if fault.trigger is not None and not injected:
                    pid = fault.trigger(self.snapshot(folder, driver.pid))
                    if pid is not None and cluster is not None:
                        injected = cluster.kill_a_node()
                    elif pid is not None and disk is not None:
                        disk.fill()
                        injected = True
                    elif pid is not None:
                        os.kill(pid, fault.number)
                        injected = True
                time.sleep(0.02)
            for _ in range(3):  # resume a killed or interrupted driver, as a user would
                if driver.wait(timeout=TIMEOUT) == 0:
                    break
                if disk is not None:
                    self.disk_problems.setdefault(folder, _disk_problems(folder))
                    disk.make_room()
                driver = self.start(folder, fault.renaming, address)
        return injected or (folder / "killed").exists()


def _disk_problems(folder: Path) -> list[str]:
    """Wrong behaviour of a study that has just ended because the disk is full."""
    output = (folder / "output.txt").read_text()
    problems = []
    if output.count("is full. Make room there") != 1 or "Traceback" in output:
        problems.append("there is not exactly one message about the full disk")
    if "--resume" not in output.splitlines()[-1]:
        problems.append("the last line does not say how to resume")
    for path in (folder / "results").rglob("[!.]*"):
        try:
            if path.suffix == ".json" and "ray" not in path.parts:
                json.loads(path.read_text())
            elif path.suffix == ".parquet":
                pd.read_parquet(path)
            elif path.name == "epochs.jsonl":
                [json.loads(line) for line in path.read_text().splitlines()]
        except ValueError:
            problems.append(f"{path} is incomplete")
    return problems

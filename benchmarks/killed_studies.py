"""Small studies run by the real command, of which something is killed at a chosen moment."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from focusnet.synthetic.generate import make_dataset
from study.ledger.ledger import Ledger, Trial

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = 6
TRIALS = 2  # per stratum's search
STRATA = (50, 100)
CONTROLS = ("cross_entropy",)
SEEDS = 1  # of confirmation
ALL_TRIALS = len(STRATA) * (TRIALS + len(CONTROLS) + SEEDS * (1 + len(CONTROLS)))
PATIENCE = 900.0  # seconds for a moment to come, and for a study to end
_PRIVATE = "FAULTS_PRIVATE_MOUNTS"  # set in the environment where mounts are private
TIMES = ("seconds", "started", "ended", "attempts", "template_reused")

# Put on the path of every process of a study: the one that renames a file of the given name dies
# just before it does, once in the study.
ASSASSIN = """
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
class Seen:
    """A look at a running study."""

    trials: list[Trial]
    workers: dict[str, int]  # process of each running trial
    driver: int


# The process to kill, or None while the moment has not come.
Victim = Callable[[Seen], int | None]


@dataclass(frozen=True)
class Fault:
    """One kill: the moment, as a look that gives the process, and the signal."""

    name: str
    victim: Victim | None
    number: signal.Signals = signal.SIGKILL
    renaming: str = ""  # instead of ``victim``: die before renaming a file of such a name
    node: bool = False  # at the moment a node of a Ray cluster dies instead of a process
    disk: bool = False  # at the moment the disk is full instead, until the study has ended


class Studies:
    """Runs studies in a folder of their own, each with a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flaws: dict[Path, list[str]] = {}  # by place
        self.data = folder / "data"
        make_dataset(
            self.data,
            train_locations=4,
            test_locations=2,
            clips_per_location=4,
            seed=0,
            progress=False,
        )
        self.space = folder / "faults.yaml"
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
                "data": {"root": str(self.data)},
                "features": {"sample_rate": 16_000},
                "augment": {"patchout_freq": 2, "freq_mask": 8, "roll": 1000},
                "model": {"size": "tiny", "weights": "none", "max_frames": 100},
                "template": {"epochs": EPOCHS, "batch_size": 8, "lr": 1e-3, "keep": "best"},
                "compute": {"device": "cpu"},
            },
        }
        self.space.write_text(yaml.safe_dump(settings))

    def start(
        self, place: Path, renaming: str = "", address: str | None = None
    ) -> subprocess.Popen[str]:
        """Start (or resume) the study in ``place``, on the Ray cluster at ``address`` if given."""
        place.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "FOCUSNET_CACHE": str(place / "cache")}
        if renaming:
            (place / "path").mkdir(exist_ok=True)
            (place / "path" / "sitecustomize.py").write_text(ASSASSIN)
            environment |= {
                "PYTHONPATH": str(place / "path"),
                "FAULT_NAME": renaming,
                "FAULT_MARKER": str(place / "killed"),
            }
        command = [sys.executable, ROOT / "study" / "run.py", "--space", self.space, "--resume"]
        command += ["--results", place / "results"]
        command += ["--address", address] if address else []
        with (place / "output.txt").open("a") as output:
            return subprocess.Popen(
                [str(word) for word in command],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def look(self, place: Path, driver: int) -> Seen:
        """What the study's ledger holds by now."""
        ledger = Ledger(place / "results" / "faults")
        trials = ledger.trials()
        workers = {}
        for trial in trials:
            if trial.status == "running":
                record = (ledger.trial_folder(trial.id) / "started.json").read_text()
                workers[trial.id] = int(json.loads(record)["pid"])
        return Seen(trials, workers, driver)

    def table(self, place: Path) -> pd.DataFrame:
        """trials.parquet without what may differ: times and attempts."""
        table = pd.read_parquet(place / "results" / "faults" / "trials.parquet")
        timed = [c for c in table if c in TIMES or c.endswith("/seconds")]
        return table.drop(columns=timed).sort_values("trial").reset_index(drop=True)

    def endure(self, fault: Fault, place: Path) -> bool:
        """Run the study with ``fault``; whether the fault came about."""
        with ExitStack() as stack:
            cluster = stack.enter_context(_cluster()) if fault.node else None
            disk = stack.enter_context(SmallDisk(place)) if fault.disk else None
            address = cluster.address if cluster else None
            driver = self.start(place, fault.renaming, address)
            struck = False
            deadline = time.monotonic() + PATIENCE
            while driver.poll() is None and time.monotonic() < deadline:
                if fault.victim is not None and not struck:
                    pid = fault.victim(self.look(place, driver.pid))
                    if pid is not None and cluster is not None:
                        struck = cluster.kill_a_node()
                    elif pid is not None and disk is not None:
                        disk.fill()
                        struck = True
                    elif pid is not None:
                        os.kill(pid, fault.number)
                        struck = True
                time.sleep(0.02)
            for _ in range(3):  # a dead or interrupted driver is started again, as a user would
                if driver.wait(timeout=PATIENCE) == 0:
                    break
                if disk is not None:
                    self.flaws.setdefault(place, _flaws_on_a_full_disk(place))
                    disk.make_room()
                driver = self.start(place, fault.renaming, address)
        return struck or (place / "killed").exists()


def _flaws_on_a_full_disk(place: Path) -> list[str]:
    """What a study that has just ended for lack of room should have done otherwise."""
    output = (place / "output.txt").read_text()
    flaws = []
    if output.count("is full. Make room there") != 1 or "Traceback" in output:
        flaws.append("not one clear message")
    if "--resume" not in output.splitlines()[-1]:
        flaws.append("no word on how to go on")
    for path in (place / "results").rglob("[!.]*"):
        try:
            if path.suffix == ".json" and "ray" not in path.parts:
                json.loads(path.read_text())
            elif path.suffix == ".parquet":
                pd.read_parquet(path)
            elif path.name == "epochs.jsonl":
                [json.loads(line) for line in path.read_text().splitlines()]
        except ValueError:
            flaws.append(f"{path} is torn")
    return flaws


class SmallDisk:
    """A file system of its own at ``place`` (``private_mounts`` is needed) that can be filled."""

    SIZE = "256m"

    def __init__(self, place: Path) -> None:
        self.place = place
        self._filler = place / "filler"

    def __enter__(self) -> "SmallDisk":
        self.place.mkdir(parents=True)
        where = ["-o", f"size={self.SIZE}", "none", str(self.place)]
        subprocess.run(["mount", "-t", "tmpfs", *where], check=True)
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the files there, on the disk below."""
        below = self.place.with_name(f"{self.place.name}-copy")
        shutil.copytree(self.place, below, symlinks=True)
        subprocess.run(["umount", "--lazy", str(self.place)], check=True)
        self.place.rmdir()
        below.rename(self.place)

    def fill(self) -> None:
        """Leave not a byte."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def make_room(self) -> None:
        self._filler.unlink(missing_ok=True)


def private_mounts() -> bool:
    """Have this program run where it may mount; False where that is not allowed.

    The program is started anew, in a mount namespace that ends with it.
    """
    if os.environ.get(_PRIVATE):
        return True
    way = ["unshare", "--map-root-user", "--mount"]
    with tempfile.TemporaryDirectory() as place:
        try:
            command = [*way, "mount", "-t", "tmpfs", "none", place]
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return False
    os.environ[_PRIVATE] = "1"
    os.execvp(way[0], [*way, sys.executable, *sys.argv])


class _Nodes:
    """A Ray cluster of a head and two nodes with one CPU each, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.address = self._answer()

    def kill_a_node(self) -> bool:
        """End a node as a preempted machine ends."""
        assert self.process.stdin is not None
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        return self._answer() == "killed"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def _cluster() -> Iterator[_Nodes]:
    script = ROOT / "tests" / "support" / "three_nodes.py"
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield _Nodes(process)  # the process ends with its input

"""The command for the cache: what it lists, what it deletes and what it must keep."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import Timeout

from focusnet.store import CHECKPOINT, list_stages, locked, main, remove_unused
from focusnet.system.units import age_text, size_text
from focusnet.trial.stored_stages import get_or_build

ABOUT = {"data": "TAU", "subset": "25 %", "seed": 0, "model": "tiny", "epochs": 3}


def build(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(bytes(1000))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def add(cache: Path, tmp_path: Path):
    """Lets a trial of a study use a template; returns the study's folder."""

    def use(key: str, study: str, trial: str = "t0") -> Path:
        results = tmp_path / "results" / study / "trials" / trial
        results.mkdir(parents=True, exist_ok=True)
        get_or_build(cache / "templates", key, build, user=results, about=ABOUT)
        return tmp_path / "results" / study

    return use


def add_audio(cache: Path, key: str, root: Path, at: float) -> Path:
    folder = cache / "waveforms" / key
    folder.mkdir(parents=True)
    (folder / "samples.npy").write_bytes(bytes(5000))
    index = {"root": str(root), "sample_rate": 44100, "names": ["a", "b"]}
    (folder / "index.json").write_text(json.dumps(index))
    os.utime(folder / "index.json", (at, at))
    return folder


def let_days_pass(folder: Path, days: float) -> None:
    then = time.time() - days * 86_400
    for path in (folder / "uses").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"at": then}))
    os.utime(folder, (then, then))


def keys(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "templates").iterdir() if path.is_dir())


def test_the_list_shows_sizes_ages_and_the_studies_that_use_each_template(
    add, cache, tmp_path, capsys
):
    first = add("aaaa", "first")
    add("aaaa", "first", "t1")
    second = add("aaaa", "second")
    shutil.rmtree(add("bbbb", "third"))
    let_days_pass(cache / "templates" / "bbbb", 3.5)
    add_audio(cache, "cccc", tmp_path, time.time())
    assert main(["list", "--cache", str(cache)]) == 0
    shown = capsys.readouterr().out
    size = size_text(sum(p.stat().st_size for p in (cache / "templates" / "aaaa").rglob("*.*")))
    assert f"templates in {cache}: 2, " in shown
    assert (
        f"  aaaa  {size}, moments ago: TAU, tiny, subset 25 %, seed 0, epochs 3\n"
        f"      used by {first} (2 trials)\n"
        f"      used by {second} (1 trial)\n"
    ) in shown
    assert ", 3 days ago: TAU" in shown
    assert "      unused: the results of all trials that used it are gone\n" in shown
    assert f"decoded audio in {cache}: 1, 5.1 kB" in shown
    assert f": {tmp_path} at 44100 Hz, 2 clips\n" in shown


def test_only_unused_entries_are_deleted(add, cache, capsys):
    add("used", "first")
    gone = add("shared", "gone")
    add("shared", "first")
    add("unused", "gone")
    part = cache / "templates" / "left.building"
    (part / "uses").mkdir(parents=True)
    (part / CHECKPOINT).write_bytes(bytes(100))
    shutil.rmtree(gone)
    assert main(["remove-unused", "--dry-run", "--cache", str(cache)]) == 0
    assert keys(cache) == ["left.building", "shared", "unused", "used"]
    printed = capsys.readouterr().out
    assert "would free 1." in printed
    (cache / "templates" / ".cut.removed").mkdir()  # left by a command that was killed
    assert main(["remove-unused", "--cache", str(cache)]) == 0
    assert keys(cache) == ["shared", "used"]
    assert capsys.readouterr().out == printed.replace("would free", "freed")
    assert list_stages(cache)[0].folder.name == "shared"
    get_or_build(cache / "templates", "unused", build)
    assert "unused" in keys(cache), "it must be possible to build it again"


def test_the_checkpoint_of_a_killed_builder_is_kept_while_its_study_exists(add, cache):
    study = add("other", "first")

    def stop(folder: Path) -> None:
        (folder / CHECKPOINT).write_bytes(bytes(100))
        raise KeyboardInterrupt

    store = cache / "templates"
    with pytest.raises(KeyboardInterrupt):
        get_or_build(store, "key", stop, user=study / "trials" / "t0")
    assert remove_unused(cache) == ([], [])
    shutil.rmtree(study)
    removed, _ = remove_unused(cache)
    assert {entry.folder.name for entry in removed} == {"key.building", "other"}


def test_templates_unused_for_some_days_are_deleted_on_request(add, cache):
    add("old", "first")
    add("new", "first")
    let_days_pass(cache / "templates" / "old", 30.5)
    assert remove_unused(cache) == ([], [])
    assert remove_unused(cache, unused_days=31) == ([], [])
    add("taken", "first")
    let_days_pass(cache / "templates" / "taken", 30.5)
    add("taken", "first")  # again, today
    remove_unused(cache, unused_days=30)
    assert keys(cache) == ["new", "taken"]


def test_a_template_used_on_another_machine_is_kept(add, cache):
    study = add("key", "far")
    (use,) = (cache / "templates" / "key" / "uses").iterdir()
    use.write_text(json.dumps(json.loads(use.read_text()) | {"host": "another.example"}))
    shutil.rmtree(study)
    assert remove_unused(cache) == ([], [])
    assert list(list_stages(cache)[0].users) == [str(study)]


def test_audio_that_was_decoded_again_or_lost_its_data_set_is_deleted(cache, tmp_path):
    old = add_audio(cache, "old", tmp_path, 1000.0)
    new = add_audio(cache, "new", tmp_path, 2000.0)
    lost = add_audio(cache, "lost", tmp_path / "nowhere", 3000.0)
    remove_unused(cache, unused_days=1)
    assert [old.exists(), new.exists(), lost.exists()] == [False, True, False]


def hold(store: Path, key: str, ready: Path, done: Path) -> None:
    with locked(store, key):
        ready.touch()
        while not done.exists():
            time.sleep(0.02)


def test_a_template_that_another_process_holds_is_kept(add, cache, tmp_path, capsys):
    shutil.rmtree(add("held", "gone"))
    ready, done = tmp_path / "ready", tmp_path / "done"
    context = multiprocessing.get_context("forkserver")
    holder = context.Process(target=hold, args=(cache / "templates", "held", ready, done))
    holder.start()
    while not ready.exists():
        time.sleep(0.02)
    with pytest.raises(Timeout), locked(cache / "templates", "held", wait=False):
        pass
    assert main(["remove-unused", "--cache", str(cache)]) == 0
    assert "kept: held, in use by another process\nfreed 0 B" in capsys.readouterr().out
    done.touch()
    holder.join()
    remove_unused(cache)
    assert keys(cache) == []


def test_a_template_is_never_deleted_while_trials_build_and_use_it(cache, tmp_path):
    store, until = cache / "templates", time.time() + 1.5
    context = multiprocessing.get_context("forkserver")
    results = [tmp_path / name for name in ("one", "two")]
    for path in results:
        path.mkdir()
    users = [context.Process(target=use_repeatedly, args=(store, path, until)) for path in results]
    for user_process in users:
        user_process.start()
    removed = 0
    while time.time() < until:
        removed += len(remove_unused(cache)[0])
    for user_process in users:
        user_process.join(120)
        assert user_process.exitcode == 0
    assert removed == 0


def use_repeatedly(store: Path, results: Path, until: float) -> None:
    """Use a template repeatedly; it must stay complete, because ``results`` exist."""
    while time.time() < until:
        template = get_or_build(store, "key", build, user=results)
        time.sleep(0.005)
        assert (template.folder / "weights.safetensors").stat().st_size == 1000


def test_wrong_options_are_reported_and_help_has_examples(tmp_path, capsys):
    assert main(["list", "--cache", str(tmp_path / "none")]) == 2
    assert "none is not a folder; name the one that trial.data.cache" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["remove-unused", "--unused-for", "0"])
    assert "must be a whole number of days from 1, received 0" in capsys.readouterr().err
    command = [sys.executable, "-m", "focusnet.store", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "python -m focusnet.store remove-unused --unused-for 30 --cache" in shown


def test_sizes_and_ages_are_formatted_for_people():
    assert [size_text(n) for n in (999, 345_100_000, 1_500)] == ["999 B", "345.1 MB", "1.5 kB"]
    assert [age_text(s) for s in (59, 3600, 86_400 * 2.5)] == ["moments", "1 hour", "2 days"]

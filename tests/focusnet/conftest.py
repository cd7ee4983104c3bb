"""Small data sets in the TAU22 layout, written by hand."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pytest


class Clip(NamedTuple):
    """A row of meta.csv."""

    filename: str
    scene: str
    location: str
    device: str

    @classmethod
    def tau(cls, scene: str, location: str, device: str = "a", segment: int = 0, piece: int = 0):
        name = f"audio/{scene}-{location}-{segment}-{piece}-{device}.wav"
        return cls(name, scene, location, device)


def write_lines(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(row) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def write_layout() -> Callable[..., Path]:
    """Writes meta.csv and evaluation_setup of given clips; gives back the root."""

    def write(root: Path, train: list[Clip], test: list[Clip], neither: list[Clip] = []) -> Path:  # noqa: B006
        columns = ("filename", "scene_label", "identifier", "source_label")
        write_lines(root / "meta.csv", columns, [*train, *test, *neither])
        for name, clips in (("fold1_train", train), ("fold1_evaluate", test)):
            path = root / "evaluation_setup" / f"{name}.csv"
            write_lines(path, columns[:2], [clip[:2] for clip in clips])
        return root

    return write


@pytest.fixture
def clip() -> Callable[..., Clip]:
    """Makes a row of meta.csv named as TAU names its files."""
    return Clip.tau


@pytest.fixture(scope="session")
def small_study(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's results folder around one real trial, ``best``, on half of the training clips."""
    from study_folder import row, write_study

    from focusnet.pipeline import run_trial

    folder = tmp_path_factory.mktemp("study")
    settings = {
        "data": {"root": str(tiny_dataset), "subset": 50},
        "features": {"sample_rate": 32_000},
        "augment": {"freq_mask": 16, "patchout_freq": 2, "roll": 4000, "fmax_aug_range": 500},
        "model": {"size": "tiny", "weights": "none", "max_frames": 200},
        "template": {"epochs": 2, "batch_size": 8, "optimizer": "adamw", "lr": 1e-3},
        "compute": {"device": "cpu"},
    }
    run_trial(settings, folder / "trial")
    confirmed = [
        row(f"{arm}{seed}", value, arm=arm, seed=seed, phase="confirm", winner="best")
        for arm, values in (("focusnet", (0.25, 0.75)), ("placebo", (0.125, 0.375)))
        for seed, value in enumerate(values, start=1)
    ]
    rows = [row("best", 0.6), row("worse", 0.3), *confirmed]
    for one in rows:
        one["data.subset"] = 50
    return write_study(folder / "small", folder / "trial", rows)


@pytest.fixture(scope="session")
def exported(small_study: Path) -> Path:
    """The winner of that study, exported."""
    from focusnet.export.__main__ import main

    folder = small_study.parent / "exported"
    assert main([str(small_study), "--subset", "50", "--to", str(folder)]) == 0
    return folder

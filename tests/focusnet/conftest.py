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

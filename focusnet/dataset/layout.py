"""Reads the tables of a data set in the TAU22 layout and checks that they agree.

The layout is that of TAU Urban Acoustic Scenes 2022 Mobile: ``meta.csv`` lists every clip with its
scene, location and device; ``evaluation_setup/fold1_train.csv`` and ``fold1_evaluate.csv`` list the
training and the test clips. Classes and devices come from the data, in a fixed order.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from focusnet.errors import DataError

META = "meta.csv"
SETUP = "evaluation_setup"
TRAIN = f"{SETUP}/fold1_train.csv"
TEST = f"{SETUP}/fold1_evaluate.csv"

_META_COLUMNS = ("filename", "scene_label", "identifier", "source_label")
_TAU_DEVICES = ("a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6")
_SHOWN = 5  # clips named in a message; the number of the others follows

# Names that lead out of the folder on some platform, or that are a second name of a file.
_UNSAFE_NAME = r"(?:^|/)\.{0,2}(?:/|$)|\\|^[A-Za-z]:|[\x00-\x1f]"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set's clips and its official split into training and test.

    ``clips`` has one row per row of ``meta.csv``: ``filename`` (relative to ``root``), ``scene``,
    ``label`` (int64 index in ``classes``; -1 for a scene that no training clip has), ``device``,
    ``city``, ``location`` and ``recording`` (shared by the clips cut from one recording).
    ``train`` and ``test`` are int64 rows of ``clips``, ascending. ``fingerprint`` (hex) depends on
    the content of ``meta.csv`` and ``evaluation_setup``, not on their place or time.
    """

    root: Path
    clips: pd.DataFrame
    classes: tuple[str, ...]
    devices: tuple[str, ...]
    train: np.ndarray
    test: np.ndarray
    fingerprint: str


def read_dataset(root: Path) -> Dataset:
    """Read and check the tables of the data set in the folder ``root``, not its audio.

    Raises:
        DataError: every problem found.
    """
    root = Path(root).expanduser().absolute()
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; it must hold {META} and {SETUP}/. "
            "This downloads TAU22: python -m focusnet.download tau22 --to DIR"
        )
    tables, problems = [], []
    for name, columns in ((META, _META_COLUMNS), (TRAIN, ("filename",)), (TEST, ("filename",))):
        try:
            tables.append(read_table(root / name, columns))
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)

    meta = tables[0].rename(columns={"scene_label": "scene", "source_label": "device"})
    problems = _meta_problems(root / META, meta)
    splits = []
    for name, table in ((TRAIN, tables[1]), (TEST, tables[2])):
        try:
            splits.append(_rows_of(table, meta, root / name))
        except DataError as error:
            problems += error.problems
    if len(splits) == 2:
        problems += _split_problems(root, meta, *splits)
    if problems:
        raise DataError(problems)

    train, test = splits
    classes = tuple(sorted(meta["scene"].iloc[train].unique()))
    cities = {name: name.partition("-")[0] for name in meta["identifier"].unique()}
    clips = pd.DataFrame(
        {
            "filename": meta["filename"],
            "scene": meta["scene"],
            "label": pd.Index(classes).get_indexer(meta["scene"]).astype(np.int64),
            "device": meta["device"],
            "city": meta["identifier"].map(cities),
            "location": meta["identifier"],
            "recording": pd.Series(_recordings(meta), dtype=str),
        }
    )
    return Dataset(
        root=root,
        clips=clips,
        classes=classes,
        devices=_in_fixed_order(meta["device"].unique()),
        train=train,
        test=test,
        fingerprint=_fingerprint(root, meta, train, test),
    )


def device_group(device: str) -> Literal["real", "seen", "unseen"] | None:
    """TAU's group of a device: real, or simulated and "seen" or "unseen" in training.

    None for devices that TAU does not have.
    """
    if device in ("a", "b", "c"):
        return "real"
    if device in ("s1", "s2", "s3"):
        return "seen"
    if device in ("s4", "s5", "s6"):
        return "unseen"
    return None


def read_table(path: Path, required: Iterable[str]) -> pd.DataFrame:
    """Read columns of a tab separated file as strings, in the order of its rows.

    Raises:
        DataError: it is missing, unreadable or empty, or lacks ``required`` columns.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        table = pd.read_csv(
            path,
            sep="\t",
            dtype=str,
            na_filter=False,  # a location may be called NA
            usecols=lambda column: column in _META_COLUMNS,
            encoding="utf-8-sig",
        )
    except (OSError, UnicodeDecodeError, ValueError) as error:  # pandas' errors are ValueErrors
        raise DataError(f"{path}: not a readable tab separated file: {error}") from None
    missing = [f"'{column}'" for column in required if column not in table.columns]
    if missing:
        found = path.read_text(encoding="utf-8-sig", errors="replace").partition("\n")[0].strip()
        raise DataError(
            f"{path}: missing column {', '.join(missing)} (tab separated); "
            f"its first line is '{found[:200]}'"
        )
    if table.empty:
        raise DataError(f"{path}: names no clips")
    return table


def read_clip_list(path: Path, clips: pd.DataFrame) -> np.ndarray:
    """Rows of ``clips`` (ascending, int64) that a file of ``evaluation_setup`` lists.

    ``clips`` needs the columns ``filename`` and ``scene``. If the file has ``scene_label``, it must
    agree.

    Raises:
        DataError: every problem of the file.
    """
    return _rows_of(read_table(path, ("filename",)), clips, path)


def _rows_of(table: pd.DataFrame, clips: pd.DataFrame, path: Path) -> np.ndarray:
    listed = table["filename"]
    problems = _problem(path, "named more than once", listed[listed.duplicated()])
    known = clips.drop_duplicates("filename")
    found = pd.Index(known["filename"]).get_indexer(listed)
    problems += _problem(path, f"not in {META}", listed[found < 0])
    if "scene_label" in table.columns:
        scenes = known["scene"].to_numpy()[found]
        differs = (found >= 0) & (table["scene_label"].to_numpy() != scenes)
        problems += _problem(path, f"scene_label differs from that in {META}", listed[differs])
    if problems:
        raise DataError(problems)
    return np.sort(known.index.to_numpy()[found]).astype(np.int64)


def _meta_problems(path: Path, meta: pd.DataFrame) -> list[str]:
    names = meta["filename"]
    problems = [
        *_problem(path, "named more than once", names[names.duplicated()]),
        *_problem(
            path,
            "leaves the data set's folder, or is no plain path with '/'",
            names[names.str.contains(_UNSAFE_NAME)],
        ),
    ]
    columns = {"scene": "scene_label", "identifier": "identifier", "device": "source_label"}
    for column, written in columns.items():
        problems += _problem(path, f"empty {written}", names[meta[column].str.strip() == ""])
    return problems


def _split_problems(
    root: Path, meta: pd.DataFrame, train: np.ndarray, test: np.ndarray
) -> list[str]:
    both = meta["filename"].iloc[np.intersect1d(train, test)]
    problems = _problem(root / SETUP, "in the training split and in the test split", both)
    classes = sorted(meta["scene"].iloc[train].unique())
    if len(classes) < 2:
        problems.append(f"{root / TRAIN}: needs at least two scenes, has '{classes[0]}' only")
    unknown = sorted(set(meta["scene"].iloc[test].unique()).difference(classes))
    if unknown:
        rule = "scenes of the test split without a training clip"
        problems.append(f"{root / TEST}: {rule}: {', '.join(unknown)}")
    return problems


def _problem(source: Path, problem: str, names: pd.Series) -> list[str]:
    """One problem with the first of ``names``; none without names."""
    if names.empty:
        return []
    first = ", ".join(f"'{name}'" for name in names.iloc[:_SHOWN])
    rest = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return [f"{source}: {problem}: {first}{rest}"]


def _recordings(meta: pd.DataFrame) -> list[str]:
    """The recording of each clip: its name without the number of the piece.

    This holds for names that TAU built from the row's scene, location and device. The dashes in
    other names may mean anything, so such a clip is a recording of its own.
    """
    places = meta["scene"] + "-" + meta["identifier"]
    recordings = []
    for name, place, device in zip(
        meta["filename"].tolist(), places.tolist(), meta["device"].tolist(), strict=True
    ):
        before, *rest = name.rpartition(".")[0].rsplit("-", 2)
        start = before.rpartition("/")[2].rpartition("-")[0]
        is_tau = len(rest) == 2 and start == place and rest[1] == device
        recordings.append(f"{before}-{device}" if is_tau else name)
    return recordings


def _in_fixed_order(devices: Iterable[str]) -> tuple[str, ...]:
    rank = {device: index for index, device in enumerate(_TAU_DEVICES)}
    return tuple(sorted(devices, key=lambda device: (rank.get(device, len(rank)), device)))


def _fingerprint(root: Path, meta: pd.DataFrame, train: np.ndarray, test: np.ndarray) -> str:
    # Hashed as parsed, so line endings and further columns do not matter. The order of the rows
    # does: it decides which clips a seed draws.
    digest = hashlib.sha256()
    for column in ("filename", "scene", "identifier", "device"):
        digest.update(("\n".join(meta[column].tolist()) + "\0").encode())
    digest.update(train.tobytes() + b"\0" + test.tobytes())
    for path in sorted((root / SETUP).glob("split*.csv")):
        digest.update(b"\0" + path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()

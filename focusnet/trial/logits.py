"""Reads and writes tables of logits by clip name: row numbers change when a data set does."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from focusnet.errors import DataError
from focusnet.system.atomic import replacing

PREFIX = "logit/"


def logits_frame(
    names: Sequence[str], logits: NDArray[np.float32], classes: Sequence[str]
) -> pd.DataFrame:
    """One row a clip: ``filename`` and a column ``logit/<scene>`` for each class."""
    columns = [PREFIX + scene for scene in classes]
    frame = pd.DataFrame(logits, columns=columns)
    frame.insert(0, "filename", list(names))
    return frame


def split_logits_frame(
    names: Mapping[str, Sequence[str]],
    logits: Mapping[str, NDArray[np.float32]],
    classes: Sequence[str],
) -> pd.DataFrame:
    """As ``logits_frame``, of several splits, with the column ``split``."""
    frames = []
    for split, found in logits.items():
        frame = logits_frame(names[split], found, classes)
        frame.insert(1, "split", split)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a Parquet file, whole or not at all."""
    with replacing(path) as part:
        frame.to_parquet(part, index=False)


def align_logits(
    frame: pd.DataFrame, names: Sequence[str], classes: Sequence[str]
) -> NDArray[np.float32]:
    """Logits (N, C) of the clips ``names``, in that order.

    Raises:
        DataError: clips without logits, or classes that are not those of the frame.
    """
    stored = [column.removeprefix(PREFIX) for column in frame if column.startswith(PREFIX)]
    if stored != list(classes):
        raise DataError(f"stored logits are of the classes {stored}, needed: {list(classes)}")
    aligned = frame.set_index("filename")[[PREFIX + scene for scene in classes]].reindex(names)
    missing = aligned.index[aligned.isna().any(axis=1)]
    if len(missing):
        raise DataError(f"{len(missing)} clips have no stored logits, such as {missing[0]}")
    return np.ascontiguousarray(aligned.to_numpy(dtype=np.float32))

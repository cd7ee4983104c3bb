"""Writes data sets in TAU22's layout with any number of clips, but no real audio."""

import json
from pathlib import Path

import numpy as np

from focusnet.dataset.layout import META, TEST, TRAIN

SCENES = ("airport", "bus", "metro", "park", "tram")
_DEVICES = ("a", "a", "a", "b", "c", "s1")
_PIECES = 10  # clips of one recording


def clip_names(clips: int) -> list[tuple[str, str, str, str]]:
    """Rows of ``meta.csv``: file name, scene, location and device of each clip."""
    rows = []
    for number in range(clips):
        recording, piece = divmod(number, _PIECES)
        scene = SCENES[recording % len(SCENES)]
        place, device = f"lyon-{recording % 997}", _DEVICES[recording % len(_DEVICES)]
        name = f"audio/{scene}-{place}-{recording}-{piece}-{device}.wav"
        rows.append((name, scene, place, device))
    return rows


def write_tables(root: Path, clips: int) -> None:
    """Write ``meta.csv`` and the split: five of six recordings train, one tests."""
    rows = clip_names(clips)
    (root / TRAIN).parent.mkdir(parents=True, exist_ok=True)
    header = "filename\tscene_label\tidentifier\tsource_label\n"
    (root / META).write_text(header + "".join("\t".join(row) + "\n" for row in rows))
    split: dict[str, list[str]] = {TRAIN: [], TEST: []}
    for number, (name, scene, *_) in enumerate(rows):
        test = number // _PIECES // len(SCENES) % 6 == 5
        split[TEST if test else TRAIN].append(f"{name}\t{scene}\n")
    for path, lines in split.items():
        (root / path).write_text("filename\tscene_label\n" + "".join(lines))


def write_sparse_cache(folder: Path, names: list[str], sample_rate: int) -> None:
    """Write the cache of ``focusnet.dataset.waveforms`` for ``names``, with a sparse array."""
    folder.mkdir(parents=True)
    array = np.lib.format.open_memmap(
        folder / "samples.npy", mode="w+", dtype=np.int16, shape=(len(names), sample_rate)
    )
    del array
    index = {"root": "", "sample_rate": sample_rate, "source_rate": sample_rate}
    index |= {"dtype": "int16", "sha256": "0" * 64, "names": names, "skipped": {}}
    (folder / "index.json").write_text(json.dumps(index))

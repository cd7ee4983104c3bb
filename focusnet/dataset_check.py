"""Is a folder a data set that a study can use, and can its test accuracy be trusted?

Lists, presence, headers and leaks are checked for every clip; so are duplicates (files equal to
the byte) and digital silence, which a glance at 4 KiB of each file narrows down to few files that
are then read whole. What needs the samples of all files (clips that are almost silent, the same
samples in another file format, damage behind the header) is checked on a sample, or on all.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from focusnet.clip_check import Glance, Sound, glance_at, hash_files, listen_to
from focusnet.dataset import META, SETUP, Dataset
from focusnet.decoding import common_form
from focusnet.errors import DataError
from focusnet.halves import split_by_location
from focusnet.subsets import training_subset

SAMPLE = 2000  # clips that are decoded unless all are asked for
SILENT = 1e-4  # a clip whose samples stay within +- this (-80 dBFS) is silent
_NAMED = 5

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """Something found; an error is what a study refuses, or what makes its test accuracy false."""

    severity: Severity
    text: str


@dataclass
class Findings:
    """What the checks found, and how much they looked at."""

    problems: list[Problem] = field(default_factory=list)
    formats: Counter[str] = field(default_factory=Counter)  # such as "44100 Hz, 1 channel, PCM_24"
    seconds: float = 0.0
    bytes: int = 0
    checked: list[str] = field(default_factory=list)  # sentences on coverage

    def add(self, severity: Severity, texts: Iterable[str]) -> None:
        self.problems += [Problem(severity, text) for text in texts]


def check_lists(dataset: Dataset, findings: Findings) -> pd.DataFrame:
    """Leaks between the splits, halves of the test split, subsets; a row for each subset list."""
    findings.add("error", shared_recordings(dataset))
    findings.add("warning", shared_locations(dataset))
    try:
        split_by_location(dataset)
    except DataError as error:
        findings.add("error", error.problems)
    return _check_subsets(dataset, findings)


def shared_recordings(dataset: Dataset) -> list[str]:
    """The leak of recordings: pieces of one recording in training and test are near copies."""
    train, test = (dataset.clips.iloc[rows] for rows in (dataset.train, dataset.test))
    shared = sorted(set(train["recording"]) & set(test["recording"]))
    if not shared:
        return []
    clips = int(test["recording"].isin(shared).sum())
    return [
        f"leak: {len(shared):,} recordings have clips in training and in test ({clips:,} test "
        f"clips): {_named(shared)}"
    ]


def shared_locations(dataset: Dataset) -> list[str]:
    """The leak of locations: a scene recorded at the same place on both sides."""
    train, test = (dataset.clips.iloc[rows] for rows in (dataset.train, dataset.test))
    problems = []
    both = set(train["location"]) & set(test["location"])
    same = sorted(_places(train) & _places(test))
    if same:
        clips = sum(
            place in set(same) for place in zip(test["scene"], test["location"], strict=True)
        )
        places = _named([f"{scene} at {location}" for scene, location in same])
        problems.append(
            f"leak: {len(same):,} locations have clips of one scene in training and in test "
            f"({clips:,} test clips): {places}"
        )
    others = sorted(both.difference(location for _, location in same))
    if others:
        problems.append(
            f"{len(others):,} locations are in training and in test with different scenes: "
            f"{_named(others)}"
        )
    return problems


def _places(clips: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(clips["scene"], clips["location"], strict=True))


def _check_subsets(dataset: Dataset, findings: Findings) -> pd.DataFrame:
    """Each ``split{N}.csv``: readable, within training, whole recordings, nested, of its size."""
    rows, smaller = [], None
    recordings = dataset.clips["recording"]
    for percent in _percents(dataset.root / SETUP):
        name = f"{SETUP}/split{percent}.csv"
        try:
            subset = training_subset(dataset, percent, 0)
        except DataError as error:
            findings.add("error", error.problems)
            continue
        share = 100 * len(subset) / len(dataset.train)
        inside = recordings.iloc[subset]
        outside = recordings.iloc[np.setdiff1d(dataset.train, subset)]
        cut = sorted(set(inside) & set(outside))
        if cut:
            findings.add(
                "warning",
                [f"{name}: {len(cut):,} recordings are in it only in part: {_named(cut)}"],
            )
        # Whole recordings of each scene come no closer to a small share of a small data set.
        grain = 100 * len(dataset.classes) * inside.value_counts().max() / len(dataset.train)
        if abs(share - percent) > max(1.0, percent / 20, grain):
            findings.add("warning", [f"{name}: holds {share:.1f} % of the training clips"])
        if smaller is not None and len(np.setdiff1d(smaller[1], subset)):
            missing = len(np.setdiff1d(smaller[1], subset))
            text = f"{name}: lacks {missing:,} clips that split{smaller[0]}.csv has: not nested"
            findings.add("warning", [text])
        smaller = percent, subset
        rows.append(
            {
                "subset": f"{percent} %",
                "clips": len(subset),
                "share": share,
                "recordings": inside.nunique(),
                "locations": dataset.clips["location"].iloc[subset].nunique(),
            }
        )
    return pd.DataFrame(rows)


def _percents(folder: Path) -> list[int]:
    names = [path.stem.removeprefix("split") for path in folder.glob("split*.csv")]
    return sorted(int(name) for name in names if name.isdigit() and 0 < int(name) <= 100)


Run = Callable[[str, Callable[..., list[Any]], Sequence[str]], list[Any]]


def check_audio(dataset: Dataset, findings: Findings, run: Run, *, full: bool) -> None:
    """Presence, headers, duplicates and silence of the clips.

    ``run(title, function, paths)`` calls ``function`` on parts of ``paths``, in processes or not,
    and gives back what it returns, joined.
    """
    names = dataset.clips["filename"].to_numpy()
    used = np.union1d(dataset.train, dataset.test)
    glances = run("Looking at files", glance_at, [str(dataset.root / name) for name in names])
    _check_headers(dataset, findings, glances, used)
    read = {row: glance for row, glance in enumerate(glances) if isinstance(glance, Glance)}
    findings.bytes = sum(glance.size for glance in read.values())
    findings.seconds = sum(one.header.frames / one.header.rate for one in read.values())
    _check_unnamed(dataset, findings)

    usable = [int(row) for row in used if int(row) in read]
    full = full or len(usable) <= SAMPLE
    chosen = set(usable if full else _sample([names[row] for row in usable], usable))
    flat = {row for row in usable if read[row].flat}
    rows = sorted(chosen | flat)
    sounds = run("Decoding clips", listen_to, [str(dataset.root / names[row]) for row in rows])
    heard = dict(zip(rows, sounds, strict=True))
    damaged = {row: sound for row, sound in heard.items() if isinstance(sound, str)}
    findings.add("error", _counted("cannot be decoded", names, damaged))
    silent = [r for r, sound in heard.items() if isinstance(sound, Sound) and sound.swing < SILENT]
    findings.add("warning", _counted("silent (within -80 dBFS)", names, silent))

    twins = _equal_files(dataset, run, {row: read[row] for row in usable if row not in silent})
    if full:
        sound_of = {
            row: sound.digest
            for row, sound in heard.items()
            if isinstance(sound, Sound) and row not in set(silent)
        }
        twins = _groups(sound_of)
    _report_twins(dataset, findings, twins)
    _say_coverage(findings, len(names), len(usable), len(chosen), flat, read, full)


def _check_headers(
    dataset: Dataset, findings: Findings, glances: Sequence[Glance | str], used: np.ndarray
) -> None:
    names = dataset.clips["filename"].to_numpy()
    headers = [glance if isinstance(glance, str) else glance.header for glance in glances]
    for header in headers:
        if not isinstance(header, str):
            channels = f"{header.channels} channel{'s' * (header.channels != 1)}"
            lasts = f"{header.frames / header.rate:.3f} s"
            findings.formats[f"{header.rate} Hz, {channels}, {header.subtype}, {lasts}"] += 1
    _, bad = common_form([headers[row] for row in used], sample_rate=1)
    why = {int(used[row]): reason for row, reason in bad.items()}
    findings.add("error", _by_reason(names, why))
    rest = set(range(len(names))).difference(used.tolist())
    unused = {row: reason for row in rest if isinstance(reason := headers[row], str)}
    findings.add("warning", [f"in neither split: {text}" for text in _by_reason(names, unused)])


def _check_unnamed(dataset: Dataset, findings: Findings) -> None:
    """Audio files beside those that meta.csv names: the wrong meta.csv, or another version."""
    named = set(dataset.clips["filename"])
    found: list[str] = []
    for folder in sorted({name.rpartition("/")[0] for name in named}):
        if not (dataset.root / folder).is_dir():
            continue
        with os.scandir(dataset.root / folder) as entries:
            prefix = f"{folder}/" if folder else ""
            found += [
                prefix + entry.name
                for entry in entries
                if entry.name.lower().endswith((".wav", ".flac"))
                and prefix + entry.name not in named
            ]
    findings.add("warning", _counted(f"not named in {META}", sorted(found)))


def _sample(names: Sequence[str], rows: Sequence[int]) -> list[int]:
    """The same clips each time, whatever the order of meta.csv: those with the lowest hashes."""
    order = sorted(range(len(rows)), key=lambda i: hashlib.blake2b(names[i].encode()).digest())
    return [rows[i] for i in order[:SAMPLE]]


def _equal_files(dataset: Dataset, run: Run, glances: Mapping[int, Glance]) -> list[list[int]]:
    """Rows of files that are equal to the byte, in groups: all there are."""
    alike = _groups({row: glance.middle for row, glance in glances.items()})
    rows = [row for group in alike for row in group]
    names = dataset.clips["filename"].to_numpy()
    hashes = run("Comparing files", hash_files, [str(dataset.root / names[row]) for row in rows])
    return _groups({row: digest for row, digest in zip(rows, hashes, strict=True) if digest})


def _groups(keys: Mapping[int, bytes]) -> list[list[int]]:
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row, key in keys.items():
        groups[key].append(row)
    return [group for group in groups.values() if len(group) > 1]


def _report_twins(dataset: Dataset, findings: Findings, twins: Sequence[list[int]]) -> None:
    """Copies on both sides are a leak, with two labels a contradiction, else a waste."""
    train, test = set(dataset.train.tolist()), set(dataset.test.tolist())
    clips = dataset.clips
    leaking, contradicting, copied = [], [], []
    for group in twins:
        shown = " = ".join(clips["filename"].iloc[row] for row in group[:3])
        if train.intersection(group) and test.intersection(group):
            leaking.append(shown)
        elif clips["scene"].iloc[group].nunique() > 1:
            contradicting.append(shown)
        else:
            copied.append(shown)
    findings.add("error", _counted("leak: the same audio in training and in test", leaking))
    findings.add("warning", _counted("the same audio with different scenes", contradicting))
    findings.add("warning", _counted("the same audio more than once in a split", copied))


def _say_coverage(
    findings: Findings,
    named: int,
    usable: int,
    decoded: int,
    flat: set[int],
    read: Mapping[int, Glance],
    full: bool,
) -> None:
    packed = sum(glance.flat is None for glance in read.values())
    exact = f"all {usable:,} clips of training and test"
    findings.checked = [
        f"lists, leaks by clip, recording and location: all {named:,} clips",
        f"presence and headers: all {named:,} files",
    ]
    if full:
        findings.checked.append(f"damage, silence, duplicates (equal samples): {exact}, decoded")
        return
    findings.checked += [
        f"duplicates (files equal to the byte): {exact}",
        f"digital silence: {exact}"
        + (f" but the {packed:,} compressed ones" if packed else "")
        + (f" ({len(flat):,} looked silent and were decoded)" if flat else ""),
        f"damage, near silence (-80 dBFS): a sample of {decoded:,} clips, decoded; what is in none "
        f"of them can be in {300 / max(decoded, 1):.2g} % of all at most (95 % confidence); "
        "--full decodes all",
    ]


def _by_reason(names: Sequence[str], why: Mapping[int, str]) -> list[str]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, reason in sorted(why.items()):
        rows[reason].append(row)
    return [text for reason, members in rows.items() for text in _counted(reason, names, members)]


def _counted(what: str, names: Sequence[str], rows: Iterable[int] | None = None) -> list[str]:
    """One problem that counts the offenders and names the first, or none."""
    found = list(names) if rows is None else [names[row] for row in rows]
    return [f"{what}: {len(found):,} ({_named(found)})"] if found else []


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more

"""Are the audio files of a data set there, sound, and all different?

Presence, headers, duplicates (files equal to the byte) and digital silence are checked for every
clip: a glance at 4 KiB of each file leaves few that may be copies or silent, and those are read
whole. What needs the samples of all files (clips that are almost silent, the same samples in
another file format, damage behind the header) is checked on a sample, or on all.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from focusnet.dataset.check_clips import Glance, Sound, glance_at, hash_files, listen_to
from focusnet.dataset.decoding import common_form
from focusnet.dataset.findings import Findings, by_reason, counted
from focusnet.dataset.layout import META, Dataset

SAMPLE = 2000  # clips that are decoded unless all are asked for
SILENT = 1e-4  # a clip whose samples stay within +- this (-80 dBFS) is silent

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
    findings.add("error", counted("cannot be decoded", names, damaged))
    sounds_of = {row: sound for row, sound in heard.items() if isinstance(sound, Sound)}
    silent = {row for row, sound in sounds_of.items() if sound.swing < SILENT}
    findings.add("warning", counted("silent (within -80 dBFS)", names, sorted(silent)))

    if full:
        digests = {row: one.digest for row, one in sounds_of.items() if row not in silent}
        twins = _groups(digests)
    else:
        twins = _equal_files(dataset, run, {r: read[r] for r in usable if r not in silent})
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
    findings.add("error", by_reason(names, why))
    rest = set(range(len(names))).difference(used.tolist())
    unused = {row: reason for row in rest if isinstance(reason := headers[row], str)}
    findings.add("warning", [f"in neither split: {text}" for text in by_reason(names, unused)])


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
    findings.add("warning", counted(f"not named in {META}", sorted(found)))


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
    findings.add("error", counted("leak: the same audio in training and in test", leaking))
    findings.add("warning", counted("the same audio with different scenes", contradicting))
    findings.add("warning", counted("the same audio more than once in a split", copied))


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

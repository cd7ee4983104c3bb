"""Checks the audio files of a data set: readable, not silent, and no copies of each other.

Presence, headers, duplicates (byte-identical files) and digital silence are checked for every clip.
Reading the header and 4 KiB of each file leaves few that may be copies or silent; only those are
read completely. The other checks need the decoded samples (near silence, equal samples in another
file format, damage behind the header), so they look at a sample of the clips, or at all.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from focusnet.dataset.check_clips import (
    DecodedSummary,
    FileSummary,
    hash_files,
    summarise_files,
    summarise_samples,
)
from focusnet.dataset.check_report import CheckReport, count_problem, problems_by_reason
from focusnet.dataset.decoding import common_form
from focusnet.dataset.layout import META, Dataset
from focusnet.system.processes import WorkerPool, run_tasks
from focusnet.system.progress import progress_bar

SAMPLE = 2000  # clips decoded unless all are requested
SILENT = 1e-4  # a clip is silent if its samples stay within +- this (-80 dBFS)
_CLIPS_PER_TASK = 256


def check_audio(
    dataset: Dataset, report: CheckReport, pool: WorkerPool | None, *, full: bool
) -> None:
    """Add to ``report`` what is wrong with the clips' files; decode all of them if ``full``."""
    names = dataset.clips["filename"].to_numpy()
    used = np.union1d(dataset.train, dataset.test)
    paths = [str(dataset.root / name) for name in names]
    summaries = _run(pool, "Reading headers", summarise_files, paths)
    _check_headers(dataset, report, summaries, used)
    readable = {row: one for row, one in enumerate(summaries) if isinstance(one, FileSummary)}
    report.bytes = sum(one.size for one in readable.values())
    report.seconds = sum(one.header.frames / one.header.rate for one in readable.values())
    _check_unlisted_files(dataset, report)

    usable = [int(row) for row in used if int(row) in readable]
    full = full or len(usable) <= SAMPLE
    sample = usable if full else _sample([names[row] for row in usable], usable)
    maybe_silent = {row for row in usable if readable[row].maybe_silent}
    rows = sorted({*sample, *maybe_silent})
    outcomes = _run(pool, "Decoding clips", summarise_samples, [paths[row] for row in rows])
    decoded: dict[int, DecodedSummary] = {}
    damaged: list[str] = []
    for row, outcome in zip(rows, outcomes, strict=True):
        if isinstance(outcome, DecodedSummary):
            decoded[row] = outcome
        else:
            damaged.append(names[row])
    report.errors += count_problem("cannot be decoded", damaged)
    silent = {row for row, one in decoded.items() if one.amplitude < SILENT}
    report.warnings += count_problem(
        "silent (within -80 dBFS)", (names[row] for row in sorted(silent))
    )

    if full:
        digests = {row: one.digest for row, one in decoded.items() if row not in silent}
        copies = _groups(digests)
    else:
        copies = _identical_files(
            paths, pool, {row: readable[row] for row in usable if row not in silent}
        )
    _report_copies(dataset, report, copies)
    compressed = sum(one.maybe_silent is None for one in readable.values())
    report.coverage = _coverage(
        len(names), len(usable), compressed, len(maybe_silent), None if full else len(sample)
    )


def _run(
    pool: WorkerPool | None,
    title: str,
    function: Callable[[Sequence[str]], list[Any]],
    paths: Sequence[str],
) -> list[Any]:
    """Call ``function`` on parts of ``paths`` under a progress bar, and join what it returns."""
    step = _CLIPS_PER_TASK
    tasks = [(paths[start : start + step],) for start in range(0, len(paths), step)]
    with progress_bar(title, len(paths)) as advance:
        return run_tasks(pool, function, tasks, advance)


def _check_headers(
    dataset: Dataset, report: CheckReport, summaries: Sequence[FileSummary | str], used: np.ndarray
) -> None:
    names = dataset.clips["filename"].to_numpy()
    headers = [one if isinstance(one, str) else one.header for one in summaries]
    for header in headers:
        if not isinstance(header, str):
            channels = f"{header.channels} channel{'s' * (header.channels != 1)}"
            duration = f"{header.frames / header.rate:.3f} s"
            report.formats[f"{header.rate} Hz, {channels}, {header.subtype}, {duration}"] += 1
    _, bad = common_form([headers[row] for row in used], sample_rate=1)
    report.errors += problems_by_reason(names, {int(used[row]): bad[row] for row in bad})
    unused = set(range(len(names))).difference(used.tolist())
    bad = {row: reason for row in unused if isinstance(reason := headers[row], str)}
    report.warnings += [
        f"in neither split: {problem}" for problem in problems_by_reason(names, bad)
    ]


def _check_unlisted_files(dataset: Dataset, report: CheckReport) -> None:
    """Warn of audio files that meta.csv does not name: it may belong to another version."""
    named = set(dataset.clips["filename"])
    found: list[str] = []
    for folder in sorted({name.rpartition("/")[0] for name in named}):
        if not (dataset.root / folder).is_dir():
            continue
        prefix = f"{folder}/" if folder else ""
        with os.scandir(dataset.root / folder) as entries:
            found += [
                prefix + entry.name
                for entry in entries
                if entry.name.lower().endswith((".wav", ".flac"))
                and prefix + entry.name not in named
            ]
    report.warnings += count_problem(f"not named in {META}", sorted(found))


def _sample(names: Sequence[str], rows: Sequence[int]) -> list[int]:
    """The clips with the lowest hashes of their names: the same in any order of meta.csv."""
    order = sorted(range(len(rows)), key=lambda i: hashlib.blake2b(names[i].encode()).digest())
    return [rows[i] for i in order[:SAMPLE]]


def _identical_files(
    paths: Sequence[str], pool: WorkerPool | None, summaries: Mapping[int, FileSummary]
) -> list[list[int]]:
    """All groups of rows whose files are byte-identical."""
    similar = _groups({row: summary.middle for row, summary in summaries.items()})
    rows = [row for group in similar for row in group]
    hashes = _run(pool, "Comparing files", hash_files, [paths[row] for row in rows])
    return _groups({row: digest for row, digest in zip(rows, hashes, strict=True) if digest})


def _groups(keys: Mapping[int, bytes]) -> list[list[int]]:
    """Groups of at least two rows with the same key."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row, key in keys.items():
        groups[key].append(row)
    return [group for group in groups.values() if len(group) > 1]


def _report_copies(dataset: Dataset, report: CheckReport, copies: Sequence[list[int]]) -> None:
    """Copies in both splits are an error; within a split or with two scenes they are a warning."""
    train, test = set(dataset.train.tolist()), set(dataset.test.tolist())
    clips = dataset.clips
    in_both, of_two_scenes, others = [], [], []
    for group in copies:
        names = " = ".join(clips["filename"].iloc[row] for row in group[:3])
        if train.intersection(group) and test.intersection(group):
            in_both.append(names)
        elif clips["scene"].iloc[group].nunique() > 1:
            of_two_scenes.append(names)
        else:
            others.append(names)
    report.errors += count_problem("leak: the same audio in training and in test", in_both)
    report.warnings += count_problem("the same audio with different scenes", of_two_scenes)
    report.warnings += count_problem("the same audio more than once in a split", others)


def _coverage(
    clips: int, usable: int, compressed: int, maybe_silent: int, sample: int | None
) -> list[str]:
    """Sentences on what was checked; ``sample`` clips were decoded, None: all."""
    splits = f"all {usable:,} clips of training and test"
    lines = [
        f"lists, leaks of clips, recordings and locations: all {clips:,} clips",
        f"presence and headers: all {clips:,} files",
    ]
    if sample is None:
        return [*lines, f"damage, silence, duplicates (equal samples): {splits}, decoded"]
    return [
        *lines,
        f"duplicates (byte-identical files): {splits}",
        f"digital silence: {splits}"
        + (f" except compressed files ({compressed:,})" if compressed else "")
        + (f" (decoded because they looked silent: {maybe_silent:,})" if maybe_silent else ""),
        f"damage, near silence (-80 dBFS): a sample of {sample:,} clips, decoded; a defect that "
        f"none of them has affects at most {300 / max(sample, 1):.2g} % of all clips (95 % "
        "confidence); --full decodes all",
    ]

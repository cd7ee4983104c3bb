"""Preparing a study's data before its first trial, so that problems come as one message."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from focusnet.config import TrialConfig, cache_folder
from focusnet.errors import DataError
from study.space.domains import Choice
from study.space.space import Space, with_values

# Beside those of the data: what decides what is read, and whether it is enough for the folds.
_MATTER = (
    "features.sample_rate", "augment.dir_folder", "focus.template_logits", "focus.folds",
)  # fmt: skip


def shared_settings(space: Space) -> dict[str, Any]:
    """What all trials share, as workers get it: the cache is where this process has it."""
    data = space.trial.get("data") or {}
    if "data.cache" in space.domains:
        return space.trial
    return with_values(space.trial, {"data.cache": str(cache_folder(data.get("cache")))})


def check_data(space: Space) -> None:
    """Look at the tables of every data set of the study, without decoding audio.

    Raises:
        DataError: every problem of every data set.
    """
    from focusnet.dataset.layout import read_dataset

    domain = space.domains.get("data.root")
    roots = domain.extremes() if domain else (space.trial["data"]["root"],)
    problems: list[str] = []
    for root in roots:
        if root == "synthetic":
            continue
        try:
            read_dataset(Path(root))
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)


def prepare_data(space: Space) -> list[dict[str, Any]]:
    """Make and decode what the trials will read; returns a record of each data set.

    Raises:
        DataError: every problem of every data set.
    """
    from focusnet.pipeline import prepare_data as prepare  # imports torch

    problems: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    failed: set[tuple[str, int]] = set()
    for trial in distinct_data(space):
        audio = trial.data.root, trial.features.sample_rate
        if audio in failed:
            continue  # its clips need not be decoded again to say the same
        try:
            data = prepare(trial)
        except DataError as error:
            problems += [problem for problem in error.problems if problem not in problems]
            failed.add(audio)
            continue
        record = {
            "root": trial.data.root,
            "sample_rate": trial.features.sample_rate,
            "fingerprint": data.fingerprint,
            "clips": len(data.dataset.clips),
            "classes": list(data.dataset.classes),
            "skipped": list(data.waveforms.skipped),
        }
        found[f"{trial.data.root} {trial.features.sample_rate}"] = record
    if problems:
        raise DataError(problems)
    return list(found.values())


def distinct_data(space: Space) -> Iterator[TrialConfig]:
    """A trial for each combination of searched settings that the data depend on."""
    matter = {
        path: domain.extremes()
        for path, domain in space.domains.items()
        if (path.startswith("data.") and isinstance(domain, Choice)) or path in _MATTER
    }
    for values in itertools.product(*matter.values()):
        parameters = {**space.first_values(), **dict(zip(matter, values, strict=True))}
        yield TrialConfig.model_validate(space.trial_settings(parameters))

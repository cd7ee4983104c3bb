"""Checks and decodes a study's data before its first trial, and reports all problems at once."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from focusnet.config import TrialConfig, cache_folder
from focusnet.errors import DataError
from study.space.domains import Choice
from study.space.space import Space, with_values

# Settings outside `data` that decide which audio is read, and whether it is enough for the folds.
_AFFECT_DATA = (
    "features.sample_rate", "augment.dir_folder", "focus.template_logits", "focus.folds",
    "student.features.sample_rate", "student.augment.dir_probability",
)  # fmt: skip


def shared_settings(space: Space) -> dict[str, Any]:
    """``Space.base`` as workers get it: with the cache folder that this process uses."""
    settings = space.base.model_dump()
    if "data.cache" in space.domains:
        return settings
    return with_values(settings, {"data.cache": str(cache_folder(space.base.data.cache))})


def check_data(space: Space) -> None:
    """Check the tables of every data set of the study, without decoding audio.

    Raises:
        DataError: every problem of every data set.
    """
    from focusnet.dataset.layout import read_dataset

    problems: list[str] = []
    for root in data_roots(space):
        if root == "synthetic":
            continue
        try:
            read_dataset(Path(root))
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)


def data_roots(space: Space) -> tuple[str, ...]:
    """``data.root``, or all of its values if it is searched."""
    domain = space.domains.get("data.root")
    return domain.extremes() if domain else (space.base.data.root,)


def prepare_data(space: Space) -> list[dict[str, Any]]:
    """Generate and decode what the trials read; returns a record of each data set.

    Raises:
        DataError: every problem of every data set.
    """
    from focusnet.trial.data import prepare_data as prepare  # imports torch

    problems: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    failed: set[tuple[str, tuple[int, ...]]] = set()
    for trial in distinct_data(space):
        audio = trial.data.root, sample_rates(trial)
        if audio in failed:
            continue  # decoding it again would only repeat the message
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


def sample_rates(trial: TrialConfig) -> tuple[int, ...]:
    """The rates at which a trial of FocusNet needs its audio: the teacher's, and the student's."""
    rates = [trial.features.sample_rate]
    if trial.student is not None:
        rates.append(trial.student.features.sample_rate)
    return tuple(dict.fromkeys(rates))


def distinct_data(space: Space) -> Iterator[TrialConfig]:
    """A trial for each combination of searched settings that the data depend on."""
    searched = {
        path: domain.extremes()
        for path, domain in space.domains.items()
        if (path.startswith("data.") and isinstance(domain, Choice)) or path in _AFFECT_DATA
    }
    for values in itertools.product(*searched.values()):
        parameters = {**space.first_values(), **dict(zip(searched, values, strict=True))}
        yield space.trial_config(parameters)

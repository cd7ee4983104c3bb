"""Dotted paths into a trial's settings, such as ``focus.weight``: which exist, which hold files."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from focusnet.config import TrialConfig
from focusnet.system.validation import nested_settings
from study.space.domains import Choice, Domain

# Settings that hold a file or folder, and the words they may hold instead.
_FILES: dict[str, tuple[str, ...]] = {
    "data.root": ("synthetic",),
    "data.cache": (),
    "augment.dir_folder": ("micirp",),
    "model.weights": ("audioset", "none"),
}


def setting_paths(settings: type[BaseModel] = TrialConfig, prefix: str = "") -> list[str]:
    """Dotted paths of all plain settings, sections left out."""
    paths = []
    for name, field in settings.model_fields.items():
        nested = nested_settings(field.annotation)
        paths += setting_paths(nested, f"{prefix}{name}.") if nested else [prefix + name]
    return paths


def unknown_path(path: str) -> str | None:
    """Why ``path`` is no setting of a trial; None if it is one."""
    inside: type[BaseModel] | None = TrialConfig
    *outer, name = path.split(".")
    for part in outer:
        if inside is None or part not in inside.model_fields:
            inside = None
            break
        inside = nested_settings(inside.model_fields[part].annotation)
    if inside is None or name not in inside.model_fields:
        close = difflib.get_close_matches(path, setting_paths(), n=1)
        hint = f"did you mean '{close[0]}'?" if close else "write it as in data.subset"
        return f"the trial has no such setting ({hint})"
    section = nested_settings(inside.model_fields[name].annotation)
    if section is not None:
        example = f"{path}.{next(iter(section.model_fields))}"
        return f"is a section of the trial; name a setting in it, such as {example}"
    return None


def with_absolute_paths(
    trial: Mapping[str, Any], domains: Mapping[str, Domain]
) -> tuple[dict[str, Any], dict[str, Domain]]:
    """``trial`` and ``domains`` with file paths made absolute from the current folder.

    Workers run in other folders and on other machines.
    """
    trial, domains = dict(trial), dict(domains)
    for path, words in _FILES.items():
        section, name = path.split(".")
        if isinstance(trial.get(section), Mapping) and name in trial[section]:
            trial[section] = {**trial[section], name: _absolute(trial[section][name], words)}
        domain = domains.get(path)
        if isinstance(domain, Choice):
            domains[path] = Choice(tuple(_absolute(value, words) for value in domain.values))
    return trial, domains


def _absolute(value: Any, words: tuple[str, ...]) -> Any:
    if not isinstance(value, str) or value in words or not value:
        return value
    return str(Path(value).expanduser().absolute())

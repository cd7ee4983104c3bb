"""Reads the space that a study has recorded, also one begun before some settings existed.

A setting that came later has a value that describes what such a study did, which may differ from
the default of a new one: a study goes on as it was begun.
"""

import copy
from collections.abc import Mapping
from typing import Any

from study.space.space import Space
from study.space.validation import validate_space

# What studies did before these settings existed.
_BEFORE: dict[tuple[str, str], Any] = {("search", "winner"): "best_observed"}


def validate_recorded(content: Mapping[str, Any], source: str) -> Space:
    """The space that a study's ``space.yaml`` describes.

    Raises:
        ConfigError: it is not valid for this version.
    """
    return validate_space(as_begun(content, content), source)


def as_begun(content: Mapping[str, Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """A space file's ``content`` with the ``recorded`` study's values where it states none.

    Only for settings whose default is not the same in every study.
    """
    filled = dict(copy.deepcopy(content))
    for (section, name), before in _BEFORE.items():
        stated = filled.get(section, {})
        if isinstance(stated, dict) and stated.get(name) is None:
            was = (recorded.get(section) or {}).get(name, before)
            filled[section] = {**stated, name: was}
    return filled

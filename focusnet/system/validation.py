"""Validates settings with pydantic: one message a problem, with its path, rule and value."""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from focusnet.errors import ConfigError

AnySettings = TypeVar("AnySettings", bound=BaseModel)


def validate(
    settings: type[AnySettings], content: Mapping[str, Any], source: str = "", prefix: str = ""
) -> AnySettings:
    """Build ``settings`` from ``content``.

    ``source`` (a file name) and ``prefix`` (a YAML path) lead each message.

    Raises:
        ConfigError: every problem in ``content``.
    """
    try:
        return settings.model_validate(content)
    except ValidationError as error:
        lead = f"{source}: " if source else ""
        raise ConfigError(
            [lead + describe(settings, dict(problem), prefix) for problem in error.errors()]
        ) from None


def describe(settings: type[BaseModel], problem: dict[str, Any], prefix: str = "") -> str:
    """One of pydantic's ``problem``s as path, rule and value received."""
    # pydantic names the kind of a value that may be of several kinds by a tag in parentheses.
    location = [part for part in map(str, problem["loc"]) if not part.startswith("(")]
    path = ".".join([prefix, *location] if prefix else location) or "(top level)"
    if problem["type"] == "extra_forbidden":
        known = _field_names(settings, location[:-1])
        return f"{path}: unknown key{nearest(location[-1], known)}"
    if problem["type"] == "missing":
        return f"{path}: must be given"
    rule = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if problem["type"] == "literal_error":
        rule = rule.replace("True or False", "true or false")  # as YAML writes them
    if problem["type"] in ("model_type", "dict_type"):
        rule = "must be a mapping of keys to values"
    if problem["type"] == "value_error":
        return f"{path}: {rule}"
    return f"{path}: {rule}, received {problem['input']!r}"


def nearest(name: str, known: list[str]) -> str:
    """`` (did you mean 'x'?)``, or the list of known names where none is similar."""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (known: {', '.join(known)})" if known else ""


def nested_settings(annotation: Any) -> type[BaseModel] | None:
    """The settings class in a field's annotation, also inside ``X | None``."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _field_names(settings: type[BaseModel], location: list[str]) -> list[str]:
    current: type[BaseModel] | None = settings
    for part in location:
        if current is None or part not in current.model_fields:
            return []
        current = nested_settings(current.model_fields[part].annotation)
    return list(current.model_fields) if current else []

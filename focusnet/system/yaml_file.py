"""Reads YAML with two fixes: ``1e-5`` is a number, and a key given twice is an error."""

import re
from pathlib import Path
from typing import Any

import yaml

from focusnet.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """The safe loader with YAML 1.2 floats and without silently overridden keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' is given a second time", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# In YAML 1.1, which PyYAML reads, 1e-5 is a string, but learning rates are written like that.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str, source: str) -> Any:
    """Parse ``text``.

    Raises:
        ConfigError: a syntax error; names ``source`` and the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{source}{where}: not valid YAML: {problem}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    content = parse_yaml(text, str(path))
    if not isinstance(content, dict):
        received = "nothing" if content is None else type(content).__name__
        raise ConfigError(f"{path}: must hold a mapping of keys to values, received {received}")
    return content

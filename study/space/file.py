"""Finds and reads a space file, and applies ``--set``."""

from pathlib import Path
from typing import Any

from focusnet.errors import ConfigError
from focusnet.system.yaml_file import parse_yaml, read_yaml
from study.project import ROOT

SHIPPED = ROOT / "search_spaces"


def find_space_file(name: str) -> Path:
    """The file for ``--space``; a bare name is looked up here, then in ``search_spaces/``.

    Raises:
        ConfigError: there is no such file.
    """
    given = Path(name).expanduser()
    places = [given] if len(given.parts) != 1 else [given, SHIPPED / given]
    for place in places:
        for candidate in (place, place.with_name(place.name + ".yaml")):
            if candidate.is_file():
                return candidate
    looked = " and ".join(sorted({str(place.absolute().parent) for place in places}))
    shipped = ", ".join(sorted(file.name for file in SHIPPED.glob("*.yaml"))) or "none"
    raise ConfigError(
        f"--space {name}: no such file (looked in {looked}); spaces that come with the project: "
        f"{shipped}"
    )


def read_space_file(path: Path, assignments: list[str]) -> dict[str, Any]:
    """The content of ``path``, changed by the ``key=value`` ``assignments`` in their order.

    Raises:
        ConfigError: the file cannot be read, or every assignment that is wrong.
    """
    content = read_yaml(path)
    problems: list[str] = []
    for assignment in assignments:
        try:
            _assign(content, assignment)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return content


def _assign(content: dict[str, Any], assignment: str) -> None:
    key, equals, text = assignment.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(
            f"--set {assignment}: must be key=value, such as search.trials=8 or "
            "trial.data.root=/data/TAU22"
        )
    value = parse_yaml(text, f"--set {key}")
    if key.startswith("space."):
        # Names of searched parameters contain dots: everything after 'space.' is one name.
        section, name = ["space"], key.removeprefix("space.")
    else:
        *section, name = key.split(".")
    inside = content
    for depth, part in enumerate(section):
        step = inside.setdefault(part, {})
        if step is None:
            step = inside[part] = {}
        if not isinstance(step, dict):
            here = ".".join(section[: depth + 1])
            raise ConfigError(f"--set {key}: {here} holds {step!r}, which is not a section")
        inside = step
    # Strata are numbers in YAML: search.trials.25 names the key 25.
    name = next((key for key in inside if not isinstance(key, str) and str(key) == name), name)
    if section == ["space"] and value is None:
        inside.pop(name, None)  # null removes a parameter from the search
    else:
        inside[name] = value

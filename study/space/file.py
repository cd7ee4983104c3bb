"""Finding a space file, reading it, and changing it by ``--set``."""

from pathlib import Path
from typing import Any

from focusnet.errors import ConfigError
from focusnet.system.yaml_file import parse_yaml, read_yaml
from study.project import ROOT

SHIPPED = ROOT / "search_spaces"


def find_space_file(name: str) -> Path:
    """The file for ``--space``: a path as it is; a bare name also in ``search_spaces/``."""
    given = Path(name).expanduser()
    places = [given] if len(given.parts) != 1 else [given, SHIPPED / given]
    for place in places:
        for candidate in (place, place.with_name(place.name + ".yaml")):
            if candidate.is_file():
                return candidate
    looked = " and ".join(sorted({str(place.absolute().parent) for place in places}))
    shipped = ", ".join(sorted(file.name for file in SHIPPED.glob("*.yaml"))) or "none"
    raise ConfigError(
        f"--space {name}: there is no such file (looked in {looked}); spaces that come with the "
        f"project: {shipped}"
    )


def read_space_file(path: Path, assignments: list[str]) -> dict[str, Any]:
    """The content of ``path`` with every ``key=value`` of ``assignments`` put in, in order."""
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
        # Names of searched parameters hold dots themselves: all after 'space.' is one name.
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
            raise ConfigError(f"--set {key}: {here} holds {step!r}, which has no parts to set")
        inside = step
    if section == ["space"] and value is None:
        inside.pop(name, None)  # null takes a parameter out of the search
    else:
        inside[name] = value

"""The content of ``space.yaml``: a space with its defaults filled in, as plain data."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.space.space import Space


def space_content(space: "Space") -> dict[str, Any]:
    """The space as ``space.yaml`` records it: defaults filled in, paths absolute."""
    trial = space.base.model_dump()
    for path in ("seed", "arm", *space.domains):
        *sections, name = path.split(".")
        inside = trial
        for section in sections:
            inside = inside[section]
        inside.pop(name, None)
    return {
        "name": space.name,
        "search": _search_content(space),
        "resources": space.resources.model_dump(),
        "controls": {
            "arms": list(space.control_arms),
            "seeds": list(space.control_seeds),
            "search": {
                arm: {path: domain.content() for path, domain in domains.items()}
                for arm, domains in space.control_searches.items()
            },
        },
        "confirm": _confirm_content(space),
        "space": {path: domain.content() for path, domain in space.domains.items()},
        "trial": trial,
    }


def _search_content(space: "Space") -> dict[str, Any]:
    content = space.search.model_dump()
    if space.ended_with:
        content["trials"] = space.ended_with.get(None, dict(space.ended_with))
    return content


def _confirm_content(space: "Space") -> dict[str, Any]:
    looks = [look[None] if None in look else dict(look) for look in space.confirm_looks]
    seeds: Any = list(space.confirm_seeds)
    if looks:
        seeds = None if space.looks_planned else looks[-1]
    return {
        "seeds": seeds,
        "looks": looks if space.looks_planned else None,
        "cross_fit": space.cross_fit,
        "margin": space.confirm_margin,
        "keep_weights": space.confirmed_weights,
    }

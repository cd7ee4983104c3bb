"""The content of a small valid space file, and a function to change it."""

from typing import Any

CONTENT: dict[str, Any] = {
    "name": "small",
    "search": {
        "algorithm": "random",
        "trials": 3,
        "winner": "best_observed",
        "stratify": "data.subset",
        "seed": 0,
    },
    "controls": {"arms": []},
    "confirm": {"seeds": 0},
    "space": {
        "data.subset": {"choice": [25, 100]},
        "focus.weight": {"loguniform": [0.1, 10]},
        "focus.threshold": {"uniform": [0.02, 0.5]},
    },
    "trial": {
        "data": {"root": "synthetic"},
        "model": {"size": "tiny", "weights": "none"},
        "template": {"epochs": 6},
    },
}


def put(content: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    """Set ``value`` at the nested ``keys``; the value ``...`` removes the key."""
    *outer, last = keys
    for key in outer:
        content = content.setdefault(key, {})
    if value is ...:
        del content[last]
    else:
        content[last] = value

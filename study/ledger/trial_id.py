"""Names a trial by its arm, parameters and seed: stable across machines and restarts, readable."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from focusnet.arms import FOCUSNET
from focusnet.config import short_names


def trial_id(
    arm: str,
    parameters: Mapping[str, Any],
    seed: int,
    *,
    show_seed: bool = False,
    tuning: bool = False,
) -> str:
    """Such as ``subset25-weight0.534-threshold0.12-1a2b3c4d``; safe as a folder name.

    It ends in a hash of arm, parameters and seed in full precision; the rest is for people.
    ``tuning`` marks a trial of a control arm's own search.
    """
    content = json.dumps([arm, dict(parameters), seed], sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    words = [] if arm == FOCUSNET else [arm]
    words += ["search"] if tuning else []
    words += [name + _short(parameters[path]) for path, name in short_names(parameters).items()]
    words += [f"seed{seed}"] if show_seed else []
    label = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(words))[:70]
    return f"{label}-{digest}" if label else digest


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value).rpartition("/")[2]

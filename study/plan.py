"""What a study will do, in words, before it does any of it."""

import math
from pathlib import Path

from focusnet.config import TrialConfig
from study.domains import Choice
from study.space import Space


def describe_plan(space: Space, results: Path) -> str:
    """Strata, trials, templates, parameters, stages, resources, data and results."""
    search = space.search
    total = len(space.strata) * space.trials_per_stratum
    example = space.example()
    rows = []
    if search.stratify is None:
        rows.append(("search", f"{search.algorithm}, one search over all, {total} trials"))
    else:
        values = ", ".join(str(value) for value in space.strata)
        rows.append(("strata", f"{search.stratify} = {values}"))
        per = space.trials_per_stratum
        rows.append(("search", f"{search.algorithm}, {per} trials for each stratum on its own"))
    if search.algorithm == "grid":
        points = math.prod(int(domain.size()) for domain in space.searched.values())
        if points > space.trials_per_stratum:
            rows.append(("", f"the first {space.trials_per_stratum} of the grid's {points} points"))
    rows.append(("", f"maximises {search.metric}, seed {search.seed}"))
    scheduler = search.scheduler
    if scheduler.name == "asha":
        text = f"asha within a stratum, from FocusNet epoch {scheduler.grace_epochs}"
        rows.append(("stops early", f"{text}, the best 1/{scheduler.reduction_factor:g} go on"))
    else:
        rows.append(("stops early", "none"))
    heading = "parameters"
    for path, domain in space.searched.items():
        rows.append((heading, f"{path}: {domain}"))
        heading = ""
    rows.append(("templates", _templates(space, total, example.template.reuse)))
    rows.append(("stages", _stages(space, example)))
    resources = space.resources
    limit = resources.max_concurrent
    side = "as many side by side as fit" if limit is None else f"at most {limit} side by side"
    rows.append(("resources", f"{resources.cpu:g} CPU, {resources.gpu:g} GPU a trial; {side}"))
    rows.append(("data", _data(space, example)))
    rows.append(("results", str(results)))
    lines = [f"Study {space.name}: {total} trials"]
    lines += [f"  {name:<12} {text}" for name, text in rows]
    return "\n".join(lines)


def _templates(space: Space, total: int, reuse: bool) -> str:
    if not reuse:
        return f"{total}, one in every trial (template.reuse is false)"
    shaping = {p: d for p, d in space.searched.items() if not p.startswith("focus.")}
    stratum_shapes = (
        len(space.strata) if not (space.search.stratify or "").startswith("focus.") else 1
    )
    variants = math.prod(domain.size() for domain in shaping.values())
    most = int(min(total, stratum_shapes * variants))
    if not shaping:
        return f"{most}, shared by the trials that differ in focus.* only"
    return f"up to {most}, because the search changes " + ", ".join(shaping)


def _stages(space: Space, example: TrialConfig) -> str:
    template, focus = example.template, example.focus
    searched = [p for p in space.domains if p in ("template.epochs", "focus.epochs")]
    more = f" ({' and '.join(searched)} searched)" if searched else ""
    model = f"{example.model.size}, weights {example.model.weights}"
    return (
        f"template {template.epochs} epochs, then FocusNet {focus.epochs or template.epochs} "
        f"epochs{more}; {model}, {example.features.sample_rate} Hz"
    )


def _data(space: Space, example: TrialConfig) -> str:
    domain = space.domains.get("data.root")
    roots = list(domain.values) if isinstance(domain, Choice) else [example.data.root]
    shown = []
    for root in roots:
        if root == "synthetic":
            shown.append("synthetic, made on first use")
        else:
            shown.append(root if Path(root).is_dir() else f"{root} (there is no such folder yet)")
    return ", ".join(shown)

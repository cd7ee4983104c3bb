"""What a study will do, in words, before it does any of it."""

import math
from collections.abc import Iterator
from pathlib import Path

from focusnet.config import TrialConfig
from study.ledger.ledger import Ledger
from study.plan.data_size import data_known
from study.plan.disk import free, needs, size, slots_here
from study.plan.duration import describe_hours
from study.space.domains import Choice
from study.space.objectives import direction
from study.space.space import Space


def describe_plan(space: Space, results: Path, *, measure: bool = False) -> str:
    """Strata, trials, templates, parameters, stages, resources, data, results and disk.

    With ``measure`` also time and memory, from some seconds of training on noise.
    """
    search = space.search
    total = space.trials_in_all
    example = space.example()
    rows = []
    if search.stratify is None:
        count = space.trials_per_stratum
        rows.append(("search", f"{search.algorithm}, one search over all, {count} trials"))
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
    if search.second_metric is not None:
        verb = f"{direction(search.second_metric)[:-3]}ises"  # Optuna spells as Americans do
        rows.append(("", f"and {verb} {search.second_metric}; the first names the winner"))
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
    rows += _followers(space)
    rows.append(("templates", _templates(space, example.template.reuse)))
    if space.folds_at_most():
        rows.append(("", _folds(space, example.focus.folds)))
    rows.append(("stages", _stages(space, example)))
    if "compute.precision" not in space.domains:
        rows.append(("precision", _precision(example)))
    if example.compute.compile and "compute.compile" not in space.domains:
        rows.append(("compile", _compilation(example)))
    resources = space.resources
    limit = resources.max_concurrent
    side = "as many side by side as fit" if limit is None else f"at most {limit} side by side"
    rows.append(("resources", f"{resources.cpu:g} CPU, {resources.gpu:g} GPU a trial; {side}"))
    rows.append(("data", _data(space, example)))
    rows.append(("results", str(results)))
    heading = "disk"
    for line in _disk(space, results):
        rows.append((heading, line))
        heading = ""
    if measure:
        heading = "time"
        for line in describe_hours(space):
            rows.append((heading, line))
            heading = ""
    lines = [f"Study {space.name}: {total} trials"]
    lines += [f"  {name:<12} {text}" for name, text in rows]
    return "\n".join(lines)


def _followers(space: Space) -> Iterator[tuple[str, str]]:
    """What follows the search: controls and confirmation of each stratum's winner."""
    strata, arms = len(space.strata), len(space.control_arms)

    def seeds(numbers: tuple[int, ...]) -> str:
        return ("seed " if len(numbers) == 1 else "seeds ") + ", ".join(map(str, numbers))

    yield "controls", ", ".join(space.control_arms) or "none"
    count = strata * arms * len(space.control_seeds)
    if count:
        yield "", f"{count} trials beside the winners of the search, {seeds(space.control_seeds)}"
    if space.confirm_seeds:
        count = strata * (1 + arms) * len(space.confirm_seeds)
        who = "each winner and its controls" if arms else "each winner"
        yield "confirm", f"{count} trials: {who} again, {seeds(space.confirm_seeds)}"
    else:
        yield "confirm", "none, so that the report can make no claim about FocusNet"


def _templates(space: Space, reuse: bool) -> str:
    most = space.templates_at_most()
    if not reuse:
        return f"{most}, one in every trial (template.reuse is false)"
    fresh = len(space.fresh_seeds)
    if fresh and not space.shaping:
        return (
            f"{most}, one for each stratum and seed; trials that differ in focus.* or arm share it"
        )
    if not space.shaping:
        return f"{most}, shared by the trials that differ in focus.* only"
    return f"up to {most}, because the search changes " + ", ".join(space.shaping)


def _folds(space: Space, folds: int) -> str:
    text = f"and up to {space.folds_at_most()} for out-of-fold logits"
    if "focus.folds" in space.domains:
        return f"{text}, one for each fold of each"
    share = f"{folds - 1}/{folds} of its clips"
    return f"{text}: {folds} for each of them, trained on {share}"


def _disk(space: Space, results: Path) -> Iterator[str]:
    slots = slots_here(space)
    for need in needs(space, Ledger(results), slots):
        yield f"{need.folder}: up to {need}, {size(free(need.folder))} free"
    side = "one trial" if slots == 1 else f"{slots} trials"
    missing = "" if data_known(space) else "; the data set is not there, so not counted"
    yield f"with {side} at a time{missing}"


def _stages(space: Space, example: TrialConfig) -> str:
    template, focus = example.template, example.focus
    searched = [p for p in space.domains if p in ("template.epochs", "focus.epochs")]
    more = f" ({' and '.join(searched)} searched)" if searched else ""
    model = f"{example.model.size}, weights {example.model.weights}"
    return (
        f"template {template.epochs} epochs, then FocusNet {focus.epochs or template.epochs} "
        f"epochs{more}; {model}, {example.features.sample_rate} Hz"
    )


def _precision(example: TrialConfig) -> str:
    if example.compute.precision != "auto":
        return example.compute.precision
    return "bf16 if every node's GPU has it, else fp32; chosen before the first trial"


def _compilation(example: TrialConfig) -> str:
    if example.compute.compile == "auto":
        return "if trials are long enough and every node can; chosen before the first trial"
    return "by torch.compile"


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

"""Describes what a study will do, for --plan and before it starts."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from focusnet.config import TrialConfig
from focusnet.system.units import size_text
from focusnet.training.gpu_memory import training_memory
from study.ledger.ledger import Ledger
from study.plan.confirmation import describe_confirmation
from study.plan.data import data_roots
from study.plan.data_size import data_known
from study.plan.detection import ASSUMED, ExpectedNoise
from study.plan.disk import free, needs, slots_here
from study.plan.duration import describe_duration
from study.space.objectives import direction
from study.space.space import Space

_WINNER = {
    "posterior_mean": "winners by a model of all trials of all strata (posterior_mean)",
    "best_observed": "winners by the best trial of their stratum (best_observed)",
}


def describe_plan(
    space: Space,
    results: Path,
    *,
    measure: bool = False,
    noise: ExpectedNoise = ASSUMED,
    detect: float | None = None,
) -> str:
    """Strata, trials, templates, parameters, stages, resources, data, results and disk.

    Args:
        measure: also time and memory, from some seconds of training on noise.
        noise: that the confirmation has to see an effect through.
        detect: points; also which look detects such an effect.
    """
    parts: list[tuple[str, Iterable[str]]] = [
        *_search(space),
        ("parameters", (f"{path}: {domain}" for path, domain in space.searched.items())),
        ("controls", _controls(space)),
        ("confirm", describe_confirmation(space, noise, detect)),
        ("templates", _templates(space)),
        ("teachers", _teachers(space)),
        *_trial(space),
        ("data", [", ".join(_root(root) for root in data_roots(space))]),
        ("results", [str(results)]),
        ("disk", _disk(space, results)),
    ]
    if measure:
        parts.append(("time", describe_duration(space)))
    most = "up to " if space.looks_planned else ""
    lines = [f"Study {space.name}: {most}{space.trials_in_all} trials"]
    for heading, texts in parts:
        for text in texts:
            lines.append(f"  {heading:<12} {text}")
            heading = ""
    return "\n".join(lines)


def _search(space: Space) -> Iterator[tuple[str, list[str]]]:
    search = space.search
    if search.stratify is None:
        first = f"{search.algorithm}, a single search, {space.trials_searched} trials"
    else:
        yield "strata", [f"{search.stratify} = {', '.join(map(str, space.strata))}"]
        numbers = [space.trials_of(stratum) for stratum in space.strata]
        if len(set(numbers)) == 1:
            first = f"{search.algorithm}, {numbers[0]} trials per stratum"
        else:
            each = ", ".join(map(str, numbers))
            first = f"{search.algorithm}, {sum(numbers)} trials: {each} in these strata"
    lines = [first]
    if search.algorithm == "grid":
        points = math.prod(int(domain.size()) for domain in space.searched.values())
        most = max(space.trials_of(stratum) for stratum in space.strata)
        if points > most:
            lines.append(f"the first {most} of {points} grid points")
    lines.append(f"maximises {search.metric}, seed {search.seed}")
    if search.second_metric is not None:
        verb = f"{direction(search.second_metric)[:-3]}ises"  # Optuna has American spelling
        lines.append(f"and {verb} {search.second_metric}; the first metric decides the winner")
    lines.append(_WINNER[search.winner or "best_observed"])
    if search.hours is not None:
        lines.append(f"begins no trial after {search.hours:g} hours, over all runs")
    yield "search", lines
    scheduler = search.scheduler
    if scheduler.name == "none":
        yield "stops early", ["none"]
    else:
        share = f"the best 1/{scheduler.reduction_factor:g} continue"
        start = f"from FocusNet epoch {scheduler.grace_epochs}"
        yield "stops early", [f"{scheduler.name} within a stratum, {start}; {share}"]


def _controls(space: Space) -> Iterator[str]:
    yield ", ".join(space.control_arms) or "none"
    count = len(space.strata) * len(space.control_arms) * len(space.control_seeds)
    if count and not space.looks_planned:
        yield f"{count} trials with the parameters of the winners, {_seeds(space.control_seeds)}"

    for arm, domains in space.control_searches.items():
        of_arm = space.of_control(arm)
        each = ", ".join(f"{path} {domain}" for path, domain in domains.items())
        yield f"{arm}: a search of its own, {of_arm.trials_searched} trials: {each}"


def _seeds(numbers: tuple[int, ...]) -> str:
    return ("seed " if len(numbers) == 1 else "seeds ") + ", ".join(map(str, numbers))


def _templates(space: Space) -> Iterator[str]:
    most = space.templates_at_most()
    if not space.base.template.reuse:
        yield f"{most}, one per trial (template.reuse is false)"
    elif space.searched_by_template:
        names = ", ".join(space.searched_by_template)
        yield f"up to {most}, because the search changes {names}"
    elif any(map(space.fresh_templates_of, space.strata)):
        yield f"{most}, one per stratum and seed, shared by all arms and focus.* settings"
    else:
        yield f"{most}, shared by the trials that differ in focus.* only"
    extra = space.folds_at_most()
    if extra and "focus.folds" in space.domains:
        yield f"and up to {extra} for out-of-fold logits, one per fold of each"
    elif extra:
        folds = space.base.focus.folds
        share = f"trained on {folds - 1}/{folds} of its clips"
        yield f"and up to {extra} for out-of-fold logits: {folds} for each of them, {share}"


def _teachers(space: Space) -> Iterator[str]:
    """Second stages and students of a study with a student."""
    if not space.has_student:
        return
    teachers, students = (
        sum(map(count, space.strata)) for count in (space.teachers_of, space.students_of)
    )
    shared = ", shared by trials that differ in student.* only" if space.base.template.reuse else ""
    yield f"up to {teachers} second stages{shared}; their logits teach up to {students} students"


def _trial(space: Space) -> Iterator[tuple[str, list[str]]]:
    """Stages and resources of a trial; searched settings with their first values."""
    trial = space.trial_config(space.first_values())
    yield "stages", [_stages(space, trial)]
    compute = trial.compute
    if "compute.precision" not in space.domains:
        text = "bf16 if every node's GPU has it, else fp16; chosen before the first trial"
        yield "precision", [text if compute.precision == "auto" else compute.precision]
    if compute.compile and "compute.compile" not in space.domains:
        text = "if trials are long enough and every node can; chosen before the first trial"
        yield "compile", [text if compute.compile == "auto" else "by torch.compile"]
    resources = space.resources
    limit = resources.max_concurrent
    most = "as many trials at a time as fit" if limit is None else f"at most {limit} at a time"
    yield "resources", [f"{resources.cpu:g} CPU, {resources.gpu:g} GPU per trial; {most}"]
    if resources.gpu and compute.device != "cpu":
        yield "GPU memory", [_gpu_memory(space, trial)]


def _gpu_memory(space: Space, trial: TrialConfig) -> str:
    precision = trial.compute.precision
    if precision == "auto":
        trial = trial.with_compute(precision="bf16")
    features = trial.features
    frames = (features.sample_rate - 1) // features.hop_length + 1  # of a second
    needed = training_memory(trial, frames, trial.model.n_classes or 10)
    text = f"about {size_text(needed.total)} in training, {needed.clips} clips at a time"
    return f"{text} ({'half precision' if precision == 'auto' else precision})"


def _stages(space: Space, trial: TrialConfig) -> str:
    template, focus = trial.template, trial.focus
    searched = [p for p in space.domains if p in ("template.epochs", "focus.epochs")]
    more = f" ({' and '.join(searched)} searched)" if searched else ""
    model = f"{trial.model.size}, weights {trial.model.weights}"
    return (
        f"template {template.epochs} epochs, then FocusNet {focus.epochs or template.epochs} "
        f"epochs{more}; {model}, {trial.features.sample_rate} Hz{_student(trial)}"
    )


def _student(trial: TrialConfig) -> str:
    student = trial.student
    if student is None:
        return ""
    network = student.network
    return (
        f"; then a student {student.epochs} epochs: base {network.base}, multiplier "
        f"{network.multiplier:g}, expansion {network.expansion:g}, "
        f"{student.features.sample_rate} Hz"
    )


def _root(root: str) -> str:
    if root == "synthetic":
        return "synthetic, generated on first use"
    return root if Path(root).is_dir() else f"{root} (no such folder yet)"


def _disk(space: Space, results: Path) -> Iterator[str]:
    slots = slots_here(space)
    for need in needs(space, Ledger(results), slots):
        yield f"{need.folder}: up to {need}, {size_text(free(need.folder))} free"
    at_a_time = "one trial" if slots == 1 else f"{slots} trials"
    missing = "" if data_known(space) else "; the data set is missing, so not counted"
    yield f"with {at_a_time} at a time{missing}"

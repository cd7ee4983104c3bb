"""Checks that a study may begin in a results folder, or that --resume continues the same study."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from focusnet.errors import ConfigError
from study.ledger.ledger import ENDED, Ledger
from study.search.winners import ended_searches
from study.space.per_stratum import number_of
from study.space.recorded import validate_recorded
from study.space.space import Space

# Settings that --resume may change, because they do not affect finished trials: resources, how
# often to evaluate and checkpoint, retries. Controls and confirmation only add trials.
_MAY_CHANGE = (
    "search.hours",
    "tracking.",
    "resources.",
    "trial.compute.eval_epochs",
    "trial.compute.checkpoint_epochs",
    "trial.compute.checkpoint_seconds",
    "trial.compute.non_finite_retries",
    "controls.",
    "confirm.",
)
_MAY_NOT = ("confirm.cross_fit",)  # a seed would be judged on another half than before
_MAY_GROW = "search.trials"


def check_folder(ledger: Ledger, space: Space, *, resume: bool, how_to_resume: str) -> None:
    """Refuse to overwrite a study, and to resume one with a different space.

    Raises:
        ConfigError: what the folder holds, or what has changed.
    """
    if ledger.exists():
        if not resume:
            raise ConfigError(
                f"{ledger} already holds a study ({describe_state(ledger, space)}). "
                f"To resume it: {how_to_resume}\n"
                "To start another one, use --set name=ANOTHER_NAME or move the folder away"
            )
        problems = changes(_begun(ledger), space.content())
        if problems:
            raise ConfigError(
                [
                    f"--resume: the study in {ledger} was begun with another space. Only "
                    "search.trials may grow, and search.hours, resources, controls and confirm may "
                    "change:",
                    *problems,
                    f"To go on as it was begun: --space {ledger.space_path} --resume",
                ]
            )
    elif ledger.folder.is_dir():
        foreign = [path.name for path in ledger.folder.iterdir() if not _left_by_start(path)]
        if foreign:
            raise ConfigError(
                f"{ledger.folder} exists and holds no study, but {foreign[0]}: choose another "
                "folder by --set name=... or --results"
            )


def check_search_ended(ledger: Ledger, space: Space, how_to_resume: str) -> None:
    """Refuse --confirm before the search has ended.

    Raises:
        ConfigError: there is no study, its search has not ended, or no trials would follow it.
    """
    if not ledger.exists():
        raise ConfigError(f"--confirm: {ledger.folder} holds no study; run without --confirm first")
    problems = []
    if not space.follow_ups:
        problems.append("--confirm: nothing to run: confirm.seeds is 0 and there are no controls")
    trials = [trial for trial in ledger.trials() if trial.searched]
    open_strata = [s for s in space.strata if s not in ended_searches(space, trials)]
    if open_strata:
        ended = sum(trial.status in ENDED for trial in trials)
        problems.append(
            f"--confirm: the search in {ledger.folder} has not ended ({ended} of "
            f"{space.trials_searched} trials have). To resume it: {how_to_resume}"
        )
    if problems:
        raise ConfigError(problems)


def describe_state(ledger: Ledger, space: Space) -> str:
    """Such as ``5 of 8 trials finished, 1 failed``."""
    begun = ledger.space()
    trials = ledger.trials()
    count = Counter(trial.status for trial in trials)
    searched = sum(_trials_asked(begun).values())
    total = searched + space.follow_ups
    text = f"{count['finished']} of {total} trials finished"
    for status in ("stopped", "failed"):
        if count[status]:
            text += f", {count[status]} {status}"
    return text


def changes(begun: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Differences between two resolved spaces that --resume must refuse, one message each."""
    before, after = _flat(begun), _flat(now)
    problems = [*_shrunk(begun, now)]
    for path in [*before, *(path for path in after if path not in before)]:
        old, new = before.get(path, "nothing"), after.get(path, "nothing")
        if path in _MAY_NOT and old != new:
            problems.append(f"  {path}: was {old!r}, now {new!r} (it stays as it was begun)")
            continue
        if path.startswith((*_MAY_CHANGE, _MAY_GROW)) or old == new:
            continue
        problems.append(f"  {path}: was {old!r}, now {new!r}")
    return problems


def _shrunk(begun: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Strata whose search would have fewer trials than it was begun with."""
    before, after = begun["search"]["trials"], now["search"]["trials"]
    fewer = {s: n for s, n in _trials_asked(begun).items() if _trials_asked(now).get(s, n) < n}
    if fewer and not isinstance(before, Mapping) and not isinstance(after, Mapping):
        yield f"  {_MAY_GROW}: was {before}, now {after} (it can only grow)"
        return
    for stratum, count in fewer.items():
        path = f"{_MAY_GROW}.{stratum}"
        yield f"  {path}: was {count}, now {_trials_asked(now)[stratum]} (it can only grow)"


def _trials_asked(content: Mapping[str, Any]) -> dict[Any, int]:
    """Trials of each stratum's search in a space as ``space.yaml`` records it."""
    search, domains = content["search"], dict(content["space"])
    stratify, trials = search["stratify"], search["trials"]
    strata = (None,) if stratify is None else domains.pop(stratify)["choice"]
    if trials is None:  # a grid: every point
        trials = math.prod(len(domain["choice"]) for domain in domains.values())
    return {stratum: number_of(trials, stratum) for stratum in strata}


def _begun(ledger: Ledger) -> Mapping[str, Any]:
    """The space that the study was begun with; settings added to the code since have defaults."""
    recorded = ledger.space()
    try:
        return validate_recorded(recorded, str(ledger.space_path)).content()
    except ConfigError:  # by a version with other settings: compare it as it is
        return recorded


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted paths to plain values; lists count as values."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _left_by_start(path: Path) -> bool:
    """Whether a start that was refused may have left this file."""
    return path.name.startswith(".") or path.name in ("provenance.json", "study.log")

"""Whether a study may start or go on in a results folder, and what to say where it may not."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from focusnet.errors import ConfigError
from study.ledger.ledger import ENDED, Ledger
from study.search.follow_up import searches_ended
from study.space.space import Space
from study.space.validation import validate_space

# Where a study runs, how many trials side by side, how often it looks at select, how often it saves
# and what becomes of a loss that is not finite change no result that there is;
# what follows the search adds to what is there.
_FREE = (
    "resources.",
    "trial.compute.eval_epochs",
    "trial.compute.checkpoint_epochs",
    "trial.compute.non_finite_retries",
    "controls.",
    "confirm.",
)
_EXTENDABLE = "search.trials"


def check_folder(ledger: Ledger, space: Space, *, resume: bool, how_to_resume: str) -> None:
    """Refuse to overwrite a study, and to go on with another one than was begun.

    Raises:
        ConfigError: what is there, or what has changed.
    """
    if ledger.exists():
        if not resume:
            raise ConfigError(
                f"{ledger} holds a study already ({describe_state(ledger, space)}). "
                f"Go on with it: {how_to_resume}\n"
                "or start another one: --set name=ANOTHER_NAME, or move the folder away"
            )
        problems = changes(_begun(ledger), space.content())
        if problems:
            raise ConfigError(
                [
                    f"--resume: {ledger} was begun with another space; only more "
                    "search.trials and other resources, controls and confirm.seeds are possible:",
                    *problems,
                ]
            )
    elif ledger.folder.is_dir():
        foreign = [path.name for path in ledger.folder.iterdir() if not _own(path)]
        if foreign:
            raise ConfigError(
                f"{ledger.folder} exists and holds no study, but {foreign[0]}: choose another "
                "--set name=... or --results"
            )


def check_search_ended(ledger: Ledger, space: Space, how_to_resume: str) -> None:
    """Refuse to confirm what a search has not chosen yet.

    Raises:
        ConfigError: nothing was begun, the search is not over, or nothing is asked to follow it.
    """
    if not ledger.exists():
        raise ConfigError(f"--confirm: {ledger.folder} holds no study; without it, one is begun")
    problems = []
    if not space.followers_per_stratum:
        problems.append("--confirm: confirm.seeds is 0, and there are no controls: nothing to run")
    trials = [trial for trial in ledger.trials() if trial.searched]
    open_strata = [s for s in space.strata if s not in searches_ended(space, trials)]
    if open_strata:
        ended = sum(trial.status in ENDED for trial in trials)
        total = len(space.strata) * space.trials_per_stratum
        problems.append(
            f"--confirm: the search in {ledger.folder} has not ended ({ended} of {total} trials "
            f"have); go on with it: {how_to_resume}"
        )
    if problems:
        raise ConfigError(problems)


def describe_state(ledger: Ledger, space: Space) -> str:
    """Such as ``5 of 8 trials finished, 1 failed``."""
    begun = ledger.space()
    trials = ledger.trials()
    count = Counter(trial.status for trial in trials)
    searched = int(begun["search"]["trials"] or space.trials_per_stratum)
    total = (searched + space.followers_per_stratum) * len(space.strata)
    text = f"{count['finished']} of {total} trials finished"
    for status in ("stopped", "failed"):
        if count[status]:
            text += f", {count[status]} {status}"
    return text


def changes(begun: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two resolved spaces in a way that a study cannot bridge."""
    before, after = _flat(begun), _flat(now)
    problems = []
    for path in [*before, *(path for path in after if path not in before)]:
        old, new = before.get(path, "nothing"), after.get(path, "nothing")
        if path.startswith(_FREE) or old == new:
            continue
        if path == _EXTENDABLE:
            if new is None or (isinstance(old, int) and new < old):
                problems.append(f"  {path}: was {old}, now {new} (it can only grow)")
            continue
        problems.append(f"  {path}: was {old!r}, now {new!r}")
    return problems


def _begun(ledger: Ledger) -> Mapping[str, Any]:
    """The space that the study was begun with; what has become a setting since has its default."""
    recorded = ledger.space()
    try:
        return validate_space(recorded, str(ledger.space_path)).content()
    except ConfigError:  # of a version whose settings are others: they are told apart one by one
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


def _own(path: Path) -> bool:
    return path.name.startswith(".") or path.name in ("provenance.json", "study.log")

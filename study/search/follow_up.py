"""Lists the trials that follow a search: controls of its winners, and confirmation.

Controls are other arms with a winner's parameters, or with those that a search of their own has
found best, whose trials come first. Confirmation retrains the winners and their
controls with fresh seeds. All of it follows from the space and the ledger; no other state is kept.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from focusnet.arms import uses
from study.ledger.ledger import ARM, Half, Phase, Trial
from study.ledger.trial_id import trial_id
from study.search.confirmation_seeds import seeds_of_winner
from study.search.control_search import Tuned, tuned, tuning_trials
from study.search.winners import Winner, winners
from study.space.space import Space

OTHER: dict[Half, Half] = {"select": "report", "report": "select"}
_NONE: Tuned = {}
# After a gain, the arms that can explain it run first.
_ARMS_IN_ORDER = ("placebo", "label_smoothing", "distillation")


def follow_ups(space: Space, winner: Winner, best: Tuned = _NONE) -> list[Trial]:
    """Controls and confirmation of a ``winner`` where all strata share the fresh seeds.

    In the order in which they should run. Each arm has those of the winner's parameters that it
    uses. Trials with the seed of the search share the winner's template; with any other seed all
    arms share a new template. ``best`` has the settings of arms with a search of their own.
    """
    found = _controls(space, winner, best)
    for seed in space.confirm_seeds:
        for arm in (ARM, *_ready(space, winner, best)):
            trial = _follow_up(space, winner, "confirm", arm, seed, best)
            teachers = _teacher_seeds(space, trial, space.confirm_seeds)
            found.append(replace(trial, teacher_seeds=teachers))
    return _numbered(space, found)


def all_follow_ups(space: Space, trials: Iterable[Trial]) -> dict[Any, list[Trial]]:
    """All that may follow in each stratum whose search has ended and has a winner.

    Planned looks may end a confirmation before all of it has run; see ``confirmation``. The trials
    of a control arm with a search of its own are known when that search is decided.
    """
    return {
        stratum: [*_numbered(space, tuning_trials(space, stratum)), *(trial for trial, _ in pairs)]
        for stratum, pairs in with_winners(space, trials).items()
    }


def with_winners(space: Space, trials: Iterable[Trial]) -> dict[Any, list[tuple[Trial, Winner]]]:
    """As ``all_follow_ups``, each trial with the winner that it follows."""
    trials = list(trials)
    chosen = winners_by_half(space, trials)
    best = tuned(space, trials, chosen)
    if space.confirm_looks:
        return {s: _with_own_seeds(space, trials, own, best) for s, own in chosen.items()}
    return {
        s: [(trial, own["select"]) for trial in follow_ups(space, own["select"], best)]
        for s, own in chosen.items()
    }


def winners_by_half(space: Space, trials: Iterable[Trial]) -> dict[Any, dict[Half, Winner]]:
    """The winners of each stratum that has them, by the half that they were chosen on."""
    trials = list(trials)
    halves: tuple[Half, ...] = ("select", "report") if space.cross_fit else ("select",)
    chosen = {half: winners(space, trials, half) for half in halves}
    return {
        stratum: {half: chosen[half][stratum] for half in halves}
        for stratum in space.strata
        if all(stratum in of_half for of_half in chosen.values())
    }


def seeds_on_half(space: Space, half: Half, count: int) -> int:
    """How many of a stratum's ``count`` seeds are judged on ``half``."""
    if not space.cross_fit:
        return count if half == "report" else 0
    return (count + 1) // 2 if half == "report" else count // 2


def _with_own_seeds(
    space: Space, trials: Sequence[Trial], own: Mapping[Half, Winner], best: Tuned
) -> list[tuple[Trial, Winner]]:
    """What follows in one stratum, whose seeds are its own."""
    winner_of = {OTHER[half]: winner for half, winner in own.items()}  # by the half to judge on
    pairs = [
        (half, seed, look)
        for half, winner in winner_of.items()
        for seed, look in _seeds(space, trials, winner, half)
    ]
    pairs.sort(key=lambda pair: (pair[2], pair[1]))  # by look, then by number

    first = {half: [seed for h, seed, look in pairs if h == half and look == 1] for half in OTHER}

    def confirm(arm: str, half: Half, seed: int, look: int) -> tuple[Trial, Winner]:
        trial = _follow_up(space, winner_of[half], "confirm", arm, seed, best)
        teachers = _teacher_seeds(space, trial, first[half])
        trial = replace(trial, judged_on=half, look=look, teacher_seeds=teachers)
        return trial, winner_of[half]

    ready = {half: (ARM, *_ready(space, winner, best)) for half, winner in winner_of.items()}
    found = [(trial, own["select"]) for trial in _controls(space, own["select"], best)]
    if space.looks_planned:
        found = [confirm(ARM, *pair) for pair in pairs] + found
        arms: Sequence[str] = arms_in_order(space)
        found += [confirm(arm, *pair) for arm in arms for pair in pairs if arm in ready[pair[0]]]
    else:
        found += [confirm(arm, *pair) for pair in pairs for arm in ready[pair[0]]]
    numbered = _numbered(space, [trial for trial, _ in found])
    return [(trial, winner) for trial, (_, winner) in zip(numbered, found, strict=True)]


def _seeds(
    space: Space, trials: Sequence[Trial], winner: Winner, half: Half
) -> Iterator[tuple[int, int]]:
    """The seeds of a winner that is judged on ``half``, each with the first look that counts it."""
    counts = [seeds_on_half(space, half, look[winner.stratum]) for look in space.confirm_looks]
    seeds = seeds_of_winner(
        space,
        trials,
        stratum=winner.stratum,
        parameters=parameters_of(space, ARM, winner, _NONE),
        judged_on=half,
        count=counts[-1],
    )
    for rank, seed in enumerate(seeds):
        yield seed, 1 + next(place for place, count in enumerate(counts) if count > rank)


def arms_in_order(space: Space) -> tuple[str, ...]:
    """The control arms in the order in which they run after a gain."""
    first = [arm for arm in _ARMS_IN_ORDER if arm in space.control_arms]
    return (*first, *(arm for arm in space.control_arms if arm not in first))


def _ready(space: Space, winner: Winner, best: Tuned) -> list[str]:
    """The control arms whose settings are known."""
    return [
        arm
        for arm in space.control_arms
        if arm not in space.control_searches or (arm, winner.stratum, winner.half) in best
    ]


def parameters_of(space: Space, arm: str, winner: Winner, best: Tuned) -> dict[str, Any]:
    """Those of the winner's parameters that ``arm`` uses, or those of its own search."""
    if arm in space.control_searches:
        return dict(best[arm, winner.stratum, winner.half])
    return {
        path: value
        for path, value in winner.parameters.items()
        if path == space.search.stratify or uses(arm, path)
    }


def _controls(space: Space, winner: Winner, best: Tuned) -> list[Trial]:
    return [
        _follow_up(space, winner, "controls", arm, seed, best)
        for seed in space.control_seeds
        for arm in _ready(space, winner, best)
    ]


def _follow_up(
    space: Space, winner: Winner, phase: Phase, arm: str, seed: int, best: Tuned
) -> Trial:
    parameters = parameters_of(space, arm, winner, best)
    return Trial(
        id=trial_id(arm, parameters, seed, show_seed=True),
        arm=arm,
        stratum=winner.stratum,
        index=0,
        seed=seed,
        parameters=parameters,
        phase=phase,
        judged_on="report" if phase == "confirm" else None,
        look=1 if phase == "confirm" else None,
    )


def _teacher_seeds(space: Space, trial: Trial, first_look: Sequence[int]) -> list[int] | None:
    """Seeds of the teachers of a confirmation's student: all of the first look, if it wants them.

    All of them, its own included: the field's ensembles hold all teachers that there are, and the
    students of an arm then learn from the same teacher.
    """
    student = space.trial_config(trial.parameters).student
    wanted = student is not None and student.teachers == "ensemble"
    return list(first_look) if wanted and uses(trial.arm, "student.teachers") else None


def _numbered(space: Space, trials: Sequence[Trial]) -> list[Trial]:
    """The trials of one stratum with their positions in it, after those of its searches."""

    def first(trial: Trial) -> int:
        before = space.trials_of(trial.stratum)
        return before if trial.tuning else before + space.tunings_of(trial.stratum)

    return [replace(trial, index=first(trial) + place) for place, trial in enumerate(trials)]


def ensemble_members(space: Space, trials: Iterable[Trial]) -> set[str]:
    """Names of the retrained winners, if they keep their weights."""
    if not space.confirmed_weights:
        return set()
    return {
        trial.id
        for due in all_follow_ups(space, trials).values()
        for trial in due
        if trial.phase == "confirm" and trial.arm == ARM
    }


def winner_of(space: Space, trials: Iterable[Trial]) -> Mapping[str, str]:
    """The name of the current winner, for each of its controls and confirmation trials.

    Trials that follow a former winner stay in the ledger and are not included; nor is any while the
    search of its stratum goes on.
    """
    return {
        trial.id: winner.name
        for pairs in with_winners(space, trials).values()
        for trial, winner in pairs
    }

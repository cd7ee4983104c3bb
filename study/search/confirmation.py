"""Says which trials of a confirmation may run now, and which look comes next.

With planned looks FocusNet's trainings of the first look run first. When they have ended, the
average effect is judged (``look``). A gain, a loss or a difference that is small either way ends
the confirmation, after a gain with the controls; anything else leads to the next look. Without
planned looks there is one, when all of FocusNet's trainings have ended.

All of it follows from the space, the trials and the looks on record.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from focusnet.statistics.looks import look_levels, spent
from focusnet.statistics.verdict import AVERAGE_ALPHA
from study.ledger.ledger import ARM, ENDED, Half, Trial
from study.ledger.looks import LookRecord, winners_of
from study.search.follow_up import all_follow_ups, winners_by_half
from study.search.winners import Winner, ended_searches
from study.space.space import Space

LOOKS_ALPHA = 0.05  # that several looks may spend; a single one has AVERAGE_ALPHA
CLOSING = ("gain", "loss", "small")  # verdicts that end a confirmation
_LEAST_ALPHA = 1e-4  # with less than this left, a look cannot claim anything


@dataclass(frozen=True)
class NextLook:
    """A look that has not been taken.

    Attributes:
        number, of: its position in the plan, from 1, and the length of the plan.
        seeds: number of seeds of each stratum up to this look.
        information: as a share of the last look's.
        alpha: which all looks together may spend, less what earlier winners' looks have spent.
        level: the p-value at which it claims; 0 where nothing is left to spend.
        trials: for each stratum that has winners, the trainings of FocusNet that it counts.
        winners: of each stratum, by the half that they were chosen on.
    """

    number: int
    of: int
    seeds: Mapping[Any, int]
    information: float
    alpha: float
    level: float
    trials: Mapping[Any, Sequence[Trial]] = field(default_factory=dict)
    winners: Mapping[Any, Mapping[Half, Winner]] = field(default_factory=dict)

    def is_due(self) -> bool:
        """Whether all of its trials have ended."""
        return all(trial.status in ENDED for own in self.trials.values() for trial in own)


@dataclass(frozen=True)
class Stage:
    """Where a confirmation stands.

    Attributes:
        due: for each stratum, the trials that run before the next look, or after the last one.
        look: the next look; None if there is none.
    """

    due: Mapping[Any, Sequence[Trial]]
    look: NextLook | None


def stage(space: Space, trials: Iterable[Trial], looks: Sequence[LookRecord]) -> Stage:
    """Where the confirmation stands, by the ledger's ``trials`` and ``looks``.

    Trials of the ledger are given as it knows them, others as pending.
    """
    trials = list(trials)
    known = {trial.id: trial for trial in trials}
    follow = {
        stratum: [replace(known.get(trial.id, trial), look=trial.look) for trial in own]
        for stratum, own in all_follow_ups(space, trials).items()
    }
    if not space.confirm_looks:
        return Stage(follow, None)
    if len(ended_searches(space, trials)) < len(space.strata):
        return Stage({} if space.looks_planned else follow, None)
    chosen = winners_by_half(space, trials)
    own = looks_at(chosen, looks)
    following = _next_look(space, own, looks, chosen)
    look = None if following is None else _with_trials(space, following, follow, chosen)
    if not space.looks_planned:
        return Stage(follow, look)
    if look is not None:
        return Stage(look.trials, look)
    gained = bool(own) and own[-1]["verdict"] == "gain"
    return Stage(_controls(follow, own[-1]) if gained else {}, None)


def looks_at(
    chosen: Mapping[Any, Mapping[Half, Winner]], looks: Sequence[LookRecord]
) -> list[LookRecord]:
    """Those of ``looks`` that judged these winners."""
    names = _names(chosen)
    return [record for record in looks if winners_of(record) == names]


def _names(chosen: Mapping[Any, Mapping[Half, Winner]]) -> list[tuple[Any, dict[str, str]]]:
    return [
        (stratum, {str(half): winner.name for half, winner in own.items()})
        for stratum, own in chosen.items()
    ]


def planned_looks(space: Space) -> list[NextLook]:
    """All looks of the plan, for a study that has taken none."""
    levels = look_levels(_information(space.confirm_looks), _alpha(space))
    return [
        NextLook(number, len(levels), seeds, information, _alpha(space), level)
        for number, (seeds, information, level) in enumerate(
            zip(space.confirm_looks, _information(space.confirm_looks), levels, strict=True), 1
        )
    ]


def _next_look(
    space: Space,
    own: Sequence[LookRecord],
    looks: Sequence[LookRecord],
    chosen: Mapping[Any, Mapping[Half, Winner]],
) -> NextLook | None:
    """The look after ``own``, which judged the same winners; all ``looks`` have spent alpha."""
    taken = [_planned(record) for record in own]
    left = [look for look in space.confirm_looks if not taken or _is_more(look, taken[-1])]
    closed = space.looks_planned and own and own[-1]["verdict"] in CLOSING
    if closed or not left or not chosen:
        return None
    sequence = _information([*taken, *({s: look[s] for s in chosen} for look in left)])
    others = [record for record in looks if record not in own]
    alpha = max(_alpha(space) - _spent(others), 0.0)
    if alpha < _LEAST_ALPHA:
        level = 0.0
    else:
        level = look_levels(sequence, alpha, tuple(record["level"] for record in own))[len(own)]
    return NextLook(len(own) + 1, len(own) + len(left), left[0], sequence[len(own)], alpha, level)


def _alpha(space: Space) -> float:
    return LOOKS_ALPHA if len(space.confirm_looks) > 1 else AVERAGE_ALPHA


def _is_more(look: Mapping[Any, int], than: Mapping[Any, int]) -> bool:
    """Whether ``look`` counts seeds that an earlier one did not, and lacks none of its."""
    more = [look[stratum] - count for stratum, count in than.items()]
    return min(more) >= 0 and max(more) > 0


def _information(looks: Sequence[Mapping[Any, int]]) -> tuple[float, ...]:
    """Of each look as a share of the last one's: the variance from trainings goes as 1 / seeds."""
    variances = [sum(1 / count for count in look.values()) for look in looks]
    return tuple(variances[-1] / variance for variance in variances)


def _spent(looks: Sequence[LookRecord]) -> float:
    """Probability of a false claim at looks that judged other winners."""
    by_winners = groupby(sorted(looks, key=lambda one: str(winners_of(one))), key=winners_of)
    return sum(
        spent(_information([_planned(one) for one in same]), [one["level"] for one in same])
        for same in (list(group) for _, group in by_winners)
    )


def _planned(record: LookRecord) -> dict[Any, int]:
    return {one["stratum"]: one["planned"] for one in record["strata"]}


def _with_trials(
    space: Space,
    look: NextLook,
    follow: Mapping[Any, Sequence[Trial]],
    chosen: Mapping[Any, Mapping[Half, Winner]],
) -> NextLook:
    place = 1 + list(space.confirm_looks).index(dict(look.seeds))
    counted = {
        stratum: [
            trial
            for trial in own
            if trial.phase == "confirm" and trial.arm == ARM and (trial.look or 1) <= place
        ]
        for stratum, own in follow.items()
    }
    return replace(look, trials=counted, winners=chosen)


def _controls(follow: Mapping[Any, Sequence[Trial]], last: LookRecord) -> dict[Any, list[Trial]]:
    """The controls with the seeds of the look that found a gain."""
    seeds = {
        one["stratum"]: {seed for of_half in one["seeds"].values() for seed in of_half}
        for one in last["strata"]
    }
    return {
        stratum: [
            trial
            for trial in own
            if trial.phase == "controls"
            or (trial.arm != ARM and trial.seed in seeds.get(stratum, ()))
        ]
        for stratum, own in follow.items()
    }

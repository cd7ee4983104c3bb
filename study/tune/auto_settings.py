"""Replaces ``auto`` in a study's ``compute`` settings by one value for all of its trials.

It is chosen from what the nodes of the cluster can do, before the first trial, and recorded in
``space.yaml``: a resumed study takes it from there, on whatever machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from focusnet.auto_settings import Choice, auto_settings, choose, recorded_values
from focusnet.system.gpu import GpuFeatures
from study.ledger.ledger import Ledger
from study.plan.data_size import largest_data
from study.plan.work import study_work
from study.space.space import Space


def with_recorded(space: Space, ledger: Ledger) -> Space:
    """``space`` with the values that the study was begun with, if it was, in place of ``auto``."""
    names = auto_settings(space.base)
    if not names or not ledger.exists():
        return space
    recorded = (ledger.space().get("trial") or {}).get("compute") or {}
    return _with(space, recorded_values(names, recorded))


def resolve_auto(
    space: Space, slots: int, nodes: Sequence[GpuFeatures | None]
) -> tuple[Space, dict[str, Choice]]:
    """``space`` without ``auto``, and the choice for each setting that had it.

    ``slots`` trials run side by side, each in a worker process that runs trial after trial.
    ``nodes`` is what ``check_gpus`` found.
    """
    trial = space.base
    if not auto_settings(trial):
        return space, {}
    work, _ = study_work(space, largest_data(space))
    choices = choose(trial, work.train / slots, nodes)
    return _with(space, {name: choice.value for name, choice in choices.items()}), choices


def _with(space: Space, values: Mapping[str, Any]) -> Space:
    return replace(space, base=space.base.with_compute(**values))

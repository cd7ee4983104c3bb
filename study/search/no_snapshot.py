"""Keeps objects of the running driver out of the snapshots that Ray Tune takes of a search."""

from typing import Any, Self


class NoSnapshot:
    """Mixin for what Tune is given: pickled, it is an empty shell; copied, it is itself.

    Tune pickles its search algorithm, scheduler and callbacks every few seconds, so that it could
    restore them. A study resumes from its ledger and never restores them, and they hold what cannot
    be pickled (locks, open files).
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

"""Keeping Tune's own snapshots away from objects that belong to the running process."""

from typing import Any, Self


class Unsaved:
    """Pickles as an empty shell and is never copied.

    Tune pickles all that it is given, for a restore that a study never uses: the ledger has it.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

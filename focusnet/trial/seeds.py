"""Derives the random generators of a trial from its seed, one for each purpose."""

import hashlib
from collections.abc import Mapping

from torch import Generator, Tensor


def derive_seed(seed: int, purpose: str) -> int:
    """A seed for one purpose, so that no two parts of a trial share a random stream."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{purpose}".encode()).digest()[:8], "big") >> 1


class StageGenerators:
    """The random generators of one stage: for the augmentation and for the order of the clips."""

    def __init__(self, seed: int, stage: str) -> None:
        self._seed, self._stage = seed, stage
        self.augment, self.order = Generator(), Generator()
        self._by_purpose = {"augment": self.augment, "order": self.order}
        self._seed_all("")

    def states(self) -> dict[str, Tensor]:
        """Their states by purpose."""
        return {purpose: one.get_state() for purpose, one in self._by_purpose.items()}

    def restore(self, states: Mapping[str, Tensor]) -> None:
        """Go back to what ``states`` returned."""
        for purpose, state in states.items():
            self._by_purpose[purpose].set_state(state)

    def reseed(self, retry: int) -> None:
        """Begin the streams of a retry (from 1), which differ from all others."""
        self._seed_all(f"/retry {retry}")

    def _seed_all(self, suffix: str) -> None:
        for purpose, one in self._by_purpose.items():
            one.manual_seed(derive_seed(self._seed, f"{self._stage}/{purpose}{suffix}"))

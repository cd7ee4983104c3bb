"""Gives the logits that teach a student: those of one teacher, or the mean of several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from filelock import Timeout

from focusnet.trial.logits import align_logits
from focusnet.trial.stages import Logits
from focusnet.trial.stored_stages import StoredStage
from focusnet.trial.teachers import Teacher


@dataclass(frozen=True)
class Teaching:
    """What a student learns from."""

    logits: Logits  # (N, C) of the training clips
    keys: list[str]  # of the stages in the store whose logits they are


def mean_teaching(
    stages: Sequence[StoredStage], names: Sequence[str], classes: Sequence[str]
) -> Teaching:
    """The mean of the stages' logits of the clips ``names``."""
    logits = np.stack([align_logits(stage.logits(), names, classes) for stage in stages])
    mean = logits.mean(axis=0, dtype=np.float64).astype(np.float32)
    return Teaching(mean, [stage.key for stage in stages])


def ensemble(
    own: StoredStage, own_seed: int, seeds: Sequence[int], teacher_of: Callable[[int, str], Teacher]
) -> list[StoredStage]:
    """The stages of all ``seeds``, in that order, from the store or trained now.

    First those that no other process is training: trials side by side share the work.

    Args:
        own: the trial's stage, with ``own_seed``.
        teacher_of: makes the teacher of another seed, and what messages call it.
    """
    stages = {own_seed: own}
    for wait in (False, True):
        for number, seed in enumerate(seeds, 1):
            if seed in stages:
                continue
            teacher = teacher_of(seed, f"ensemble member {number} of {len(seeds)}")
            try:
                stages[seed] = teacher.teaching_stage(wait=wait)
            except Timeout:
                continue  # in the second round
            finally:
                teacher.stages.gpu_cache.release()
    return [stages[seed] for seed in seeds]

"""Lists which settings the second stage of each arm uses. Does not import torch.

A setting that an arm does not use cannot change its result: a search need not vary it, a table
leaves it empty, and two trials that differ only in it are the same trial.
"""

from typing import get_args

from focusnet.config import Arm, FocusConfig

ARMS: tuple[str, ...] = get_args(Arm)
MASKED = ("focusnet", "reference", "placebo")  # arms whose loss has a confusion mask

_BUDGET = ("epochs", "batch_size", "lr", "weight_decay")
_TEMPLATE = ("template_logits", "folds")
_LOSS = ("weight", "threshold", "temperature", "entropy_weight", "label_smoothing")
_USED: dict[str, tuple[str, ...]] = {
    "focusnet": (*_BUDGET, *_TEMPLATE, *_LOSS),
    "cross_entropy": _BUDGET,
    "label_smoothing": (*_BUDGET, "label_smoothing"),
    "distillation": (*_BUDGET, *_TEMPLATE, "distillation"),
    "reference": (*_BUDGET, *_TEMPLATE),
    "placebo": (*_BUDGET, *_TEMPLATE, *_LOSS),
}


def uses(arm: str, path: str) -> bool:
    """Whether a trial of ``arm`` depends on the setting ``path``, such as ``focus.weight``.

    Settings outside ``focus`` matter to every arm.
    """
    section, _, name = path.partition(".")
    return section != "focus" or name.partition(".")[0] in _USED[arm]


def settings_of_arm(arm: str, focus: FocusConfig) -> FocusConfig:
    """Settings that the second stage of ``arm`` trains with.

    All arms take ``focus`` as it is, except ``reference``. Its loss has the paper's settings, which
    are the defaults (weight 1, entropy weight 1, threshold 1 / C, temperature 2, label smoothing
    0.1), whatever ``focus`` says.
    """
    if arm != "reference":
        return focus
    paper = FocusConfig()
    return focus.model_copy(update={name: getattr(paper, name) for name in _LOSS})

"""Which settings the second stage of each arm uses: known without torch, for plans and tables.

What an arm does not use cannot change its result. A search need not vary it, a table leaves it
empty, and two trials that differ in nothing else are one.
"""

from typing import get_args

from focusnet.config import Arm, FocusConfig

ARMS: tuple[str, ...] = get_args(Arm)
MASKED = ("focusnet", "reference", "placebo")  # their loss has a confusion mask

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
    """The settings that the second stage of ``arm`` trains with.

    They are ``focus`` itself, but for ``reference``: there those of the loss are the paper's
    (weight 1, entropy weight 1, threshold 1 / C, temperature 2, label smoothing 0.1), which are
    the defaults, whatever a search has found.
    """
    if arm != "reference":
        return focus
    paper = FocusConfig()
    return focus.model_copy(update={name: getattr(paper, name) for name in _LOSS})

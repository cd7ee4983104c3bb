"""Facts about the arms, without torch: their names, and which settings each second stage uses.

A setting that an arm does not use cannot change its result. A search need not vary it, a table
leaves it empty, and two trials that differ in nothing else are the same trial.
"""

from typing import Any, get_args

from focusnet.config import Arm, FocusConfig, StudentArm

ARMS: tuple[str, ...] = get_args(Arm)
FOCUSNET = "focusnet"  # the arm that is searched; all others are its controls
REFERENCE = "reference"  # FocusNet with the paper's settings
PLACEBO = "placebo"  # FocusNet with the masks of other clips
TEMPLATE = "template"  # no second stage: the template teaches the student
LABELS = "labels"  # no teacher: the student learns from the labels alone
STUDENT_ONLY: tuple[str, ...] = get_args(StudentArm)  # these train a student and no second stage
MASKED = (FOCUSNET, REFERENCE, PLACEBO)  # their loss has a confusion mask
_LABELS = {
    FOCUSNET: "FocusNet",
    "cross_entropy": "the template drawn again",  # same loss and initial weights, another order
    "label_smoothing": "label smoothing",
    "distillation": "self-distillation",
    REFERENCE: "FocusNet with the paper's settings",
    PLACEBO: "FocusNet with placebo masks",
    TEMPLATE: "the template as teacher",
    LABELS: "no teacher",
}
FEW_WARM_CLASSES = 1.05  # per clip on average; with fewer, masks hold hardly more than the label
FEW_WARM_NOTE = (
    f"the masks hold hardly more than the label (fewer than {FEW_WARM_CLASSES} warm classes per "
    "clip): FocusNet cannot differ from label smoothing; a lower focus.threshold makes more "
    "classes warm"
)

_BUDGET = ("epochs", "batch_size", "lr", "weight_decay")
_TEMPLATE = ("template_logits", "folds")
_LOSS = ("weight", "threshold", "temperature", "entropy_weight", "label_smoothing")
_USED: dict[str, tuple[str, ...]] = {
    FOCUSNET: (*_BUDGET, *_TEMPLATE, *_LOSS),
    "cross_entropy": _BUDGET,
    "label_smoothing": (*_BUDGET, "label_smoothing"),
    "distillation": (*_BUDGET, *_TEMPLATE, "distillation"),
    REFERENCE: (*_BUDGET, *_TEMPLATE),
    PLACEBO: (*_BUDGET, *_TEMPLATE, *_LOSS),
    TEMPLATE: (),
    LABELS: (),
}
# Without a teacher a trial does not depend on what determines one.
_OF_TEACHERS = ("focus", "model", "template", "features", "augment")
_OF_TEACHING = ("student.distillation", "student.teachers", "student.teacher_seeds")


def label_of(arm: str) -> str:
    """An arm's name for people; of an unknown arm its own."""
    return _LABELS.get(arm, arm)


def uses(arm: str, path: str) -> bool:
    """Whether a trial of ``arm`` depends on the setting ``path``, such as ``focus.weight``."""
    section, _, name = path.partition(".")
    if arm == LABELS and path != "augment.dir_folder":
        return section not in _OF_TEACHERS and not path.startswith(_OF_TEACHING)
    return section != "focus" or name.partition(".")[0] in _USED[arm]


def used_focus_settings(arm: str, focus: FocusConfig) -> dict[str, Any]:
    """The settings of ``focus`` that the second stage of ``arm`` depends on, and their values."""
    settings = settings_of_arm(arm, focus).model_dump()
    used = {name: settings[name] for name in _USED[arm]}
    if used.get("template_logits") != "cross_fitted":
        used.pop("folds", None)
    return used


def settings_of_arm(arm: str, focus: FocusConfig) -> FocusConfig:
    """The settings that the second stage of ``arm`` trains with.

    They are ``focus`` itself, except for ``reference``: its loss has the paper's settings (weight
    1, entropy weight 1, threshold 1 / C, temperature 2, label smoothing 0.1), which are the
    defaults, whatever a search has found.
    """
    if arm != REFERENCE:
        return focus
    paper = FocusConfig()
    return focus.model_copy(update={name: getattr(paper, name) for name in _LOSS})

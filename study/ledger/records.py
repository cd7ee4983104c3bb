"""Types of the small JSON files that a trial's folder holds."""

from typing import Any, Literal, NotRequired, TypedDict, get_args

Status = Literal["finished", "stopped", "failed", "running", "pending"]
Phase = Literal["search", "controls", "confirm"]
PHASES: tuple[Phase, ...] = get_args(Phase)
Half = Literal["select", "report"]  # of the test split


class TrialRecord(TypedDict):
    """``trial.json``."""

    trial: str
    phase: NotRequired[Phase]  # older studies lack it
    arm: str
    stratum: Any
    index: int
    seed: int
    parameters: dict[str, Any]
    tuning: NotRequired[bool]  # of a control arm's own search
    judged_on: NotRequired[Half | None]  # of a confirmation; older studies lack it
    look: NotRequired[int | None]  # likewise
    teacher_seeds: NotRequired[list[int]]  # of the ensemble that teaches its student


class StartRecord(TypedDict):
    """``started.json``, of the last attempt."""

    attempts: int
    at: str
    host: str
    pid: int


class EndRecord(TypedDict):
    """``ended.json``."""

    status: Status
    error: str | None
    at: str


class ResultRecord(TypedDict, total=False):
    """``result.json``, as ``focusnet.trial.result.TrialResult`` documents it."""

    metrics: dict[str, float]
    template_key: str | None
    template_reused: bool | None
    teacher_key: str | None  # these four in trials with a student
    teacher_reused: bool | None
    student_key: str | None
    student_reused: bool | None
    clips: dict[str, int]
    skipped: list[str]

"""The errors a user can cause; each holds every problem found, so that one run shows them all."""

from collections.abc import Iterable


class FocusNetError(Exception):
    """A problem the user can fix; commands print it without a traceback and exit with status 2."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type["FocusNetError"], tuple[list[str]]]:
        # Ray workers and process pools send errors between processes, where pickle rebuilds them.
        return type(self), (self.problems,)


class ConfigError(FocusNetError):
    """A setting breaks its rule: each problem names the YAML path, the rule and the value."""


class DataError(FocusNetError):
    """The data set, the audio or the weights are not what the settings say they are."""


class TrainingError(FocusNetError):
    """Training failed and would fail in the same way again (a non-finite loss)."""


class GpuMemoryError(FocusNetError):
    """A GPU has too little free memory; the problem says what would fit."""


class DiskFullError(FocusNetError):
    """A disk is full; the problem names the folder. With room there, the same command resumes."""


class ReportNotDelivered(SystemExit):
    """Raised by a report to end a trial when nobody received it: it is reported again later."""

"""Sends runs to Trackio: a folder on this machine, or a Space of Hugging Face."""

import contextlib
import io
from typing import Any

import trackio

from study.tracking.runs import TrackedRun


class TrackioTracker:
    """Runs in a project, grouped by study and stratum."""

    def __init__(self, *, project: str, space_id: str | None) -> None:
        self.destination = f"trackio {space_id or ''}/{project}"
        self._project, self._space_id = project, space_id
        self._open: dict[str, Any] = {}

    def send(self, run: TrackedRun, first: int) -> None:
        """Log steps; their number is the step."""
        open_run = self._open.get(run.trial) or self._begin(run)
        self._open[run.trial] = open_run
        for number, step in enumerate(run.steps[first:], first):
            open_run.log(dict(step), step=number)

    def _begin(self, run: TrackedRun) -> Any:
        with contextlib.redirect_stdout(io.StringIO()):  # a banner
            return trackio.init(
                project=self._project,
                name=f"{run.study}-{run.trial}",
                group=run.group,
                space_id=self._space_id,
                config=dict(run.config),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def end(self, run: TrackedRun) -> None:
        """Log the final metrics under names of their own, and finish the run."""
        open_run = self._open.pop(run.trial)
        open_run.log({f"final/{name}": v for name, v in run.summary.items()}, step=len(run.steps))
        self._finish(open_run)

    def close(self) -> None:
        """Send what is left of the runs that go on at the next resume."""
        for open_run in self._open.values():
            self._finish(open_run)

    @staticmethod
    def _finish(open_run: Any) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            open_run.finish()

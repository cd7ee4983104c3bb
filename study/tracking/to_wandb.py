"""Sends runs to Weights & Biases, or with WANDB_MODE=offline to a folder for ``wandb sync``."""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("WANDB_SILENT", "true")  # read at the import; else it asks for a key
import wandb

from study.tracking.runs import TrackedRun


class WandbTracker:
    """Runs in a project, grouped by study and stratum.

    Neither code nor the state of git, the console or the machine is sent.
    """

    def __init__(self, folder: Path, *, project: str, entity: str | None) -> None:
        """``folder``: the study's, where what is not sent yet is kept."""
        self.destination = f"wandb {entity or ''}/{project}"
        self._folder, self._project, self._entity = folder, project, entity
        self._open: dict[str, Any] = {}

    def send(self, run: TrackedRun, first: int) -> None:
        """Log steps against the epoch of their stage."""
        open_run = self._open.get(run.trial) or self._begin(run)
        self._open[run.trial] = open_run
        for number, step in enumerate(run.steps[first:], first):
            open_run.log(dict(step), step=number)  # W&B drops a step that it has already

    def _begin(self, run: TrackedRun) -> Any:
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            save_code=False,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
        )
        begun = wandb.init(
            project=self._project,
            entity=self._entity,
            # Unique in the project, which several studies may share.
            id=f"{run.study}-{run.trial}"[-120:],
            name=run.trial,
            group=run.group,
            job_type=run.config["phase"],
            config=dict(run.config),
            dir=str(self._folder),
            resume="allow",
            reinit="create_new",
            settings=settings,
        )
        for stage in ("template", "focus", "student"):
            begun.define_metric(f"{stage}/*", step_metric=f"{stage}/epoch")
        return begun

    def end(self, run: TrackedRun) -> None:
        """Write the summary and finish the run."""
        open_run = self._open.pop(run.trial)
        open_run.summary.update(dict(run.summary))
        open_run.finish(exit_code=1 if run.status == "failed" else 0)

    def close(self) -> None:
        """Let go of the runs that go on at the next resume."""
        for open_run in self._open.values():
            open_run.finish()

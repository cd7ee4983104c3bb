"""Sends runs to MLflow: a server, or a database file in the study's folder."""

import logging
import os
import time
from pathlib import Path

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from study.tracking.runs import TrackedRun

_TRIAL = "focusnet.trial"
_STEPS = "steps"  # metric: number of steps that the run has; sent last
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


class MlflowTracker:
    """Runs in an experiment, found again by a tag."""

    def __init__(
        self, folder: Path, study: str, *, experiment: str | None, tracking_uri: str | None
    ) -> None:
        for name in ("mlflow", "alembic"):  # they tell how they make a database
            logging.getLogger(name).setLevel(logging.ERROR)
        in_folder = f"sqlite:///{folder / 'mlflow.db'}"
        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or in_folder
        self._experiment = experiment or study
        self.destination = f"mlflow {'' if uri == in_folder else uri}/{self._experiment}"
        self._client = MlflowClient(uri)
        self._runs: dict[str, str] = {}  # id of each trial's run

    def send(self, run: TrackedRun, first: int) -> None:
        """Log the steps that the run lacks, by its own count: a kill may have kept ours back."""
        run_id = self._runs.get(run.trial) or self._find_or_create(run)
        self._runs[run.trial] = run_id
        there = self._client.get_run(run_id).data.metrics.get(_STEPS, 0.0)
        first = max(first, int(there))
        now = int(time.time() * 1000)
        for number, step in enumerate(run.steps[first:], first):
            stage = next(name for name in step if name.endswith("/epoch"))
            metrics = [Metric(name, value, now, int(step[stage])) for name, value in step.items()]
            count = Metric(_STEPS, number + 1.0, now, number)
            self._client.log_batch(run_id, metrics=[*metrics, count])

    def _find_or_create(self, run: TrackedRun) -> str:
        experiment = self._client.get_experiment_by_name(self._experiment)
        if experiment is None:
            experiment_id = self._client.create_experiment(self._experiment)
        else:
            experiment_id = experiment.experiment_id
        name = f"{run.study}/{run.trial}"
        found = self._client.search_runs([experiment_id], f"tags.`{_TRIAL}` = '{name}'")
        if found:
            run_id = found[0].info.run_id
            self._client.update_run(run_id, status="RUNNING")
            return run_id
        tags = {_TRIAL: name, "study": run.study, "group": run.group}
        run_id = self._client.create_run(experiment_id, tags=tags, run_name=run.trial).info.run_id
        params = [Param(key, str(value)) for key, value in run.config.items()]
        self._client.log_batch(run_id, params=params)
        return run_id

    def end(self, run: TrackedRun) -> None:
        """Log the final metrics and the status."""
        run_id = self._runs.pop(run.trial)
        now = int(time.time() * 1000)
        numbers = {n: v for n, v in run.summary.items() if isinstance(v, int | float)}
        # Under names of their own: the curves end with the last epoch.
        metrics = [Metric(f"final/{name}", value, now, 0) for name, value in numbers.items()]
        texts = {n: v for n, v in run.summary.items() if isinstance(v, str)}
        tags = [RunTag(name, value[:5000]) for name, value in texts.items()]
        self._client.log_batch(run_id, metrics=metrics, tags=tags)
        self._client.set_terminated(run_id, _STATUS[run.status])

    def close(self) -> None:
        """Nothing is open: runs that go on stay RUNNING."""

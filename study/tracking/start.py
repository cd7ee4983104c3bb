"""Checks that the trackers a space names are installed, and starts them."""

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path

from focusnet.errors import ConfigError
from study.space.space import Space
from study.tracking.runs import Tracker
from study.tracking.sender import Tracking

PACKAGES = {"wandb": "wandb", "mlflow": "mlflow-skinny", "trackio": "trackio"}


def check_trackers(space: Space) -> None:
    """Check that the packages are there.

    Raises:
        ConfigError: all that are missing.
    """
    problems = [
        f"tracking.{name}: needs the package {name}, which is not installed: pip install {package}"
        for name, package in PACKAGES.items()
        if getattr(space.tracking, name) is not None and importlib.util.find_spec(name) is None
    ]
    if problems:
        raise ConfigError(problems)


def start_tracking(space: Space, folder: Path) -> Tracking:
    """Start a thread for each tracker of the space."""
    made: dict[str, Callable[[], Tracker]] = {}
    if space.tracking.wandb is not None:
        made["wandb"] = partial(_wandb, folder, space)
    if space.tracking.mlflow is not None:
        made["mlflow"] = partial(_mlflow, folder, space)
    if space.tracking.trackio is not None:
        made["trackio"] = partial(_trackio, space)
    return Tracking(space, folder, made)


def _wandb(folder: Path, space: Space) -> Tracker:
    from study.tracking.to_wandb import WandbTracker

    assert space.tracking.wandb is not None
    return WandbTracker(folder, **space.tracking.wandb.model_dump())


def _mlflow(folder: Path, space: Space) -> Tracker:
    from study.tracking.to_mlflow import MlflowTracker

    assert space.tracking.mlflow is not None
    return MlflowTracker(folder, space.name, **space.tracking.mlflow.model_dump())


def _trackio(space: Space) -> Tracker:
    from study.tracking.to_trackio import TrackioTracker

    assert space.tracking.trackio is not None
    return TrackioTracker(**space.tracking.trackio.model_dump())

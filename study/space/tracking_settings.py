"""Settings of experiment trackers; the sentence under a field is its documentation."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from focusnet.config import Settings

Name = Annotated[str, Field(min_length=1)]


class WandbSettings(Settings):
    """Weights & Biases; its key comes from `wandb login` or `WANDB_API_KEY`."""

    project: Name
    """Project."""
    entity: Name | None = None
    """Team or user; `null`: the default of the account."""


class MlflowSettings(Settings):
    """MLflow; credentials come from `MLFLOW_TRACKING_USERNAME` and the like."""

    experiment: Name | None = None
    """Experiment; `null`: the study's name."""
    tracking_uri: Name | None = None
    """Address of the tracking server; `null`: `$MLFLOW_TRACKING_URI`, else `mlflow.db` in the
    study's folder."""

    @field_validator("tracking_uri")
    @classmethod
    def _without_password(cls, uri: str | None) -> str | None:
        if uri is not None and urlsplit(uri).password is not None:
            raise ValueError(
                "must not hold a password, which would be recorded with the results; MLflow takes "
                "it from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        return uri


class TrackioSettings(Settings):
    """Trackio; it keeps its data in `TRACKIO_DIR`, or in a Space of Hugging Face."""

    project: Name
    """Project."""
    space_id: Name | None = None
    """Space of Hugging Face, such as `me/asc`; `null`: on this machine."""


class TrackingSettings(Settings):
    """Experiment trackers: each gets a run for every trial. They are optional packages."""

    wandb: WandbSettings | None = None
    mlflow: MlflowSettings | None = None
    trackio: TrackioSettings | None = None

"""A teacher's logits on its training clips, as the student code of CP-JKU reads them.

That code (github.com/fschmid56/cpjku_dcase23, datasets/dcase23.py, and the DCASE24 baseline's
descendants) loads one tensor with a row for each row of ``meta.csv``, in that order, and takes the
rows of its training clips. Rows of other clips hold NaN here: a student that reads one, by a wrong
order or a larger subset than the teacher's, gets a loss that is not a number.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from focusnet.errors import ConfigError, DataError
from focusnet.export.choose import Chosen
from focusnet.exported import load_model
from focusnet.system.atomic import replacing
from focusnet.training.loop import predict_logits
from focusnet.trial.data import TrialData, prepare_data


def training_logits(
    teachers: Sequence[tuple[Chosen, Path]], device: torch.device, root: Path | None = None
) -> tuple[NDArray[np.float32], list[str]]:
    """Mean logits (rows of ``meta.csv``, scenes) of ``teachers``, and the names of these rows.

    Args:
        teachers: trials and the folders they were exported to.
        root: of the data set; default: where the trials found it.

    Raises:
        ConfigError: teachers of different training clips or scenes.
        DataError: the data set is not there, or not the one that they were trained on.
    """
    total: NDArray[np.float64] | None = None
    names: list[str] = []
    train: list[str] = []
    for chosen, folder in teachers:
        data = _data(chosen, root)
        mine = data.names(data.train)
        if total is None:
            names = list(data.dataset.clips["filename"])
            train = mine
            total = np.full((len(names), len(chosen.classes)), np.nan)
            total[data.train] = 0.0
        elif train != mine or teachers[0][0].classes != chosen.classes:
            raise ConfigError(
                f"{chosen.results}: {chosen.id} was trained on other clips or scenes than "
                f"{teachers[0][0].id}; an ensemble needs teachers of one subset "
                "(one that is drawn, for want of an official list, differs from seed to seed)"
            )
        model = load_model(folder)
        compute = chosen.trial.compute
        batches = data.batches(data.train, compute.eval_batch_size)
        total[data.train] += predict_logits(
            model.passt, model.mel, batches, device=device, precision=compute.precision
        )
    if total is None:
        raise ValueError("no teachers")
    return (total / len(teachers)).astype(np.float32), names


def _data(chosen: Chosen, root: Path | None) -> TrialData:
    """The data of a trial as it is now, which must be as it was."""
    # Initial weights and impulse responses are for training only and need not be here.
    trial = chosen.trial.model_copy(
        update={
            "model": chosen.trial.model.model_copy(update={"weights": "none"}),
            "augment": chosen.trial.augment.model_copy(update={"dir_folder": None}),
        }
    )
    if root is not None:
        moved = trial.data.model_copy(update={"root": str(root)})
        trial = trial.model_copy(update={"data": moved})
    data = prepare_data(trial)
    found, trained = len(data.train), chosen.result["clips"]["train"]
    tested = {name for rows in data.halves.values() for name in data.names(rows)}
    same_test = tested == set(chosen.predictions()["filename"])
    if data.dataset.classes != chosen.classes or found != trained or not same_test:
        raise DataError(
            f"{data.dataset.root}: is not the data set that {chosen.id} was trained on: "
            f"{trained:,} training clips and the scenes {', '.join(chosen.classes)}; "
            f"received {found:,} and {', '.join(data.dataset.classes)}"
            f"{'' if same_test else ', and other test clips'}"
        )
    return data


def write_logits(path: Path, logits: NDArray[np.float32]) -> None:
    """Write the tensor (N, C); ``torch.load(path, weights_only=True)`` reads it."""
    with replacing(path) as part:
        torch.save(torch.from_numpy(logits), part)

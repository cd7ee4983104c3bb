"""Computes a teacher's logits on its training clips, in the forms that student code reads.

The code of CP-JKU (github.com/fschmid56/cpjku_dcase23, datasets/dcase23.py, and the code derived
from the DCASE24 baseline) loads one tensor with a row for each row of ``meta.csv``, in that order,
and takes the rows of its training clips. All other rows are NaN. So a student that reads a wrong
row, because of another order or a larger subset than the teacher's, gets a NaN loss. Other code
has a row for each row of its ``split{percent}.csv``, or looks clips up by file name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from focusnet.dataset.layout import read_table
from focusnet.dataset.subsets import official_list
from focusnet.errors import ConfigError, DataError
from focusnet.export.choose import ChosenTrial
from focusnet.exported import SceneClassifier, load_model
from focusnet.system.atomic import replacing, write_text
from focusnet.training.loop import predict_logits
from focusnet.trial.data import TrialData, prepare_data

Format = Literal["meta", "split", "tsv"]


class TeacherLogits(NamedTuple):
    """Logits of a teacher on its training clips.

    Attributes:
        frame: a row for each row of ``meta.csv`` by file name, a column for each scene; NaN for
            clips that are not training clips.
        split: file names in the order of the list of training clips.
        drawn: whether that list was drawn, because the data set has no official one.
        percent: of the training clips, which the list has.
    """

    frame: pd.DataFrame
    split: list[str]
    drawn: bool
    percent: int


def training_logits(
    teachers: Sequence[tuple[ChosenTrial, Path]], device: torch.device, root: Path | None = None
) -> TeacherLogits:
    """Compute the mean logits of ``teachers`` on their training clips.

    Args:
        teachers: trials and the folders they were exported to.
        device: that computes.
        root: folder of the data set; by default the one in the trials' settings.

    Raises:
        ConfigError: the teachers were trained on different clips or scenes.
        DataError: the data set is missing, or is not the one that they were trained on.
    """
    total: NDArray[np.float64] | None = None
    names: list[str] = []
    train: list[str] = []
    for chosen, folder in teachers:
        data = _data(chosen, root)
        own_train = data.names(data.train)
        if total is None:
            names = list(data.dataset.clips["filename"])
            train = own_train
            total = np.full((len(names), len(chosen.classes)), np.nan)
            total[data.train] = 0.0
        elif train != own_train or teachers[0][0].classes != chosen.classes:
            raise ConfigError(
                f"{chosen.results}: {chosen.id} was trained on other clips or scenes than "
                f"{teachers[0][0].id}; the teachers of an ensemble need the same subset "
                "(a subset without an official list is drawn, and depends on the seed)"
            )
        model = load_model(folder)
        assert isinstance(model, SceneClassifier)  # a student teaches nobody
        compute = chosen.trial.compute
        batches = data.batches(data.train, compute.eval_batch_size)
        total[data.train] += predict_logits(
            model.passt, model.mel, batches, device=device, precision=compute.precision
        )
    if total is None:
        raise ValueError("no teachers")
    mean = (total / len(teachers)).astype(np.float32)
    frame = pd.DataFrame(mean, index=pd.Index(names, name="filename"), columns=data.dataset.classes)
    percent = teachers[0][0].trial.data.subset
    official = official_list(data.dataset.root, percent)
    if not official.is_file():
        return TeacherLogits(frame, train, True, percent)
    listed = list(read_table(official, ("filename",))["filename"])
    return TeacherLogits(frame, listed, False, percent)


def _data(chosen: ChosenTrial, root: Path | None) -> TrialData:
    """Load a trial's data, and check that it is what the trial was trained on."""
    # Initial weights and impulse responses are used in training only and may be missing here.
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
            f"expected {trained:,} training clips and the scenes {', '.join(chosen.classes)}; "
            f"found {found:,} and {', '.join(data.dataset.classes)}"
            f"{'' if same_test else ', and different test clips'}"
        )
    return data


def write_logits(folder: Path, teacher: TeacherLogits, form: Format) -> None:
    """Write the logits into ``folder``.

    ``meta`` and ``split``: ``logits.pt``, a tensor (N, C) that ``torch.load(path,
    weights_only=True)`` reads, and ``filenames.txt``, the clips of its rows; with ``split`` also a
    drawn list of training clips, ``split{percent}.csv``. ``tsv``: ``logits.tsv``, the training
    clips by file name.
    """
    if form == "tsv":
        known = teacher.frame.dropna()
        write_text(folder / "logits.tsv", known.to_csv(sep="\t", lineterminator="\n"))
        return
    frame = teacher.frame.loc[teacher.split] if form == "split" else teacher.frame
    with replacing(folder / "logits.pt") as part:
        torch.save(torch.from_numpy(np.ascontiguousarray(frame.to_numpy())), part)
    names = "".join(f"{name}\n" for name in frame.index)
    write_text(folder / "filenames.txt", names)
    if form == "split" and teacher.drawn:
        write_text(folder / f"split{teacher.percent}.csv", "filename\n" + names)

"""Data frames of a study for questions of one's own; ``analysis.open_study`` opens one.

Accuracies in tables are fractions from 0 to 1. Effects are in percentage points.
"""

import difflib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml

from analysis.tables.predictions import LOGIT, STUDENT
from focusnet.config import cache_folder
from focusnet.config.trial import SyntheticConfig
from focusnet.dataset.layout import device_group
from focusnet.synthetic.generate import dataset_name

if TYPE_CHECKING:
    from analysis.inference.comparisons import Claims, Comparison
    from analysis.stratum import Stratum

PROBABILITY = "probability/"


class NoSuchTrial(LookupError):
    """The study has no such trial, or no predictions of it; the message says which."""


class StudyFrames:
    """The tables of a study.

    Attributes:
        trials: one row for each trial: ``trial`` (its name), ``phase`` (``search``, ``controls``,
            ``confirm``), ``arm``, ``seed``, ``status``, each searched parameter under its path
            such as ``focus.weight``, and metrics such as ``focus/report/macro_accuracy`` (a
            fraction) and ``seconds``. docs/results.md has all columns.
        epochs: one row for each epoch of each stage of each trial: ``trial``, ``stage``, ``epoch``,
            ``epochs``, ``seconds`` since the stage began, ``<stage>/train/loss`` and its terms
            (nats), ``<stage>/select/<metric>``.
    """

    if TYPE_CHECKING:
        folder: Path
        space: dict[str, Any]
        trials: pd.DataFrame
        epochs: pd.DataFrame
        strata: tuple[Stratum, ...]

        @property
        def claims(self) -> Claims:
            """FocusNet against every other arm."""

        @property
        def student_claims(self) -> Claims | None:
            """As ``claims``, of the students."""

    def predictions(self, trial: str | pd.Series) -> pd.DataFrame:
        """Predictions of one trial: a row for each test clip and stage.

        Args:
            trial: its name, or its row in ``trials``.

        Returns:
            ``filename`` (relative to the data set), ``stage`` (``template``, ``focus``,
            ``student``), ``half`` of the test split (``select`` or ``report``), ``scene`` (the true
            one), ``device``, ``group`` of the device (``real``, ``seen`` or ``unseen`` in training;
            None for devices that TAU does not have), ``city``, ``location``, ``predicted`` scene,
            ``correct``, and ``probability/<scene>`` (softmax of the logits at temperature 1).

        Raises:
            NoSuchTrial: there is no such trial, or it has no predictions.
        """
        name = str(trial["trial"] if isinstance(trial, pd.Series) else trial)
        path = self.folder / "predictions" / f"{name}.parquet"
        if not path.is_file():
            raise NoSuchTrial(self._why_no_predictions(name))
        return _described(pd.read_parquet(path))

    def _why_no_predictions(self, name: str) -> str:
        own = self.trials[self.trials["trial"] == name]
        if len(own):
            return f"{name}: has no predictions, because it is {own.iloc[0]['status']}"
        close = difflib.get_close_matches(name, list(self.trials["trial"].astype(str)), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        return f"{name}: the study has no such trial{hint}"

    def confirmed(self, arm: str = "focusnet") -> pd.DataFrame:
        """Predictions of the winners, or of their controls, trained again with fresh seeds.

        Args:
            arm: ``focusnet`` or a control arm.

        Returns:
            As ``predictions``, on the half of the test split that each training is judged on (its
            settings were not chosen there), with ``stratum`` and ``seed``. Without any such
            training it is empty.
        """
        frames = [
            self._judged(trial).assign(stratum=stratum.value, seed=int(trial["seed"]))
            for stratum in self.strata
            for trial in _finished(stratum.confirmation.trials, arm)
        ]
        columns = ["filename", "stage", "half", "scene", "device", "group", "city", "location"]
        empty = pd.DataFrame(columns=[*columns, "predicted", "correct", "stratum", "seed"])
        return pd.concat(frames, ignore_index=True) if frames else empty

    def winner_predictions(self) -> pd.DataFrame:
        """As ``confirmed``; without fresh seeds, the winners' trials of the search on ``report``.

        Empty before any trial has finished.
        """
        confirmed = self.confirmed()
        if len(confirmed):
            return confirmed
        frames = [
            clips[clips["half"] == "report"].assign(
                stratum=stratum.value, seed=int(stratum.winner["seed"])
            )
            for stratum in self.strata
            if stratum.winner is not None and stratum.clips is not None
            for clips in [self.predictions(stratum.winner)]
        ]
        return pd.concat(frames, ignore_index=True) if frames else confirmed

    def _judged(self, trial: Mapping[str, Any]) -> pd.DataFrame:
        from analysis.inference.confirmation import half_of

        clips = self.predictions(str(trial["trial"]))
        return clips[clips["half"] == half_of(trial)]

    def effects(self) -> pd.DataFrame:
        """What FocusNet adds over each arm it is compared with: the numbers of the report.

        Returns:
            One row for each comparison and stratum, and for the average over strata:
            ``network`` (``teacher``: second stages; ``student``), ``against`` (``template`` or an
            arm), ``stratum`` (its value, or ``average``), ``effect`` in percentage points,
            ``low`` and ``high`` (95 %, new locations), ``low_here`` and ``high_here`` (95 %, these
            locations), ``p`` (two-sided, new locations, not corrected), ``seeds``, ``verdict``
            (empty where none is given). Empty without fresh seeds.
        """
        rows: list[dict[str, Any]] = []
        for network, claims in (("teacher", self.claims), ("student", self.student_claims)):
            for one in claims.comparisons.values() if claims is not None else ():
                rows += _effect_rows(network, one)
        columns = ["network", "against", "stratum", "effect", "low", "high", "low_here",
                   "high_here", "p", "seeds", "verdict"]  # fmt: skip
        return pd.DataFrame(rows, columns=columns)

    def confusions(
        self, trial: str | pd.Series | None = None, *, stratum: Any = None, stage: str = "focus"
    ) -> pd.DataFrame:
        """Which scenes are taken for which.

        Args:
            trial: whose predictions on ``report`` to count; None: those of the winner's trainings
                with fresh seeds, together, on the halves that they are judged on.
            stratum: of that winner; None: all strata together.
            stage: ``template``, ``focus`` or ``student``.

        Returns:
            One row for each pair of scenes: ``scene`` (the true one), ``predicted``, ``clips``
            (their number) and ``share`` of the clips of the true scene.
            ``.pivot(index="scene", columns="predicted", values="share")`` makes it a matrix.

        Raises:
            NoSuchTrial: see ``predictions``.
        """
        if trial is None:
            clips = self.confirmed()
            clips = clips if stratum is None else clips[clips["stratum"] == stratum]
        else:
            clips = self.predictions(trial)
            clips = clips[clips["half"] == "report"]
        clips = clips[clips["stage"] == stage]
        scenes = sorted(set(clips["scene"]) | set(clips["predicted"]))
        counts = pd.crosstab(clips["scene"], clips["predicted"]).reindex(
            index=scenes, columns=scenes, fill_value=0
        )
        counts.index.name, counts.columns.name = "scene", "predicted"
        pairs = counts.stack().rename("clips").reset_index()
        total = pairs.groupby("scene")["clips"].transform("sum")
        return pairs.assign(share=pairs["clips"] / total.where(total > 0))

    def audio(self, filename: str) -> Path:
        """Where the recording of a clip is, as far as this machine knows; it need not be there."""
        return self._data_root / filename

    @cached_property
    def _data_root(self) -> Path:
        data = dict((self.space.get("trial") or {}).get("data") or {})
        for path in sorted(self.folder.glob("trials/*/config.yaml"))[:1]:
            data |= yaml.safe_load(path.read_text(encoding="utf-8"))["data"]
        root = str(data.get("root", ""))
        if root != "synthetic":
            return Path(root)
        made = SyntheticConfig.model_validate(data.get("synthetic") or {})
        return cache_folder(data.get("cache")) / "synthetic" / dataset_name(**made.model_dump())


def _finished(trials: pd.DataFrame, arm: str) -> Iterator[dict[str, Any]]:
    own = trials[(trials["arm"] == arm) & (trials["status"] == "finished")]
    yield from own.to_dict("records")


def _described(predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions as ``StudyFrames.predictions`` returns them."""
    columns = [name for name in predictions.columns if name.startswith(LOGIT)]
    scenes = [name.removeprefix(LOGIT) for name in columns]
    logits = predictions[columns].to_numpy(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    clips = predictions.drop(columns=columns)
    clips["group"] = clips["device"].map(device_group)
    clips["city"] = clips["location"].astype(str).str.rpartition("-")[0]
    clips["predicted"] = np.array(scenes, dtype=object)[logits.argmax(axis=1)]
    clips["correct"] = clips["predicted"] == clips["scene"]
    probabilities = pd.DataFrame(
        shares, columns=[f"{PROBABILITY}{scene}" for scene in scenes], index=clips.index
    )
    return clips.join(probabilities)


def _effect_rows(network: str, one: "Comparison") -> Iterator[dict[str, Any]]:
    parts: list[tuple[Any, Any, int, str]] = []
    if one.average is not None:
        parts.append(("average", one.average, sum(one.seeds.values()), one.verdict))
    for stratum, effect in one.by_stratum.items():
        verdict = one.stratum_verdicts.get(stratum, "")
        parts.append((stratum, effect, one.seeds[stratum], verdict))
    for stratum, effect, seeds, verdict in parts:
        (low, high), (low_here, high_here) = effect.interval(), effect.interval(locations=False)
        numbers = {
            "effect": effect.estimate, "low": low, "high": high, "low_here": low_here,
            "high_here": high_here, "p": effect.p_value(),
        }  # fmt: skip
        yield {
            "network": STUDENT if network == "student" else network,
            "against": one.against,
            "stratum": "all trials" if stratum is None else stratum,
            **{name: float(value[0]) for name, value in numbers.items()},
            "seeds": seeds,
            "verdict": verdict,
        }

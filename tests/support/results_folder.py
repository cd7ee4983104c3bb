"""Writes small results folders with known numbers, in the study's format."""

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

SCENES = ("bus", "park", "tram")
SELECT = "focus/select/macro_accuracy"
SPACE: dict[str, Any] = {
    "name": "small",
    "search": {
        "algorithm": "random",
        "trials": 3,
        "stratify": "data.subset",
        "metric": SELECT,
        "seed": 7,
        "scheduler": {"name": "none", "grace_epochs": 3, "reduction_factor": 3.0},
    },
    "resources": {"cpu": 1.0, "gpu": 0.0, "max_concurrent": None},
    "space": {
        "data.subset": {"choice": [25, 100]},
        "focus.weight": {"loguniform": [0.1, 10.0]},
        "focus.threshold": {"uniform": [0.02, 0.5]},
    },
    "trial": {"data": {"root": "synthetic"}},
}
RUN: dict[str, Any] = {
    "command": ["python", "study/run.py", "--space", "small.yaml"],
    "started": "2026-01-02T03:00:00+00:00",
    "ended": "2026-01-02T03:06:00+00:00",
    "outcome": "done",
    "python": "3.11.7",
    "packages": {"torch": "2.11.0", "ray": "2.60.0", "absent": None},
    "git": {"revision": "0123456789abcdef", "dirty": False},
    "hardware": {
        "system": "Linux 6",
        "cpu": "A processor",
        "cores": 2,
        "memory_bytes": 8 * 2**30,
        "gpus": [],
    },
    "nodes": [{"CPU": 2.0}],
}
DATA = {
    "root": "synthetic",
    "sample_rate": 32000,
    "fingerprint": "fedcba",
    "clips": 60,
    "classes": list(SCENES),
    "skipped": ["audio/x.wav: empty", "audio/y.wav: stereo"],
}

# One clip per line: scene, location, device, scene predicted by the template and by FocusNet.
# Template: bus 2 of 4, park 3 of 4, tram 1 of 2: 58.3 % macro. FocusNet: 3 of 4, 3 of 4, 2 of 2:
# 83.3 %. The gain is 25 points.
REPORT = (
    ("bus", "lyon-1", "a", "bus", "bus"),
    ("bus", "lyon-1", "a", "tram", "bus"),
    ("bus", "lyon-2", "b", "bus", "bus"),
    ("bus", "lyon-2", "b", "tram", "tram"),
    ("park", "lyon-3", "a", "bus", "park"),
    ("park", "lyon-4", "s1", "park", "park"),
    ("park", "lyon-4", "s1", "park", "tram"),
    ("park", "lyon-4", "s1", "park", "park"),
    ("tram", "lyon-5", "a", "bus", "tram"),
    ("tram", "lyon-6", "b", "tram", "tram"),
)


def predictions(
    report: Iterable[tuple[str, str, str, str, str]] = REPORT,
    scenes: tuple[str, ...] = SCENES,
    select: Iterable[tuple[str, str, str, str, str]] | None = None,
) -> pd.DataFrame:
    """Predictions as in ``predictions/<trial>.parquet``; by default all are wrong on select."""
    rows = []
    report = list(report)
    wrong_ones = [(*line[:3], "", "") for line in report]
    for half, lines in (("select", wrong_ones if select is None else select), ("report", report)):
        for place, (scene, location, device, *predicted) in enumerate(lines):
            for stage, guess in zip(("template", "focus"), predicted, strict=True):
                wrong = next(other for other in scenes if other != scene)
                logits = {f"logit/{one}": float(one == (guess or wrong)) for one in scenes}
                rows.append(
                    {
                        "filename": f"audio/{half}-{place}.wav",
                        "stage": stage,
                        "half": half,
                        "scene": scene,
                        "device": device,
                        "location": location,
                        **logits,
                    }
                )
    return pd.DataFrame(rows)


def finished(
    name: str,
    subset: int,
    *,
    weight: float = 1.0,
    threshold: float = 0.1,
    select: float = 0.6,
    **metrics: float,
) -> dict[str, Any]:
    """A row of ``trials.parquet``; the template has 50 % on select."""
    return {
        "trial": name,
        "arm": "focusnet",
        "seed": 7,
        "status": "finished",
        "error": None,
        "data.subset": subset,
        "focus.weight": weight,
        "focus.threshold": threshold,
        "seconds": 90.0,
        "template/select/macro_accuracy": 0.5,
        SELECT: select,
        "gain/select/macro_accuracy": select - 0.5,
        "template/report/macro_accuracy": 0.4,
        "focus/report/macro_accuracy": 0.45,
        "template/report/group/real": 0.5,
        "focus/report/group/real": 0.75,
        "focus/warm_classes": 1.5,
        "focus/only_label_warm": 0.25,
        "template_key": f"key{subset}",
        "template_reused": True,
        **metrics,
    }


def unfinished(name: str, subset: int, status: str, error: str | None = None) -> dict[str, Any]:
    return {
        "trial": name,
        "arm": "focusnet",
        "seed": 7,
        "status": status,
        "error": error,
        "data.subset": subset,
        "focus.weight": 2.0,
        "focus.threshold": 0.2,
    }


def epochs(trial: str, stage: str, accuracies: Iterable[float]) -> list[dict[str, Any]]:
    accuracies = list(accuracies)
    return [
        {
            "trial": trial,
            "arm": "focusnet",
            "stage": stage,
            "epoch": epoch,
            "epochs": len(accuracies),
            f"{stage}/select/macro_accuracy": accuracy,
        }
        for epoch, accuracy in enumerate(accuracies, start=1)
    ]


def write_study(
    folder: Path,
    trials: list[dict[str, Any]] | None,
    *,
    space: Mapping[str, Any] = SPACE,
    lines: list[dict[str, Any]] | None = None,
    predicted: Mapping[str, pd.DataFrame] | None = None,
    run: Mapping[str, Any] | None = RUN,
) -> Path:
    """Write a results folder; a file that is None is left out."""
    folder.mkdir(parents=True)
    (folder / "space.yaml").write_text(yaml.safe_dump(dict(space), sort_keys=False))
    if run is not None:
        record = {"runs": [dict(run)], "seed": 7, "data": [DATA]}
        (folder / "provenance.json").write_text(json.dumps(record))
    if trials is not None:
        pd.DataFrame(trials).to_parquet(folder / "trials.parquet", index=False)
        pd.DataFrame(lines or [], columns=None if lines else ["trial", "stage"]).to_parquet(
            folder / "epochs.parquet", index=False
        )
    if predicted:
        (folder / "predictions").mkdir()
        for name, frame in predicted.items():
            frame.to_parquet(folder / "predictions" / f"{name}.parquet", index=False)
    return folder


def two_strata(folder: Path) -> Path:
    """A finished study: the winners are ``t25-b`` and ``t100-a``, both with REPORT."""
    trials = [
        finished("t25-a", 25, weight=0.5, select=0.55, template_reused=False),
        finished("t25-b", 25, weight=2.0, threshold=0.3, select=0.7),
        # The best on report, which must not make it the winner.
        finished("t25-c", 25, select=0.6, **{"focus/report/macro_accuracy": 0.99}),
        finished("t100-a", 100, weight=4.0, select=0.8, template_reused=False),
        finished("t100-b", 100, weight=0.2, select=0.5),
        finished("t100-c", 100, weight=1.0, select=0.4),
    ]
    lines = [
        *epochs("t25-b", "template", [0.2, 0.3, 0.5]),
        *epochs("t25-b", "focus", [0.1, 0.4, 0.7]),
        *epochs("t100-a", "template", [0.3, 0.5, 0.5]),
        *epochs("t100-a", "focus", [0.4, 0.9, 0.8]),
    ]
    predicted = {"t25-b": predictions(), "t100-a": predictions()}
    return write_study(folder, trials, lines=lines, predicted=predicted)


def table_rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the first Markdown table under ``heading``: its header, then its rows."""
    lines = text.split(f"## {heading}\n")[1].splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return [table[0], *table[2:]]


CONTROLS = ("cross_entropy", "label_smoothing", "distillation", "reference", "placebo")
FRESH = (8, 9, 10)


def with_followers(
    space: Mapping[str, Any], arms: Iterable[str] = CONTROLS, fresh: Iterable[int] = FRESH
) -> dict[str, Any]:
    """A resolved space with controls and confirmation."""
    follow = {"controls": {"arms": list(arms), "seeds": [7]}, "confirm": {"seeds": list(fresh)}}
    return dict(space) | follow


def follower(phase: str, arm: str, seed: int, winner: Mapping[str, Any], **metrics: Any) -> Any:
    """A row of a trial that follows a search; its name contains the winner's."""
    row = dict(winner) | {"phase": phase, "arm": arm, "seed": seed, "winner": winner["trial"]}
    row["trial"] = f"{phase}-{arm}-{seed}-{winner['trial']}"
    if arm in CONTROLS[:3]:  # they use neither setting
        row |= {"focus.weight": None, "focus.threshold": None}
    return row | metrics


def drawn_clips(
    template: float,
    focus: float,
    *,
    template_seed: list[int],
    focus_seed: list[int],
    scenes: tuple[str, ...] = SCENES,
    locations: int = 4,
    clips: int = 12,
    devices: tuple[str, ...] = ("a", "b", "s1"),
    both_halves: bool = False,
) -> pd.DataFrame:
    """Random predictions, right with given probabilities; a wrong one is the next scene."""
    if both_halves:
        own = [
            drawn_clips(template, focus, template_seed=[*template_seed, half],
                        focus_seed=[*focus_seed, half], scenes=scenes, locations=locations,
                        clips=clips, devices=devices)
            for half in (0, 1)
        ]  # fmt: skip
        parts = [frame[frame["half"] == "report"] for frame in own]
        names = "audio/select-" + parts[1].groupby("stage").cumcount().astype(str) + ".wav"
        select = parts[1].assign(half="select", filename=names)
        return pd.concat([select, parts[0]], ignore_index=True)
    before, after = np.random.default_rng(template_seed), np.random.default_rng(focus_seed)
    lines = []
    for place, scene in enumerate(scenes):
        wrong = scenes[(place + 1) % len(scenes)]
        for location in range(locations):
            for clip in range(clips):
                right = before.random() < template, after.random() < focus
                guesses = [scene if one else wrong for one in right]
                device = devices[clip % len(devices)]
                lines.append((scene, f"{scene}-{location}", device, *guesses))
    return predictions(lines, scenes)


def confirmed_study(
    folder: Path,
    *,
    focus: Mapping[int, float] | None = None,
    arms: Iterable[str] = CONTROLS,
    fresh: tuple[int, ...] = FRESH,
    drop: Iterable[str] = (),
    fail: Iterable[str] = (),
    **shape: Any,
) -> Path:
    """A study with controls and confirmation and random predictions.

    Templates and controls are right in half of the cases; ``focus`` is the accuracy of FocusNet
    with fresh seeds by subset. Trials whose names start with one of ``drop`` are left out, those
    with one of ``fail`` have failed.
    """
    focus = focus or {25: 0.5, 100: 0.5}
    space = copy.deepcopy(SPACE)
    space["space"]["data.subset"] = {"choice": list(focus)}
    trials, predicted, lines = [], {}, []
    for subset, accuracy in focus.items():
        winner = finished(f"t{subset}-a", subset, select=0.8, **{"focus/seconds": 40.0})
        trials += [winner, finished(f"t{subset}-b", subset, weight=0.2, threshold=0.4)]
        predicted[winner["trial"]] = drawn_clips(
            0.5, 0.5, template_seed=[subset, 7], focus_seed=[subset, 7, 0], **shape
        )
        lines += epochs(winner["trial"], "focus", [0.2, 0.5])
        plan = [("controls", arm, 7) for arm in arms]
        plan += [("confirm", arm, seed) for seed in fresh for arm in ("focusnet", *arms)]
        for phase, arm, seed in plan:
            # All arms with the same seed share a template.
            focus_seed = [subset, seed, 1 + ("focusnet", *CONTROLS).index(arm)]
            frame = drawn_clips(
                0.5,
                accuracy if arm == "focusnet" else 0.5,
                template_seed=[subset, seed],
                focus_seed=focus_seed,
                **shape,
            )
            select = {"label_smoothing": 0.55}.get(arm, 0.45) + 0.001 * seed
            row = follower(phase, arm, seed, winner, **{SELECT: select, **_recorded(frame)})
            if row["trial"].startswith(tuple(drop)):
                continue
            if row["trial"].startswith(tuple(fail)):
                row |= {"status": "failed", "error": "ValueError: not finite"}
            else:
                predicted[row["trial"]] = frame
            trials.append(row)
    return write_study(
        folder, trials, space=with_followers(space, arms, fresh), lines=lines, predicted=predicted
    )


def _recorded(frame: pd.DataFrame, halves: Iterable[str] = ("report",)) -> dict[str, float]:
    """The macro accuracies that the study would record; all scenes have equally many clips."""
    logits = [name for name in frame.columns if name.startswith("logit/")]
    guess = frame[logits].idxmax(axis=1).str.removeprefix("logit/")
    found = {}
    for half in halves:
        right = (guess == frame["scene"])[frame["half"] == half]
        for stage, mean in right.groupby(frame["stage"]).mean().items():
            found[f"{stage}/{half}/macro_accuracy"] = float(mean)
    return found


def cross_fitted_study(
    folder: Path,
    *,
    focus: Mapping[int, float] | None = None,
    arms: Iterable[str] = ("label_smoothing", "distillation", "placebo"),
    controls: float = 0.5,
    seeds: Mapping[int, int] | int = 6,
    looks: list[Any] | None = None,
    records: list[dict[str, Any]] | None = None,
    trained: int | None = None,
    fail: Iterable[str] = (),
    confirm: Mapping[str, Any] | None = None,
    **shape: Any,
) -> Path:
    """A study with a fixed search, two winners a stratum, and random predictions.

    Args:
        focus: accuracy of FocusNet with fresh seeds by subset; templates have 0.5.
        controls: accuracy of the controls.
        seeds: of each stratum, by its value or one number for all.
        looks: as ``confirm.looks``; ``records`` as in looks.json.
        trained: the number of the last look that has trials; without looks all have.
        confirm: other settings of the section.
        fail: trials whose names start with one of these have failed.
    """
    focus, arms = focus or {25: 0.5, 100: 0.5}, list(arms)
    space = copy.deepcopy(SPACE)
    space["search"]["algorithm"] = "sobol"
    space["space"]["data.subset"] = {"choice": list(focus)}
    space["controls"] = {"arms": arms, "seeds": [7]}
    space["confirm"] = {"seeds": seeds, "looks": looks, "cross_fit": True, "margin": 1.0}
    space["confirm"] |= dict(confirm or {})
    counts = [_counts(one, focus) for one in (looks or [seeds])][: trained or None]
    trials, predicted = [], {}
    for place, (subset, accuracy) in enumerate(focus.items()):
        a = finished(f"t{subset}-a", subset, select=0.8)
        b = finished(f"t{subset}-b", subset, weight=0.2, **{"focus/report/macro_accuracy": 0.9})
        trials += [a, b]
        predicted[a["trial"]] = drawn_clips(
            0.5, 0.5, template_seed=[subset, 7], focus_seed=[subset, 7, 0], **shape
        )
        for j in range(counts[-1][subset]):
            seed = 8 + j * len(focus) + place
            look = 1 + sum(j >= one[subset] for one in counts)
            for arm in ("focusnet", *arms):
                frame = drawn_clips(
                    0.5, accuracy if arm == "focusnet" else controls, template_seed=[seed],
                    focus_seed=[seed, 1 + ("focusnet", *CONTROLS).index(arm)], both_halves=True,
                    **shape,
                )  # fmt: skip
                row = follower("confirm", arm, seed, b if j % 2 else a, **{
                    "judged_on": "select" if j % 2 else "report", "look": look if looks else None,
                    **_recorded(frame, ("report", "select")),
                })  # fmt: skip
                if row["trial"].startswith(tuple(fail)):
                    row |= {"status": "failed", "error": "ValueError: not finite"}
                else:
                    predicted[row["trial"]] = frame
                trials.append(row)
    write_study(folder, trials, space=space, predicted=predicted)
    if records is not None:
        (folder / "looks.json").write_text(json.dumps(records))
    return folder


def _counts(seeds: Mapping[int, int] | int, strata: Iterable[int]) -> dict[int, int]:
    return {s: seeds if isinstance(seeds, int) else seeds[s] for s in strata}


def look_record(look: int, of: int, seeds: Mapping[int, int], **facts: Any) -> dict[str, Any]:
    """A record of looks.json; see study/ledger/looks.py."""
    strata = [
        {
            "stratum": subset,
            "planned": count,
            "winners": {"select": f"t{subset}-a", "report": f"t{subset}-b"},
            "seeds": {"report": list(range(0, count, 2)), "select": list(range(1, count, 2))},
            "left_out": [],
            "counted": True,
            "estimate": 0.0,
        }
        for subset, count in seeds.items()
    ]
    defaults = {"information": look / of, "alpha": 0.05, "level": 0.01, "margin": 1.0,
                "estimate": 0.3, "interval": [-1.0, 1.6], "interval_here": [-0.5, 1.1], "p": 0.6,
                "verdict": "undecided", "follows": "look 2"}  # fmt: skip
    return {"look": look, "of": of, "time": "2026-01-02T03:04:05+00:00", "strata": strata,
            **defaults, **facts}  # fmt: skip

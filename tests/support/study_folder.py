"""Writes a small study's results folder around one real trial."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

METRIC = "focus/select/macro_accuracy"


def space(**search: Any) -> dict[str, Any]:
    """Content of space.yaml."""
    settings = {"algorithm": "random", "trials": 2, "stratify": "data.subset", "metric": METRIC}
    return {"name": "small", "search": settings | search, "trial": {}}


def row(name: str, value: float, **columns: Any) -> dict[str, Any]:
    """A row of trials.parquet, by default of a finished trial of the search."""
    return {
        "trial": name,
        "phase": "search",
        "arm": "focusnet",
        "seed": 0,
        "winner": None,
        "status": "finished",
        "data.subset": 100,
        METRIC: value,
        "focus/report/macro_accuracy": value,
        **columns,
    }


def write_study(folder: Path, trial: Path, rows: list[dict[str, Any]], **search: Any) -> Path:
    """Write a study with these ``rows``; the folder ``trial`` becomes its trial ``best``."""
    own = folder / "trials" / "best"
    shutil.copytree(trial, own)
    (folder / "predictions").mkdir()
    (own / "predictions.parquet").rename(folder / "predictions" / "best.parquet")
    (folder / "space.yaml").write_text(yaml.safe_dump(space(**search)))
    pd.DataFrame(rows).to_parquet(folder / "trials.parquet", index=False)
    (folder / "provenance.json").write_text(json.dumps({"runs": []}))
    return folder

"""Runs one small trial and prints its epochs: ``-m benchmarks.gpu.one_trial FOLDER cuda``."""

import sys
from pathlib import Path

from focusnet.pipeline import run_trial
from focusnet.synthetic.generate import make_dataset


def main(folder: Path, device: str) -> None:
    """Make a small data set unless it is there, and run the trial on it."""
    root = folder / "dataset"
    if not root.is_dir():
        make_dataset(root, train_locations=2, test_locations=2, clips_per_location=4)
    settings = {
        "data": {"root": str(root)},
        "model": {"size": "tiny", "weights": "none"},
        "template": {"epochs": 4, "batch_size": 16},
        "student": {"epochs": 3},
        "compute": {"device": device},
    }
    run_trial(
        settings,
        folder / "trial",
        lambda record: print(record["stage"], record["epoch"], flush=True),
    )
    print("finished", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

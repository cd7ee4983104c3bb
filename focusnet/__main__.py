"""Run one trial alone, without Ray: ``python -m focusnet --config trial.yaml``."""

import argparse
import json
import sys
from pathlib import Path

from focusnet.arms import FEW_WARM_CLASSES, FEW_WARM_NOTE
from focusnet.config import TrialConfig
from focusnet.errors import ConfigError, FocusNetError
from focusnet.system.full_disk import disk_full
from focusnet.system.logs import log_to_terminal
from focusnet.system.validation import validate
from focusnet.system.yaml_file import read_yaml

EXAMPLE = """example:
  trial.yaml:
    data: {root: synthetic, subset: 25}
    model: {size: tiny, weights: none, max_frames: 144}
  python -m focusnet --config trial.yaml --out results/one

exit status: 0 done, 2 the input is wrong, 130 interrupted"""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m focusnet",
        description="Train a template and FocusNet once, with the settings of one trial.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        required=True,
        type=Path,
        metavar="FILE",
        help="YAML file with a trial's settings (the 'trial' part of a search space file)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the results (default: results/<name of the file>)",
    )
    options = parser.parse_args(arguments)
    try:
        trial = _read_trial(options.config)
        out = options.out or Path("results") / options.config.stem
        if (out / "result.json").exists():
            raise ConfigError(f"--out: {out} holds a finished trial already; name another folder")
        # Imported late, as torch and Lightning take seconds: mistakes in the file are told first.
        from focusnet.pipeline import run_trial

        with log_to_terminal():
            metrics = run_trial(trial, out).metrics
    except FocusNetError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except OSError as error:
        full = disk_full(error, options.out or Path("results"))
        if full is None:
            raise
        print(full, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command resumes after the last epoch", file=sys.stderr)
        return 130
    _summarise(metrics, out)
    return 0


def _read_trial(path: Path) -> TrialConfig:
    """A trial's settings; a whole search space file is refused."""
    content = read_yaml(path)
    if "trial" in content and "space" in content:
        raise ConfigError(
            f"{path}: is a search space file (python study/run.py --space {path}); "
            "a trial's settings are its 'trial' part"
        )
    return validate(TrialConfig, content, source=str(path))


def _summarise(metrics: dict[str, float], out: Path) -> None:
    print(f"\n{'':10}{'template':>10}{'FocusNet':>10}{'gain':>8}   macro accuracy, %")
    for half in ("select", "report"):
        stages = (metrics[f"{stage}/{half}/macro_accuracy"] for stage in ("template", "focus"))
        gain = metrics[f"gain/{half}/macro_accuracy"]
        before, after = (f"{100 * value:>10.1f}" for value in stages)
        print(f"{half:10}{before}{after}{100 * gain:>+8.1f}")
    if "focus/warm_classes" in metrics:  # of arms that use masks
        warm, alone = metrics["focus/warm_classes"], metrics["focus/only_label_warm"]
        print(f"\nwarm classes per clip: {warm:.2f}")
        print(f"clips with no warm class but their label: {100 * alone:.0f} %")
        if warm < FEW_WARM_CLASSES:
            print(f"  {FEW_WARM_NOTE}")
    print(f"results: {out} ({json.dumps(sorted(p.name for p in out.iterdir()))[1:-1]})")


if __name__ == "__main__":
    sys.exit(main())

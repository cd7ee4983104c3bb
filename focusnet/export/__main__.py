"""A study's winner for use elsewhere, or as a teacher: ``python -m focusnet.export``."""

import argparse
import shutil
import sys
from pathlib import Path

from focusnet.dataset.decoding import UnusableClip, read_header
from focusnet.dataset.layout import TRAIN, read_table
from focusnet.errors import ConfigError, DataError, FocusNetError
from focusnet.export.choose import Chosen, choose, choose_confirmed
from focusnet.system.atomic import new_folder

LOGITS = "logits.pt"

EXAMPLE = """examples:
  python -m focusnet.export results/focus --subset 25 --to exported/focus25
  python -m focusnet.export results/focus --subset 25 --to exported/teacher25 --confirmed --logits
  python -m focusnet.export results/mels128 results/mels256 --subset 25 --to exported/two --logits

--logits also writes logits.pt: the network's logits on its training clips, or the mean over an
ensemble: the winner's trainings with fresh seeds (--confirmed; the study must have kept them:
confirm.keep_weights), the winners of several studies, or both. It has a row for each row of
meta.csv, in that order, NaN where a clip is not among the training clips: as the student code of
CP-JKU and of DCASE24's baseline reads it.

exit status: 0 done, 2 the input is wrong"""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m focusnet.export",
        description="Put a study's winner into a folder of its own: weights, settings, model card.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", nargs="+", type=Path, help="folder of a study, results/<name>")
    parser.add_argument(
        "--subset",
        "--stratum",
        dest="stratum",
        metavar="VALUE",
        help="whose winner: a value of what the study is stratified by, such as 25",
    )
    parser.add_argument("--trial", metavar="ID", help="a trial by its name instead")
    parser.add_argument(
        "--confirmed",
        action="store_true",
        help="instead of the winner its trainings with fresh seeds, each in a folder of its own",
    )
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--clip-seconds",
        type=float,
        metavar="S",
        help="length of a training clip (default: that of the data set's first)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="the data set, where it has moved since the study"
    )
    parser.add_argument("--logits", action="store_true", help="also write logits.pt")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(arguments)
    try:
        chosen = _choose(options)
        _export(chosen, options)
    except FocusNetError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    for one in chosen:
        print(f"{one.id} of {one.results}")
    print(f"{options.to}: {', '.join(sorted(path.name for path in options.to.iterdir()))}")
    return 0


def _choose(options: argparse.Namespace) -> list[Chosen]:
    problems = []
    if options.to.exists():
        problems.append(f"--to: {options.to} is there already; name a new folder")
    if options.clip_seconds is not None and not 0 < options.clip_seconds < 3600:
        problems.append(
            f"--clip-seconds: must be above 0 and below 3600, received {options.clip_seconds:g}"
        )
    if len(options.results) > 1 and not options.logits:
        problems.append("several studies make an ensemble of logits only: add --logits")
    if len(options.results) > 1 and options.trial is not None:
        problems.append("--trial: names a trial of one study, received several studies")
    if options.trial is not None and options.stratum is not None:
        problems.append("--trial and --subset: name a trial or a stratum, not both")
    if options.trial is not None and options.confirmed:
        problems.append("--trial and --confirmed: name a trial or take a winner's, not both")
    chosen: list[Chosen] = []
    for results in options.results:
        try:
            if options.confirmed:
                chosen += choose_confirmed(results, stratum=options.stratum)
            else:
                chosen.append(choose(results, stratum=options.stratum, trial=options.trial))
        except FocusNetError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return chosen


def _export(chosen: list[Chosen], options: argparse.Namespace) -> None:
    # torch takes seconds to import: a mistake is told before.
    from focusnet.export.model_card import model_card
    from focusnet.export.teacher_logits import training_logits, write_logits
    from focusnet.exported import WEIGHTS, write_model
    from focusnet.system.device import pick_device

    device = pick_device(options.device)
    with new_folder(options.to.absolute()) as folder:
        members = []
        for number, one in enumerate(chosen):
            own = folder if len(chosen) == 1 else folder / f"member{number + 1}"
            own.mkdir(exist_ok=True)
            seconds = options.clip_seconds or clip_seconds(_root(one, options.data))
            shutil.copyfile(one.weights, own / WEIGHTS)
            write_model(own, one.trial, one.classes, seconds, model_card(one, seconds))
            members.append((one, own))
        if options.logits:
            logits, names = training_logits(members, device, options.data)
            write_logits(folder / LOGITS, logits)
            (folder / "filenames.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


def _root(chosen: Chosen, data: Path | None) -> Path | None:
    """Where a trial's data set is; None for the synthetic one."""
    if data is not None:
        return data
    root = chosen.trial.data.root
    return None if root == "synthetic" else Path(root).expanduser()


def clip_seconds(root: Path | None) -> float:
    """Length of the first training clip of the data set in ``root``; synthetic ones have 1 s.

    Raises:
        DataError: there is no such data set.
    """
    if root is None:
        return 1.0
    try:
        header = read_header(str(root / read_table(root / TRAIN, ["filename"])["filename"].iloc[0]))
    except (DataError, UnusableClip) as error:
        raise DataError(
            f"how long a training clip is cannot be seen, because the data set is not in {root} "
            f"({error}); name its folder (--data DIR), or say the length (--clip-seconds 1)"
        ) from None
    return header.frames / header.rate


if __name__ == "__main__":
    sys.exit(main())

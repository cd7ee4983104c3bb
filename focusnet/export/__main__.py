"""The command ``python -m focusnet.export``: writes a study's winner as a model or a teacher."""

import argparse
import shutil
import sys
from pathlib import Path

from focusnet.dataset.decoding import UnusableClip, read_header
from focusnet.dataset.layout import TRAIN, read_table
from focusnet.errors import ConfigError, DataError, FocusNetError
from focusnet.export.choose import ChosenTrial, choose, choose_confirmed
from focusnet.store import STUDENT_WEIGHTS, WEIGHTS
from focusnet.system.atomic import new_folder

EXAMPLE = """examples:
  python -m focusnet.export results/focus --subset 25 --to exported/focus25
  python -m focusnet.export results/focus --subset 25 --to exported/teacher25 --confirmed --logits
  python -m focusnet.export results/student --subset 25 --to exported/student25 --student
  python -m focusnet.export results/mels128 results/mels256 --subset 25 --to exported/two --logits

--logits also writes the network's logits on its training clips, to teach a student, by --format:
  meta   logits.pt, as the code of CP-JKU and of the DCASE24 baseline reads it: one row per row of
         meta.csv, in that order, and NaN for clips that are not training clips
  split  logits.pt, one row per row of the subset's list, split5.csv to split100.csv, in that order;
         where the data set has no such list, the one that was drawn is written beside it
  tsv    logits.tsv, the training clips by file name, a column for each scene
For an ensemble the logits are averaged. An ensemble is the winner trained again with fresh seeds
(--confirmed; needs confirm.keep_weights in the study), the winners of several studies, or both.

exit status: 0 done, 2 wrong input, 130 interrupted"""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m focusnet.export",
        description="Write a study's winner to a new folder: weights, settings, model card.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", nargs="+", type=Path, help="a study's folder, results/<name>")
    parser.add_argument(
        "--subset",
        "--stratum",
        dest="stratum",
        metavar="VALUE",
        help="export the winner of this stratum: a value of the study's stratify parameter, such "
        "as 25",
    )
    parser.add_argument("--trial", metavar="ID", help="export this trial, not the winner")
    parser.add_argument(
        "--confirmed",
        action="store_true",
        help="export the winner's trainings with fresh seeds, each to a folder of its own",
    )
    parser.add_argument(
        "--student",
        action="store_true",
        help="export the trial's student, for DCASE Task 1, not its second stage",
    )
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="folder to create")
    parser.add_argument(
        "--clip-seconds",
        type=float,
        metavar="S",
        help="length of a training clip (default: read from the data set's first clip)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="the data set, if it has moved since the study"
    )
    parser.add_argument(
        "--logits", action="store_true", help="also write the logits on the training clips"
    )
    parser.add_argument(
        "--format",
        choices=("meta", "split", "tsv"),
        help="order and file of the logits (default: meta)",
    )
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
        print(f"exported trial {one.id} of {one.results}{'. ' * bool(one.chosen)}{one.chosen}")
    print(f"wrote {options.to}: {', '.join(sorted(path.name for path in options.to.iterdir()))}")
    return 0


def _choose(options: argparse.Namespace) -> list[ChosenTrial]:
    """The trials to export, or one error that lists everything wrong with the options."""
    problems = []
    if options.to.exists():
        problems.append(f"--to: {options.to} exists; name a new folder")
    if options.clip_seconds is not None and not 0 < options.clip_seconds < 3600:
        problems.append(
            f"--clip-seconds: must be above 0 and below 3600, received {options.clip_seconds:g}"
        )
    if len(options.results) > 1 and not options.logits:
        problems.append("several studies need --logits: only their logits can be combined")
    if len(options.results) > 1 and options.trial is not None:
        problems.append("--trial: needs exactly one study, received several")
    if options.format is not None and not options.logits:
        problems.append(f"--format: needs --logits, received --format {options.format} alone")
    if options.trial is not None and options.stratum is not None:
        problems.append("--trial and --subset exclude each other")
    if options.trial is not None and options.confirmed:
        problems.append("--trial and --confirmed exclude each other")
    if options.student and (options.logits or options.confirmed):
        other = "--logits" if options.logits else "--confirmed"
        problems.append(f"--student and {other} exclude each other: they are about the teacher")
    file = STUDENT_WEIGHTS if options.student else WEIGHTS
    chosen: list[ChosenTrial] = []
    for results in options.results:
        try:
            if options.confirmed:
                chosen += choose_confirmed(results, stratum=options.stratum)
            else:
                trial = options.trial
                chosen.append(choose(results, stratum=options.stratum, trial=trial, file=file))
        except FocusNetError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return chosen


def _export(chosen: list[ChosenTrial], options: argparse.Namespace) -> None:
    # Imported late: torch takes seconds, and wrong options should be reported at once.
    from focusnet.export.model_card import model_card
    from focusnet.export.student_card import student_card
    from focusnet.export.teacher_logits import training_logits, write_logits
    from focusnet.exported import write_model, write_student
    from focusnet.system.device import pick_device

    device = pick_device(options.device)
    with new_folder(options.to.absolute()) as folder:
        members = []
        for number, one in enumerate(chosen):
            own = folder if len(chosen) == 1 else folder / f"member{number + 1}"
            own.mkdir(exist_ok=True)
            seconds = options.clip_seconds or clip_seconds(_root(one, options.data))
            shutil.copyfile(one.weights, own / WEIGHTS)
            if options.student:
                write_student(own, one.trial, one.classes, seconds, student_card(one, seconds))
            else:
                write_model(own, one.trial, one.classes, seconds, model_card(one, seconds))
            members.append((one, own))
        if options.logits:
            teacher = training_logits(members, device, options.data)
            write_logits(folder, teacher, options.format or "meta")


def _root(chosen: ChosenTrial, data: Path | None) -> Path | None:
    """Folder of a trial's data set; None for the synthetic one."""
    if data is not None:
        return data
    root = chosen.trial.data.root
    return None if root == "synthetic" else Path(root).expanduser()


def clip_seconds(root: Path | None) -> float:
    """Length of the first training clip of the data set in ``root``; 1 s for the synthetic one.

    Raises:
        DataError: the data set is missing or cannot be read.
    """
    if root is None:
        return 1.0
    try:
        header = read_header(str(root / read_table(root / TRAIN, ["filename"])["filename"].iloc[0]))
    except (DataError, UnusableClip) as error:
        raise DataError(
            f"cannot find the length of a training clip, because the data set is not in {root} "
            f"({error}); give its folder (--data DIR) or the length (--clip-seconds 1)"
        ) from None
    return header.frames / header.rate


if __name__ == "__main__":
    sys.exit(main())

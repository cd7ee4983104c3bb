"""The command-line options of ``study/run.py`` and their help."""

import argparse
import logging


def parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    options = argparse.ArgumentParser(
        prog="python study/run.py",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Search for the best FocusNet settings with Ray Tune: does it help to train a "
        "second\ntime with the loss that knows which classes the first training confused, and with "
        "how\nmuch of the data?",
        epilog="examples:\n"
        "  python study/run.py --space demo.yaml\n"
        "  python study/run.py --space focus.yaml --set trial.data.root=/data/TAU22 --plan\n"
        "  python study/run.py --space focus.yaml --plan --detect 1\n"
        "  python study/run.py --space quick.yaml --set search.trials=8 --set name=quicker\n"
        "  python study/run.py --space focus.yaml --results s3://bucket/studies --resume\n\n"
        "exit status: 0 done, 1 some trials failed for good, 2 wrong input or a full disk,\n"
        "130 interrupted",
    )
    options.add_argument(
        "--space",
        default="demo.yaml",
        metavar="NAME_OR_PATH",
        help="space file; a bare name is also looked up in search_spaces/ (default: %(default)s)",
    )
    options.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of the space file: KEY is its path (such as search.trials), VALUE is "
        "YAML; what follows 'space.' is the name of a searched parameter, and the value null "
        "takes it out of the search; can be repeated",
    )
    _add_plan(options)
    _add_resume(options)
    _add_places(options)
    _add_output(options)
    return options


def _add_plan(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "--plan",
        action="store_true",
        help="show what would run and how long it would take here (measured), and stop",
    )
    options.add_argument(
        "--no-measure", action="store_true", help="with --plan: at once, without the time"
    )
    options.add_argument(
        "--detect",
        type=_points,
        metavar="POINTS",
        help="with --plan: also say which look at the confirmation detects an average effect of "
        "so many points with a probability of 80 %%",
    )
    options.add_argument(
        "--noise",
        metavar="STUDY",
        help="with --plan: take the noise of trainings and of locations from the confirmation of "
        "an earlier study, given by its folder or its name in the results folder",
    )


def _add_resume(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "--resume",
        action="store_true",
        help="go on with the study in the results folder; finished trials are not run again",
    )
    options.add_argument(
        "--confirm",
        action="store_true",
        help="after a finished search: only train each stratum's winner and its controls again "
        "with fresh seeds (a study does so by itself unless confirm.seeds is 0)",
    )
    options.add_argument(
        "--retry-failed", action="store_true", help="with --resume: run failed trials again"
    )
    options.add_argument(
        "--ignore-disk",
        action="store_true",
        help="start although the disk seems too small (--plan shows what is needed and free)",
    )


def _add_places(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "--results",
        default="results",
        metavar="DIR",
        help="write the study's files to DIR/<name>/; DIR may be a remote address that all nodes "
        "reach, such as s3://bucket/studies (default: %(default)s)",
    )
    options.add_argument(
        "--address",
        metavar="ADDR",
        help="join the Ray cluster at ADDR (default: $RAY_ADDRESS if set, else start Ray here)",
    )
    options.add_argument(
        "--dashboard-port",
        type=int,
        metavar="N",
        help="port of Ray's dashboard on 127.0.0.1 (default: 8265 or the next free one)",
    )


def _add_output(options: argparse.ArgumentParser) -> None:
    output = options.add_mutually_exclusive_group()
    output.add_argument(
        "--quiet",
        dest="level",
        action="store_const",
        const=logging.WARNING,
        help="show only warnings and the final summary; study.log in the results has the rest",
    )
    output.add_argument(
        "--verbose",
        dest="level",
        action="store_const",
        const=logging.DEBUG,
        help="also show details, such as every report of a trial and where Ray runs it",
    )
    options.set_defaults(level=logging.INFO)


def _points(text: str) -> float:
    value = float(text)
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 100, received {text}")
    return value

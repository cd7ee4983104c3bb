"""The options of the study's command: ``study/run.py --help``."""

import argparse


def parser() -> argparse.ArgumentParser:
    """What the command understands, and what its help says."""
    options = argparse.ArgumentParser(
        prog="python study/run.py",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Search over FocusNet's settings with Ray Tune: does a second training that "
        "knows\nwhich classes the first one confused help, and with how much of the data?",
        epilog="examples:\n"
        "  python study/run.py --space demo.yaml\n"
        "  python study/run.py --space focus.yaml --set trial.data.root=/data/TAU22 --plan\n"
        "  python study/run.py --space focus.yaml --set search.trials=8 \\\n"
        "      --set 'space.data.subset={choice: [5, 25]}' --set name=quick\n"
        "  python study/run.py --space focus.yaml --set confirm.seeds=10 --confirm\n"
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
        help="change the space: a path into the file and a YAML value; what follows 'space.' is "
        "the name of a parameter (null takes it out of the search); can be repeated",
    )
    options.add_argument(
        "--plan",
        action="store_true",
        help="show what would run, how long it would take here (measured), and stop",
    )
    options.add_argument(
        "--no-measure", action="store_true", help="with --plan: without the time, at once"
    )
    options.add_argument(
        "--resume",
        action="store_true",
        help="go on with the study in the results folder; what is finished is not run again",
    )
    options.add_argument(
        "--confirm",
        action="store_true",
        help="only what follows a finished search: train each stratum's winner and the controls "
        "with fresh seeds (a study does so by itself unless confirm.seeds is 0)",
    )
    options.add_argument(
        "--retry-failed",
        action="store_true",
        help="with --resume: run failed trials again too",
    )
    options.add_argument(
        "--ignore-disk",
        action="store_true",
        help="start although the disk seems too small (--plan shows what is needed and free)",
    )
    options.add_argument(
        "--results",
        default="results",
        metavar="DIR",
        help="a study's files go to DIR/<name>/; DIR may be an address that all nodes reach, such "
        "as s3://bucket/studies (default: %(default)s)",
    )
    options.add_argument(
        "--address",
        metavar="ADDR",
        help="join the Ray cluster at ADDR (default: $RAY_ADDRESS, else Ray starts here)",
    )
    options.add_argument(
        "--dashboard-port",
        type=int,
        metavar="N",
        help="port of Ray's dashboard on 127.0.0.1 (default: 8265 or the next free one)",
    )
    return options

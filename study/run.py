"""Runs a study: searches over the settings of FocusNet trials with Ray Tune.

python study/run.py --space demo.yaml
"""

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focusnet.config import cache_folder
from focusnet.errors import ConfigError
from focusnet.system.logs import Terminal, log_to_file, log_to_terminal
from study.console.command import Command
from study.console.failure import explain
from study.console.options import parser
from study.ledger.ledger import Ledger
from study.ledger.search_time import searched_seconds
from study.outputs.provenance import Provenance, command_line
from study.plan.data import check_data, prepare_data, shared_settings
from study.plan.describe import describe_plan
from study.plan.detection import ASSUMED, ExpectedNoise, noise_of_study
from study.plan.disk import check_disk, needs
from study.plan.resume import check_folder, check_search_ended
from study.plan.student import check_students
from study.remote.ledger import open_ledger
from study.search.to_come import end_if_over
from study.space.file import find_space_file, read_space_file
from study.space.recorded import as_begun
from study.space.space import Space
from study.space.validation import validate_space
from study.tracking.start import check_trackers
from study.tune.auto_settings import resolve_auto, with_recorded
from study.tune.gpus import check_gpus
from study.tune.session import check_cluster, outcome_recorded, ray_session, working_in
from study.tune.signals import interrupt_by_signal

if TYPE_CHECKING:
    from study.worker.trainable import RemoteRunner, RunTrial

# By name: as a script, this module is called __main__.
logger = logging.getLogger("study.run")

DONE, SOME_FAILED = 0, 1  # exit statuses, beside those of study.console.failure
Prepare = Callable[[Space], list[dict[str, Any]]]


def main(
    arguments: Sequence[str] | None = None,
    *,
    run_trial: "RunTrial | None" = None,
    prepare: Prepare | None = None,
) -> int:
    """Run the command; returns its exit status.

    ``run_trial`` and ``prepare`` replace FocusNet's own in tests.
    """
    command = Command(tuple(sys.argv[1:] if arguments is None else arguments), Path.cwd())
    options = parser().parse_args(command.arguments)
    folder: Path | None = None
    with log_to_terminal(options.level, sys.stdout, clock=True) as terminal:
        try:
            # 1. Read the space file, changed by --set.
            path = find_space_file(options.space)
            content = read_space_file(path, options.set)
            space = validate_space(content, path.name)

            # 2. Open the study's ledger: its records in a folder or at a remote address. A study
            #    that resumes keeps the precision, the compilation and the rules that it began with.
            ledger = _open_ledger(space, options.results)
            folder = ledger.folder
            if ledger.exists():
                space = validate_space(as_begun(content, ledger.space()), path.name)
            space = with_recorded(space, ledger)
            check_students(space)
            check_trackers(space)

            # 3. Show what would run, and stop there with --plan.
            if options.plan:
                noise = _noise(options.noise, ledger)
                measure = not options.no_measure
                print(_plan(space, ledger, measure=measure, noise=noise, detect=options.detect))
                return DONE
            if options.noise or options.detect:
                raise ConfigError("--detect and --noise: only with --plan")

            return _run_study(space, ledger, options, command, terminal, run_trial, prepare)
        except (Exception, KeyboardInterrupt) as error:
            return explain(error, folder, command)


def _run_study(
    space: Space,
    ledger: Ledger,
    options: argparse.Namespace,
    command: Command,
    terminal: Terminal | None,
    run_trial: "RunTrial | None",
    prepare: Prepare | None,
) -> int:
    # 4. Read the tables of the data sets: if they lack something, it is said before Ray starts.
    interrupt_by_signal()
    if prepare is None:
        check_data(space)

    with (
        ledger.locked(command.resume()),
        log_to_file(ledger.folder / "study.log", min(options.level, logging.INFO)),
        working_in(ledger.folder),
    ):
        # 5. Check that the study may begin or resume, and that the disk has room for one trial.
        end_if_over(space, ledger.trials(), searched_seconds(ledger.folder))
        _check_start(space, ledger, options, command)
        logger.info("%s", _plan(space, ledger))

        # 6. Start Ray or join a cluster, and check that its nodes can run trials.
        with ray_session(
            space, ledger.folder, address=options.address, dashboard_port=options.dashboard_port
        ) as cluster:
            slots = check_cluster(cluster, space, ledger, ignore_disk=options.ignore_disk)
            gpus = check_gpus(space)

            # 7. Decode the data, choose what is `auto`, and record what the study runs with.
            data = (prepare or prepare_data)(space)
            space, chosen = resolve_auto(space, slots, gpus)
            for name, choice in chosen.items():
                logger.info("%-8s %s", name, choice)
            ledger.begin(space.content())
            if options.retry_failed:
                ledger.forget_failures()
            provenance = Provenance(ledger.folder)
            provenance.begin(
                command=command_line(),
                seed=space.search.seed,
                data=data,
                nodes=cluster.nodes,
                settled=chosen,
            )

            # 8. Run the trials: the search of each stratum, then its controls and confirmation.
            # Imported here: Ray reads its settings, which ray_session makes, when it is imported.
            from study.tune.run_search import run_search

            with (
                outcome_recorded(provenance, space, ledger.folder),
                _status_line(terminal, options.level) as show,
            ):
                run_search(
                    space,
                    ledger,
                    trial=shared_settings(space),
                    slots=slots,
                    remote=_remote_runner(space, ledger),
                    run_trial=run_trial,
                    show=show,
                )

        # 9. Show the best trials, and what failed.
        return _summarize(space, ledger, command)


def _status_line(
    terminal: Terminal | None, level: int
) -> AbstractContextManager[Callable[[str], None] | None]:
    if terminal is None or level > logging.INFO:  # --quiet
        return nullcontext()
    return terminal.status_line()


def _open_ledger(space: Space, results: str) -> Ledger:
    if "://" not in results:
        return Ledger((Path(results).expanduser() / space.name).absolute())
    return open_ledger(results, space.name, cache_folder(space.base.data.cache))


def _noise(study: str | None, ledger: Ledger) -> ExpectedNoise:
    return noise_of_study(study, ledger.folder.parent) if study else ASSUMED


def _plan(
    space: Space,
    ledger: Ledger,
    *,
    measure: bool = False,
    noise: ExpectedNoise = ASSUMED,
    detect: float | None = None,
) -> str:
    plan = describe_plan(space, ledger.folder, measure=measure, noise=noise, detect=detect)
    if ledger.address:
        plan += f"\n  {'address':<12} {ledger.address} (the folder above is a working copy)"
    return plan


def _check_start(
    space: Space, ledger: Ledger, options: argparse.Namespace, command: Command
) -> None:
    resume = options.resume or options.confirm
    check_folder(ledger, space, resume=resume, how_to_resume=command.resume())
    if options.confirm:
        check_search_ended(ledger, space, command.resume())
    if not options.ignore_disk:
        check_disk(needs(space, ledger, slots=1))


def _remote_runner(space: Space, ledger: Ledger) -> "RemoteRunner | None":
    """What runs trials whose results go to a remote address; None if they go to a folder."""
    if ledger.address is None:
        return None
    from study.remote.trial import remote_trials  # imports Ray

    named = "data.cache" in space.domains or space.base.data.cache
    results = ledger.address.removesuffix(f"/{space.name}")
    return remote_trials(results, space.name, shared_settings(space), own_caches=not named)


def _summarize(space: Space, ledger: Ledger, command: Command) -> int:
    from study.console.summary import print_summary  # imports Optuna, which --plan does without

    trials, looks = ledger.trials(), ledger.looks()
    if ledger.address is None:
        print_summary(space, trials, ledger.folder, command, looks=looks)
    else:  # with the commands that read them where fetch.py puts them
        folder = command.folder / "results" / space.name
        print_summary(space, trials, folder, command, looks=looks)
        print(f"The results are at {ledger.address}. To copy them here:")
        print(f"  python study/fetch.py {shlex.quote(ledger.address)}")
    failed = [trial for trial in trials if trial.status == "failed"]
    if not failed:
        return DONE
    print(f"{len(failed)} of {len(trials)} trials failed:", file=sys.stderr)
    for trial in failed:
        print(f"  {trial.id}: {trial.error}", file=sys.stderr)
    print(
        f"Tracebacks are in {ledger.folder}/trials/*/error.txt, what the trials logged in "
        f"trial.log beside it. To run them again: {command.resume('--retry-failed')}",
        file=sys.stderr,
    )
    return SOME_FAILED


if __name__ == "__main__":
    sys.exit(main())

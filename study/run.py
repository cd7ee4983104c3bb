"""The study's command: search over FocusNet trials with Ray Tune.

python study/run.py --space demo.yaml
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focusnet.config import cache_folder
from focusnet.errors import DiskFullError, FocusNetError
from focusnet.system.atomic import write_text
from focusnet.system.full_disk import disk_full
from study.console.options import parser
from study.ledger.driver import current_folder, working_in
from study.ledger.ledger import Ledger
from study.plan.describe import describe_plan
from study.plan.disk import check_disk, fullest, needs
from study.plan.resume import check_folder, check_search_ended
from study.project import ROOT
from study.space.file import find_space_file, read_space_file
from study.space.space import Space
from study.space.validation import validate_space
from study.tune.auto_settings import resolve_auto, with_recorded

if TYPE_CHECKING:
    from study.remote.trial import RemoteTrialRunner
    from study.worker.trainable import RunTrial

DONE, SOME_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
Prepare = Callable[[Space], list[dict[str, Any]]]


def main(
    arguments: Sequence[str] | None = None,
    *,
    run_trial: "RunTrial | None" = None,
    prepare: Prepare | None = None,
) -> int:
    """Run the command; returns its exit status.

    ``run_trial`` and ``prepare`` stand in for FocusNet's own in tests.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    folder: Path | None = None
    try:
        path = find_space_file(options.space)
        space = validate_space(read_space_file(path, options.set), path.name)
        ledger = _ledger(space, options.results)
        folder = ledger.folder
        space = with_recorded(space, ledger)
        if options.plan:
            _print_plan(space, ledger, measure=not options.no_measure)
            return DONE
        return _conduct(space, ledger, options, given, run_trial, prepare)
    except FocusNetError as error:
        print("\n".join(error.problems), file=sys.stderr)
        if isinstance(error, DiskFullError):
            print(_next_step(folder, given), file=sys.stderr)
        return WRONG_INPUT
    except OSError as error:
        full = disk_full(error, folder or Path.cwd())
        if full is None:
            raise
        print(f"{full}\n{_next_step(folder, given)}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        print("\nInterrupted. " + _next_step(folder, given), file=sys.stderr)
        return INTERRUPTED


def _conduct(
    space: Space,
    ledger: Ledger,
    options: argparse.Namespace,
    given: list[str],
    run_trial: "RunTrial | None",
    prepare: Prepare | None,
) -> int:
    from study.tune.signals import gentle_interrupt, interrupt_by_signal

    interrupt_by_signal()
    folder = ledger.folder
    if prepare is None:
        from study.plan.data import check_data

        check_data(space)  # what can be seen without decoding is said before Ray starts
    how_to_resume = _command(given, "--resume")
    with ledger.locked(how_to_resume), working_in(folder):
        check_folder(
            ledger, space, resume=options.resume or options.confirm, how_to_resume=how_to_resume
        )
        if options.confirm:
            check_search_ended(ledger, space, how_to_resume)
        if not options.ignore_disk:
            check_disk(needs(space, ledger, slots=1))  # what is too little for one needs no Ray
        _print_plan(space, ledger)
        from study.outputs.provenance import Provenance, command_line
        from study.tune import cluster
        from study.tune.nodes import check_nodes, paths_read

        ray = cluster.start(options.address, options.dashboard_port)
        outcome = "failed"
        provenance = None
        try:
            interrupt_by_signal()  # Ray has put a handler for SIGTERM in between
            resources = space.resources
            cluster.check_request(ray, resources.cpu, resources.gpu)
            slots = ray.slots(resources.cpu, resources.gpu)
            slots = min(slots, resources.max_concurrent or slots)
            if not options.ignore_disk:
                check_disk(needs(space, ledger, slots))
            if not ray.local:
                check_nodes(
                    ledger.address or folder,
                    paths_read(space),
                    lambda node: cluster.trials_on(node, resources.cpu, resources.gpu) > 0,
                )
            print(f"  {'Ray':<12} {ray.describe()}", flush=True)
            if ray.dashboard:
                print(
                    f"  {'dashboard':<12} {ray.dashboard} (it asks for the token that "
                    "`ray get-auth-token` prints)",
                    flush=True,
                )
            from study.plan.data import prepare_data, shared_settings
            from study.tune.run_search import run_search

            data = (prepare or prepare_data)(space)
            space, settled = resolve_auto(space, slots)
            for name, choice in settled.items():
                print(f"  {name:<12} {choice}", flush=True)
            ledger.begin(space.content())
            if options.retry_failed:
                ledger.forget_failures()
            provenance = Provenance(folder)
            provenance.begin(
                command=command_line(),
                seed=space.search.seed,
                data=data,
                nodes=ray.nodes,
                settled=settled,
            )
            with gentle_interrupt() as interrupted:
                run_search(
                    space,
                    ledger,
                    trial=shared_settings(space),
                    slots=slots,
                    interrupted=interrupted,
                    remote=_remote(space, ledger.address) if ledger.address else None,
                    run_trial=run_trial,
                )
            outcome = "interrupted" if interrupted.is_set() else "done"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        except DiskFullError:
            outcome = "the disk was full"
            raise
        except FocusNetError:
            raise
        except Exception as error:
            full = disk_full(error, fullest(space, folder))
            if full is not None:
                outcome = "the disk was full"
                raise full from None
            words = cluster.words_of_ray(error)
            if words is None:
                print(_next_step(folder, given), file=sys.stderr)  # and the traceback follows
                raise
            outcome = "ended by Ray"
            said = folder / "ray_error.txt"
            write_text(said, words + "\n")
            print(
                f"\nRay ended the study: {words.splitlines()[0]}\n  (all of it: {said})\n"
                + _next_step(folder, given),
                file=sys.stderr,
            )
            return INTERRUPTED
        finally:
            if provenance is not None:
                with suppress(DiskFullError):
                    provenance.end(outcome)
            cluster.stop()
        if interrupted.is_set():
            print("Interrupted. " + _next_step(folder, given), file=sys.stderr)
            return INTERRUPTED
        return _finish(space, ledger, given)


def _ledger(space: Space, results: str) -> Ledger:
    """Where the study's records are: in a folder, or at an address."""
    if "://" not in results:
        return Ledger((Path(results).expanduser() / space.name).absolute())
    from study.remote.ledger import open_ledger

    return open_ledger(results, space.name, cache_folder(space.example().data.cache))


def _remote(space: Space, address: str) -> "RemoteTrialRunner":
    from study.plan.data import shared_settings
    from study.remote.trial import remote_trials

    named = "data.cache" in space.domains or (space.trial.get("data") or {}).get("cache")
    results = address.removesuffix(f"/{space.name}")
    return remote_trials(results, space.name, shared_settings(space), own_caches=not named)


def _print_plan(space: Space, ledger: Ledger, measure: bool = False) -> None:
    print(describe_plan(space, ledger.folder, measure=measure), flush=True)
    if ledger.address:
        print(f"  {'address':<12} {ledger.address} (the folder named above is a working copy)")


def _finish(space: Space, ledger: Ledger, given: list[str]) -> int:
    from study.console.summary import print_summary

    trials = ledger.trials()
    folder = ledger.folder
    if ledger.address:
        folder = (current_folder() or Path.cwd()) / "results" / space.name  # as fetch.py does it
    print_summary(space, trials, folder)
    if ledger.address:
        print(f"They are at {ledger.address}. To have them here:")
        print(f"  python study/fetch.py {shlex.quote(ledger.address)}")
    failed = [trial for trial in trials if trial.status == "failed"]
    if not failed:
        return DONE
    print(f"{len(failed)} of {len(trials)} trials failed:", file=sys.stderr)
    for trial in failed:
        print(f"  {trial.id}: {trial.error}", file=sys.stderr)
    print(
        f"Tracebacks: {ledger.folder}/trials/*/error.txt. To run them again: "
        f"{_command(given, '--resume', '--retry-failed')}",
        file=sys.stderr,
    )
    return SOME_FAILED


def _next_step(folder: Path | None, given: list[str]) -> str:
    if folder is not None and Ledger(folder).exists():
        return f"Finished trials are kept. Go on with: {_command(given, '--resume')}"
    return "Nothing was begun yet."


def _command(given: list[str], *flags: str) -> str:
    """This command as it was given, and with ``flags``."""
    here = current_folder()
    script = ROOT / "study" / "run.py"
    script = Path(os.path.relpath(script, here)) if here else script
    return shlex.join(
        ["python", str(script), *given, *(flag for flag in flags if flag not in given)]
    )


if __name__ == "__main__":
    sys.exit(main())

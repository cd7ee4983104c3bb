"""Says on stderr what ended the study's command, and how to go on."""

import sys
from pathlib import Path

from focusnet.errors import DiskFullError, FocusNetError
from focusnet.system.atomic import write_text
from focusnet.system.full_disk import disk_full
from study.console.command import Command
from study.errors import RayFailure
from study.ledger.ledger import Ledger

WRONG_INPUT, INTERRUPTED = 2, 130  # exit statuses


def explain(error: BaseException, folder: Path | None, command: Command) -> int:
    """Print what ``error`` means to the user; returns the exit status.

    ``folder`` is the study's, None if the space file could not be read. Raises ``error`` itself if
    it is a fault of the program.
    """
    if not isinstance(error, FocusNetError):
        error = disk_full(error, folder or Path.cwd()) or error
    next_step = _next_step(folder, command)
    if isinstance(error, FocusNetError):
        _print("\n".join(error.problems))
        if isinstance(error, DiskFullError):
            _print(next_step)
        return WRONG_INPUT
    if isinstance(error, KeyboardInterrupt):
        _print(f"\nInterrupted. {next_step}")
        return INTERRUPTED
    if isinstance(error, RayFailure) and folder is not None:
        message = str(error)
        whole = folder / "ray_error.txt"
        write_text(whole, message + "\n")
        _print(f"\nRay ended the study: {message.splitlines()[0]}\n  (full message: {whole})")
        _print(next_step)
        return INTERRUPTED
    _print(next_step)  # and the traceback follows
    raise error


def _next_step(folder: Path | None, command: Command) -> str:
    if folder is not None and Ledger(folder).exists():
        return f"Finished trials are kept. Go on with: {command.resume()}"
    return "No trial was started yet."


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

"""Main module of a worker process: runs pickled tasks from standard input until it is closed.

Results go to standard output. The input closes when the parent process ends, however it ends.
"""

import os
import pickle
import signal
import sys
import traceback
from typing import Any


def main() -> None:
    """Run tasks ``(function, arguments)``; answer each with ``(result, exception or None)``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what tasks print is no answer
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 (from our parent)
        except EOFError:
            return
        answer: tuple[Any, Exception | None]
        try:
            answer = function(*arguments), None
        except Exception as error:
            error.add_note(f"in a worker process:\n{traceback.format_exc()}")
            answer = None, error
        try:
            answers.write(pickle.dumps(answer))
            answers.flush()
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main()

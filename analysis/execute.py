"""Runs the notebooks on a study and saves them with their outputs, the same on every machine.

python analysis/execute.py results/demo
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

from analysis.read_study import is_study

FOLDER = Path(__file__).resolve().parent
DONE, FAILED, WRONG_INPUT = 0, 1, 2
TIMEOUT = 600  # seconds a cell
ASSIGNMENT = "STUDY = "


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    study, into = Path(options.study), Path(options.into)
    if not is_study(study):
        print(f"{study}: not the results of a study; give one such as results/demo",
              file=sys.stderr)  # fmt: skip
        return WRONG_INPUT
    for path in sorted(FOLDER.glob("[0-9]_*.ipynb")):
        try:
            notebook = execute(path, study)
        except CellExecutionError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            return FAILED
        into.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, into / path.name)
        print(f"{into / path.name}: {(into / path.name).stat().st_size / 1000:.0f} kB", flush=True)
    return DONE


def execute(path: Path, study: Path) -> nbformat.NotebookNode:
    """Run the notebook at ``path`` on ``study`` and return it, ready to be committed.

    It holds no times, no paths of this machine and no kernel version.

    Raises:
        CellExecutionError: a cell has failed.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith(ASSIGNMENT):
            cell.source = f'{ASSIGNMENT}"{_shown_path(study)}"'
    with tempfile.TemporaryDirectory() as sockets:
        client = NotebookClient(
            notebook,
            timeout=TIMEOUT,
            kernel_name="python3",
            record_timing=False,
            config=_private_sockets(sockets),
            resources={"metadata": {"path": str(FOLDER)}},
        )
        client.execute()
    return _cleaned(notebook)


def _private_sockets(folder: str) -> Config:
    """Talk to the kernel by files in ``folder``, because others could listen on a TCP port."""
    if os.name != "posix":
        return Config()
    return Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})


def _shown_path(study: Path) -> str:
    """The path for the notebook: relative to the repository's root if it is inside."""
    absolute = study.absolute()  # not resolved, because results/ may be a link to another disk
    root = FOLDER.parent
    return str(absolute.relative_to(root) if absolute.is_relative_to(root) else absolute)


def _cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
    return notebook


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python analysis/execute.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run the notebooks in analysis/ on a study and save them with their outputs.",
        epilog="example:\n  python analysis/execute.py results/demo\n\n"
        "exit status: 0 done, 1 a cell failed, 2 the folder holds no study",
    )
    parser.add_argument("study", metavar="results/NAME", help="folder of a study's results")
    parser.add_argument(
        "--into", default=str(FOLDER), metavar="DIR", help="where to write them; default: analysis/"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

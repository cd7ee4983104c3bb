"""Run the notebooks on a study and keep what they show, the same on every machine.

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

FOLDER = Path(__file__).resolve().parent
DONE, FAILED, WRONG_INPUT = 0, 1, 2
TIMEOUT = 600  # seconds a cell
ASSIGNMENT = "STUDY = "


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    study, into = Path(options.study), Path(options.into)
    if not (study / "space.yaml").is_file():
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
    """The notebook at ``path``, run on ``study``, as it can be committed.

    Times, the machine's paths and the kernel's version are left out.

    Raises:
        CellExecutionError: a cell has failed.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith(ASSIGNMENT):
            cell.source = f'{ASSIGNMENT}"{_shown(study)}"'
    with tempfile.TemporaryDirectory() as sockets:
        client = NotebookClient(
            notebook,
            timeout=TIMEOUT,
            kernel_name="python3",
            record_timing=False,
            config=_private(sockets),
            resources={"metadata": {"path": str(FOLDER)}},
        )
        client.execute()
    return _cleaned(notebook)


def _private(folder: str) -> Config:
    """Sockets in a folder of the user's own, where the system can: others could listen on TCP."""
    if os.name != "posix":
        return Config()
    return Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})


def _shown(study: Path) -> str:
    """Relative to the repository's root where it is below it: the notebooks look there."""
    absolute = study.absolute()  # as it was named: results/ may be a link to another disk
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
        description="Run the notebooks in analysis/ on a study and keep their outputs in them.",
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

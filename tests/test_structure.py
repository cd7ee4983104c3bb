"""The rules of the tree: imports run one way, and no module hides a package."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "focusnet": {"ray", "optuna", "study", "analysis"},
    "analysis": {"ray", "torch", "lightning", "focusnet", "study"},
    "study": {"analysis"},
}


def imported(path: Path) -> set[str]:
    """Top-level names of all modules that a file imports, wherever it does."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_run_one_way(package):
    files = sorted((ROOT / package).glob("*.py"))
    assert len(files) > 5
    wrong = {str(f.relative_to(ROOT)): imported(f) & FORBIDDEN[package] for f in files}
    assert not {file: names for file, names in wrong.items() if names}


def test_no_module_of_the_study_is_named_after_a_package():
    # As a script study/run.py has its own folder first on the path.
    files = sorted((ROOT / "study").glob("*.py"))
    packages = set().union(*(imported(file) for file in files)) | set(sys.stdlib_module_names)
    assert not {file.stem for file in files} & (packages - {"study"})


def test_folders_are_flat_and_modules_say_why_they_exist():
    for package in FORBIDDEN:
        for path in (ROOT / package).rglob("*.py"):
            assert path.parent == ROOT / package, f"{path} lies in a folder of its own"
            assert ast.get_docstring(ast.parse(path.read_text())), f"{path} does not say"

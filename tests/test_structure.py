"""The rules of the tree: imports run one way and without circles, folders stay small."""

import ast
import importlib.metadata
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from paths import ROOT

PACKAGES = ("focusnet", "study", "analysis")
FORBIDDEN = {
    "focusnet": {"ray", "optuna", "study", "analysis"},
    "study": {"analysis"},
    "analysis": {"ray", "torch", "lightning", "study"},
}
# What analysis may import of focusnet: nothing of it imports torch.
TORCH_FREE = {
    "focusnet.arms",
    "focusnet.config",
    "focusnet.dataset.layout",
    "focusnet.location_interval",
    "focusnet.statistics",
    "focusnet.synthetic",
    "focusnet.winner",
}
MODULES_IN_A_FOLDER = 15


def modules(package: str) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def imported(path: Path) -> set[str]:
    """Dotted names of all that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def below(name: str, parents: set[str]) -> bool:
    """Whether a dotted name is one of ``parents`` or inside one."""
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def circle(graph: dict[str, set[str]]) -> list[str] | None:
    """Names along a circle of the graph, or None."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        for other in sorted(graph.get(name, ())):
            if found := visit(other, [*path, name]):
                return found
        done.add(name)
        return None

    return next((found for name in sorted(graph) if (found := visit(name, []))), None)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package):
    wrong = {
        name: sorted(one for one in imported(path) if below(one, FORBIDDEN[package]))
        for name, path in modules(package).items()
    }
    assert not {name: names for name, names in wrong.items() if names}


def test_analysis_imports_torch_free_modules_of_focusnet_only():
    known = modules("focusnet")
    for name, path in modules("analysis").items():
        used = {one for one in imported(path) if one in known and one != "focusnet"}
        assert all(below(one, TORCH_FREE) for one in used), (name, used)
    for allowed in TORCH_FREE:
        names = {allowed, *(one for one in known if one.startswith(f"{allowed}."))}
        while names:
            one = names.pop()
            found = imported(known[one])
            assert not {name for name in found if below(name, {"torch", "lightning"})}, one
            names |= {name for name in found if name in known and name != "focusnet"} - {one}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_each_other_without_circles(package):
    known = modules(package)

    def unit(name: str) -> str:
        """The folder that a module is in; a module that is in none stands for itself."""
        return ".".join(name.split(".")[:2])

    between: dict[str, set[str]] = defaultdict(set)
    for name, path in known.items():
        for other in imported(path):
            if other in known and other != package and unit(other) != unit(name):
                between[unit(name)].add(unit(other))
    assert circle(between) is None


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_import_each_other_without_circles(package):
    known = modules(package)
    graph = {
        name: {one for one in imported(path) if one in known and one != name}
        for name, path in known.items()
        if path.name != "__init__.py"  # they import what is inside for those outside
    }
    assert circle(graph) is None


def test_a_circle_would_be_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}}) is None


def test_no_module_hides_an_installed_one():
    # A script has its own folder first on the path.
    installed = set(importlib.metadata.packages_distributions()) | set(sys.stdlib_module_names)
    for package in ("study", "analysis"):
        names = {path.stem for path in (ROOT / package).iterdir() if not path.name.startswith("_")}
        assert not names & (installed - set(PACKAGES)), package
        assert not names & set(PACKAGES), package


def test_no_folder_holds_more_than_a_person_can_survey():
    folders = {path.parent for package in PACKAGES for path in modules(package).values()}
    for folder in folders:
        count = sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        assert count <= MODULES_IN_A_FOLDER, folder


def test_modules_say_what_they_do():
    for package in PACKAGES:
        for path in modules(package).values():
            assert ast.get_docstring(ast.parse(path.read_text())), f"{path} does not say"


def test_tests_mirror_the_tree():
    for package in PACKAGES:
        folders = {path.parent.relative_to(ROOT) for path in modules(package).values()}
        for path in (ROOT / "tests" / package).rglob("test_*.py"):
            assert path.parent.relative_to(ROOT / "tests") in folders, path

"""The project installs, and its packages are then found from any folder."""

import re
import shutil
import site
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from paths import ROOT


def pinned() -> dict[str, str]:
    """Version of each package that requirements.txt names."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    found = (re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[.*\])?==(.+)", line) for line in lines)
    return {match[1].lower(): match[2] for match in found if match}


def test_the_tested_versions_are_among_those_the_project_accepts():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = pinned()
    for one in map(Requirement, project["dependencies"]):
        assert one.specifier.contains(versions[one.name.lower()]), one


@pytest.mark.slow
def test_the_packages_are_found_from_any_folder_after_pip_install(tmp_path):
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "results", "data")
    shutil.copytree(ROOT, tree, ignore=ignored)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    # The fresh environment borrows what this one has, so that only the project itself is installed.
    (folder,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (folder / "borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n")

    def run(*arguments) -> str:
        command = [python, *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={})
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", tree)
    where = run("-c", "import focusnet; from focusnet.exported import load_model; "
                "print(focusnet.__file__)")  # fmt: skip
    assert where.startswith(str(folder))
    assert "usage: python -m focusnet.predict" in run("-m", "focusnet.predict", "--help")

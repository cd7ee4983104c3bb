"""Tests of the notebooks: they run, hold no logic, and are committed without machine details."""

import ast
import re

import nbformat
import pytest
from results_folder import confirmed_study, two_strata, write_study

import analysis
from analysis import notebooks
from analysis.execute import FOLDER, execute, main
from analysis.notebooks import compare_setting
from analysis.read_study import NotAStudy

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 300_000  # bytes


def code(path):
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def texts(path):
    """The Markdown that a notebook shows."""
    outputs = [output for cell in code(path) for output in cell.outputs]
    return "\n".join(output.get("data", {}).get("text/markdown", "") for output in outputs)


def test_there_are_five_notebooks():
    assert [path.stem for path in NOTEBOOKS] == [
        "1_overview",
        "2_confusions",
        "3_sensitivity",
        "4_is_the_gain_real",
        "5_your_own_questions",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS[:4], ids=lambda path: path.stem)
def test_a_notebook_only_calls_functions(path):
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr, ast.Call, ast.Name, ast.Attribute,
               ast.Constant, ast.Module, ast.alias, ast.expr_context)  # fmt: skip
    for cell in code(path):
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert {type(n).__name__ for n in nodes if not isinstance(n, allowed)} == set()
    assert code(path)[0].source == 'STUDY = "results/demo"'


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_is_small_and_has_no_machine_details(path):
    assert path.stat().st_size < LARGEST
    text = path.read_text()
    assert re.search(r'"(iopub|shell)\.|/home/|/root/|/tmp/|"version":', text) is None
    for cell in code(path):
        assert not cell.metadata
        assert not [output for output in cell.outputs if output.output_type in ("error", "stream")]


@pytest.mark.slow
def test_all_notebooks_run_on_a_confirmed_study(tmp_path, capsys):
    study = confirmed_study(tmp_path / "small", focus={25: 0.9, 100: 0.5})
    into = tmp_path / "executed"
    assert main([str(study), "--into", str(into)]) == 0
    assert capsys.readouterr().err == ""
    done = {path.stem: path for path in into.iterdir()}
    assert sorted(done) == [path.stem for path in NOTEBOOKS]
    for path in done.values():
        assert path.stat().st_size < LARGEST
        kinds = {output.output_type for cell in code(path) for output in cell.outputs}
        assert kinds == {"display_data"}
    assert "\\begin{tabular}" in texts(done["5_your_own_questions"])
    assert (study / "effects.pdf").read_bytes().startswith(b"%PDF")
    assert "\\toprule" in (study / "effects.tex").read_text()
    shown = texts(done["1_overview"])
    assert "Averaged over two subsets, FocusNet with searched settings gains" in shown
    assert "FocusNet with placebo masks" in shown
    assert "trained again with 3 fresh seeds (pooled)" in texts(done["2_confusions"])
    assert "focus.weight and focus.threshold" in texts(done["3_sensitivity"])
    last = texts(done["4_is_the_gain_real"])
    assert "200 simulated studies for each true effect, with this study" in last
    assert "3, 3 seeds by stratum" in last
    # These studies may exist here: the notebook says how to make them.
    made = list(notebooks.ROOT.glob("results/logits-*"))
    assert ("No study matches" in last) == (not made)


@pytest.mark.slow
def test_questions_can_be_asked_of_a_study_that_has_just_begun(tmp_path):
    notebook = execute(NOTEBOOKS[4], write_study(tmp_path / "small", []))
    nbformat.write(notebook, tmp_path / "5.ipynb")
    assert "No trial of this study has finished yet" in texts(tmp_path / "5.ipynb")


@pytest.mark.slow
def test_a_notebook_runs_on_a_study_without_confirmation(tmp_path):
    notebook = execute(NOTEBOOKS[3], two_strata(tmp_path / "small"))
    nbformat.write(notebook, tmp_path / "4.ipynb")
    assert "No claim can be made yet" in texts(tmp_path / "4.ipynb")


def test_a_folder_without_a_study_is_an_error(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "not the results of a study" in capsys.readouterr().err


def test_a_study_is_found_from_any_folder(tmp_path, monkeypatch):
    two_strata(tmp_path / "results" / "demo")
    monkeypatch.setattr(analysis, "_ROOT", tmp_path)
    monkeypatch.chdir("/")
    assert analysis.open_study("results/demo").name == "small"
    with pytest.raises(NotAStudy, match="no such folder"):
        analysis.open_study("results/none")


def test_studies_to_compare_are_found_or_instructions_are_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section = compare_setting("results/none-*", "focus.threshold", "Make them.")
    assert section.blocks == ["No study matches results/none-* yet. Make them."]
    confirmed_study(tmp_path / "results" / "one-a")
    section = compare_setting("results/one-*", "focus.template_logits", "Make them.")
    assert "finished trials have one value of focus.template_logits (null)" in section.blocks[0]

"""The reference of the space file says what is accepted."""

from paths import ROOT

from focusnet.config import TrialConfig
from study.space.reference import reference
from study.space.validation import _paths

DOCS = ROOT / "docs"


def test_the_reference_is_that_of_the_models():
    # If this fails: python -m study.space.reference > docs/space.md
    assert (DOCS / "space.md").read_text() == reference()


def test_every_setting_of_a_trial_has_its_row():
    rows = {}
    section = ""
    for line in reference().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").removeprefix("trial.")
        elif line.startswith("| `"):
            rows[f"{section}.{line.split('`')[1]}"] = line
    lacking = set(_paths(TrialConfig)) - {"seed", "arm"} - set(rows)
    assert not lacking
    assert "number above 0 below 1 or `null` | `null` |" in rows["focus.threshold"]
    assert "| `stored`, " in rows["focus.template_logits"]
    assert "| must be given |" in rows["data.root"]

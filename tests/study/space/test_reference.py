"""The generated reference of the space file is complete and up to date."""

from paths import ROOT

from study.space.reference import reference
from study.space.setting_paths import setting_paths

DOCS = ROOT / "docs"


def test_docs_space_md_is_up_to_date():
    # If this fails: python -m study.space.reference > docs/space.md
    assert (DOCS / "space.md").read_text() == reference()


def test_every_setting_of_a_trial_has_a_row_with_a_description():
    rows = {}
    section = ""
    for line in reference().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").removeprefix("trial.")
        elif line.startswith("| `"):
            rows[f"{section}.{line.split('`')[1]}"] = line
            assert line.endswith(". |"), line
    lacking = set(setting_paths()) - {"seed", "arm"} - set(rows)
    assert not lacking
    assert "number above 0 below 1 or `null` | `null` |" in rows["focus.threshold"]
    assert "| `stored`, " in rows["focus.template_logits"]
    assert "| must be given |" in rows["data.root"]

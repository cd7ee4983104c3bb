"""Tests of the time that trials took."""

import yaml
from results_folder import confirmed_study, table_rows

from analysis.read_study import read_study
from analysis.render.document import to_markdown
from analysis.sections.costs import costs_section, costs_table


def test_hours_are_added_up_by_phase_and_gpus_counted(tmp_path):
    folder = confirmed_study(tmp_path / "s", drop=["confirm-placebo-8-t25"])
    space = yaml.safe_load((folder / "space.yaml").read_text())
    space["resources"] |= {"cpu": 4, "gpu": 0.5}
    (folder / "space.yaml").write_text(yaml.safe_dump(space))
    table = costs_table(read_study(folder))
    assert list(table["phase"]) == ["search", "controls", "confirmation"] * 2
    assert list(table["trials"]) == [2, 5, 17, 2, 5, 18]
    section = costs_section(read_study(folder))
    rows = table_rows(to_markdown("T", [section]), "Time")
    assert rows[0][-3:] == ["hours", "CPU-hours", "GPU-hours"]
    # 18 trials of 90 seconds.
    assert rows[6][5:] == ["90", "0.45", "1.8", "0.225"]

"""Tests of the sections on confusions and devices."""

from results_folder import predictions, table_rows, two_strata
from section_text import section_text

from analysis.sections.changes import confusions_section, devices_section
from analysis.sections.evidence import main_evidence
from focusnet.trial.logits import write_frame


def test_confusions_and_devices_are_of_the_largest_subset(tmp_path):
    study = two_strata(tmp_path / "small")
    # The smaller subset's winner has other predictions.
    other = predictions([("bus", "lyon-1", "a", "bus", "bus"), ("park", "lyon-2", "b", "park",
                                                                "park")])  # fmt: skip
    write_frame(study / "predictions" / "t25-b.parquet", other)
    text = section_text(
        study,
        lambda study: confusions_section(main_evidence(study)),
        lambda study: devices_section(study, main_evidence(study)),
    )
    assert "The winner of subset 100 on report:" in text
    assert table_rows(text, "Confusions")[1:] == [
        ["bus / tram", "50.0", "1", "12.5", "1", "-37.5"],
        ["bus / park", "12.5", "2", "0.0", "3", "-12.5"],
        ["park / tram", "0.0", "3", "12.5", "2", "+12.5"],
    ]
    assert table_rows(text, "Devices") == [
        ["device", "clips", "template %", "FocusNet %", "change"],
        ["a", "4", "25.0", "100.0", "+75.0"],
        ["b", "3", "66.7", "66.7", "0.0"],
        ["s1", "3", "100.0", "66.7", "-33.3"],
        ["real (a, b, c)", "-", "50.0", "75.0", "+25.0"],
    ]

"""Tests of the section on provenance."""

import copy
import json

import pytest
from results_folder import RUN, two_strata
from section_text import flat, section_text

from analysis.read_study import read_study
from analysis.sections.missing import missing_section
from analysis.sections.provenance import provenance_section


@pytest.fixture
def study(tmp_path):
    return two_strata(tmp_path / "small")


def test_provenance_is_shown(study):
    text = flat(section_text(study, provenance_section))
    for part in (
        "seed: 7",
        "code: git 0123456789ab",
        "hardware: A processor, 2 cores, 8 GiB memory, no GPU, Linux 6",
        "versions: Python 3.11.7, torch 2.11.0, ray 2.60.0",
        "time: 6.0 minutes in 1 ended run; 9.0 minutes in 6 finished trials, added up",
        "templates: 2 trained and 4 reused by the finished trials, 2 distinct",
        "60 clips at 32000 Hz, 3 scenes: bus, park, tram",
        "fingerprint fedcba",
        "2 clips skipped: audio/x.wav: empty; audio/y.wav: stereo",
        "random, 3 trials for each data.subset, maximises focus/select/macro_accuracy",
    ):
        assert part in text
    assert missing_section(read_study(study)) is None


def test_what_changed_between_runs_is_shown_once(study):
    path = study / "provenance.json"
    record = json.loads(path.read_text())
    changed = copy.deepcopy(RUN) | {"git": {"revision": "f" * 40, "dirty": True}}
    record["runs"] += [changed, changed]
    path.write_text(json.dumps(record))
    text = flat(section_text(study, provenance_section))
    expected = f"code: git 0123456789ab | then: git {'f' * 12} with uncommitted changes"
    assert expected in text.replace("\\|", "|")
    assert text.count("A processor") == 1

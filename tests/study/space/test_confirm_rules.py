"""Settings of the confirmation: how they are checked, resolved and recorded."""

import pytest
import yaml

from focusnet.errors import ConfigError
from study.space.recorded import as_begun, validate_recorded
from study.space.validation import validate_space

LOOKS = (("confirm",), {"looks": [{25: 6, 100: 4}, {25: 12, 100: 8}]})
TPE = (("search", "algorithm"), "tpe")
BEST = (("trial", "template", "keep"), "best")


def confirm(**settings):
    return (("confirm",), settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [TPE, confirm(cross_fit=True)],
            r"confirm\.cross_fit: needs a search .* with tpe",
        ),
        (
            [
                (("search", "scheduler"), "asha"),
                (("search", "algorithm"), "random"),
                confirm(cross_fit=True),
            ],
            r"confirm\.cross_fit: needs a search .* received true with scheduler asha",
        ),
        ([BEST, confirm(cross_fit=True)], r"confirm\.cross_fit: needs trial\.template\.keep: last"),
        (
            [(("space", "template.keep"), {"choice": ["best", "last"]}), confirm(cross_fit=True)],
            r"confirm\.cross_fit: needs trial\.template\.keep: last",
        ),
        (
            [confirm(cross_fit=True, seeds=[7, 8, 9])],
            r"cross_fit: needs a number of seeds",
        ),
        ([confirm(cross_fit=True, seeds=2)], r"confirm\.seeds: must be at least 3 .* received 2"),
        (
            [confirm(seeds=10**9)],
            r"confirm\.seeds: must be .* up to 1000.* 1000000000",
        ),
        (
            [confirm(seeds={25: 5, 100: 10**9})],
            r"confirm\.seeds: must be .* up to 1000",
        ),
        (
            [confirm(seeds={25: 5})],
            r"confirm\.seeds: must name every stratum .*100",
        ),
        ([confirm(seeds={25: 5, 100: 5, 7: 5})], r"confirm\.seeds\.7: no such stratum"),
        ([confirm(seeds={})], r"confirm\.seeds: must be a number"),
        ([confirm(seeds=5, looks=[6])], r"confirm\.seeds: confirm\.looks states the seeds .* 5"),
        ([confirm(looks=[6, 6])], r"confirm\.looks\.1: seeds must increase .* received 6 after 6"),
        (
            [confirm(looks=[{25: 6, 100: 4}, {25: 12, 100: 4}])],
            r"confirm\.looks\.1: seeds must increase from look to look in every stratum",
        ),
        ([confirm(looks=[{25: 6}])], r"confirm\.looks\.0: must name every stratum .* lacks 100"),
        ([confirm(looks=[2, 4])], r"confirm\.looks\.0: must have at least 3 seeds .* received 2"),
        ([TPE, confirm(looks=[1, 4])], r"confirm\.looks\.0: must have at least 2 seeds"),
        ([confirm(looks=[])], r"confirm\.looks: must be a list of up to 20 looks"),
        ([confirm(looks=6)], r"confirm\.looks: must be a list of up to 20 looks.* received 6"),
        ([confirm(looks=[10**9])], r"confirm\.looks: must be a list of up to 20 looks"),
        ([confirm(looks=[True])], r"confirm\.looks: must be a list of up to 20 looks"),
        ([confirm(margin=0)], r"confirm\.margin: .*0"),
        ([confirm(margin=float("nan"))], r"confirm\.margin"),
        ([confirm(cros_fit=True)], r"confirm\.cros_fit.*cross_fit"),
    ],
)
def test_wrong_settings_are_reported_by_path_rule_and_value(make_space, changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make_space(*changes)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("changes", "crosswise"),
    [
        ([confirm()], True),
        ([confirm(seeds=3)], True),
        ([confirm(seeds={25: 3, 100: 8})], True),
        ([LOOKS], True),
        ([confirm(seeds=2)], False),
        ([confirm(seeds=[7, 8, 9])], False),
        ([confirm(seeds=6, cross_fit=False)], False),
        ([BEST, confirm(seeds=6)], False),
        ([TPE, confirm(seeds=6)], False),
        ([(("search", "scheduler"), "asha"), (("trial", "template"), {"epochs": 9}), LOOKS], False),
    ],
)
def test_a_search_fixed_in_advance_is_confirmed_crosswise(make_space, changes, crosswise):
    space = make_space(*changes)
    assert space.cross_fit is crosswise
    # Seeds are the strata's own where the halves, looks or numbers by stratum ask for it.
    own = crosswise or LOOKS in changes
    assert bool(space.confirm_looks) == own
    assert bool(space.confirm_seeds) != own


@pytest.mark.parametrize(
    "changes",
    [
        [confirm()],
        [LOOKS],
        [confirm(seeds={25: 3, 100: 8}, margin=0.5)],
        [TPE, LOOKS],
        [confirm(seeds=0)],
    ],
)
def test_what_is_recorded_describes_the_same_space(make_space, changes):
    space = make_space(*changes)
    recorded = yaml.safe_load(yaml.safe_dump(space.content(), sort_keys=False))
    again = validate_recorded(recorded, "space.yaml")
    assert again == space
    assert recorded["confirm"]["cross_fit"] is space.cross_fit


def test_a_single_search_records_plain_numbers(make_space):
    single = [(("search", "stratify"), None), (("space", "data.subset"), ...)]
    space = make_space(*single, confirm(looks=[4, 8]))
    assert space.content()["confirm"]["looks"] == [4, 8]
    assert validate_recorded(space.content(), "space.yaml") == space


def test_a_study_begun_before_goes_on_with_one_winner_and_shared_seeds(make_space, content):
    recorded = make_space(confirm(seeds=3)).content()
    recorded["confirm"] = {"seeds": [1, 2, 3], "keep_weights": False}  # as an older version
    content["confirm"] = {"seeds": 5}
    space = validate_space(as_begun(content, recorded), "small.yaml")
    assert not space.cross_fit
    assert space.confirm_seeds == (1, 2, 3, 4, 5)
    assert validate_recorded(recorded, "space.yaml").confirm_seeds == (1, 2, 3)
    recorded["confirm"] = make_space(confirm(seeds=3)).content()["confirm"]
    assert validate_space(as_begun(content, recorded), "small.yaml").cross_fit


def test_no_seeds_means_no_confirmation_whatever_looks_are_planned(make_space):
    space = make_space(confirm(seeds=0, looks=[6, 12]))
    assert not space.looks_planned
    assert space.trials_in_all == space.trials_searched

"""--resume continues the same study and refuses a changed one."""

import copy

import pytest
from small_space import CONTENT

from focusnet.errors import ConfigError
from study.ledger.ledger import Ledger, Trial
from study.plan.resume import changes, check_folder
from study.space.recorded import as_begun, validate_recorded
from study.space.validation import validate_space


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "small")


def check(ledger, space, resume):
    check_folder(ledger, space, resume=resume, how_to_resume="COMMAND --resume")


def test_a_new_folder_may_be_used_with_and_without_resume(ledger, make_space):
    check(ledger, make_space(), resume=False)
    check(ledger, make_space(), resume=True)
    with ledger.locked():  # a start that was refused leaves its lock file
        check(ledger, make_space(), resume=False)


def test_a_study_is_not_overwritten_and_its_state_is_reported(ledger, make_space):
    space = make_space()
    ledger.begin(space.content())
    ledger.hand_out(Trial("a", "focusnet", 25, 0, 0, {}))
    (ledger.trial_folder("a") / "result.json").write_text('{"metrics": {}}')
    with pytest.raises(ConfigError, match=r"1 of 6 trials finished.*COMMAND --resume"):
        check(ledger, space, resume=False)
    check(ledger, space, resume=True)


def test_a_folder_with_other_files_is_refused(ledger, make_space):
    ledger.folder.mkdir()
    (ledger.folder / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"holds no study, but thesis\.tex"):
        check(ledger, make_space(), resume=True)


def test_resume_allows_more_trials_and_other_resources(ledger, make_space):
    ledger.begin(make_space().content())
    check(ledger, make_space((("search", "trials"), 5)), resume=True)
    check(ledger, make_space((("resources", "max_concurrent"), 1)), resume=True)
    check(ledger, make_space((("resources", "retries"), 9)), resume=True)
    for free in ({"checkpoint_epochs": 5}, {"non_finite_retries": 1}, {"eval_epochs": 3}):
        check(ledger, make_space((("trial", "compute"), free)), resume=True)
    check(ledger, make_space((("trial", "template", "batch_size"), 128)), resume=True)  # default


def test_resume_allows_more_trials_in_any_stratum(ledger, make_space):
    ledger.begin(make_space((("search", "trials"), {25: 3, 100: 2})).content())
    for more in ({25: 3, 100: 2}, {25: 4, 100: 2}, {25: 3, 100: 9}, 3, 4):
        check(ledger, make_space((("search", "trials"), more)), resume=True)
    for fewer, stratum, was, now in (({25: 2, 100: 9}, 25, 3, 2), (2, 25, 3, 2)):
        message = rf"search\.trials\.{stratum}: was {was}, now {now} \(it can only grow\)"
        with pytest.raises(ConfigError, match=message):
            check(ledger, make_space((("search", "trials"), fewer)), resume=True)


def test_the_state_of_a_study_counts_the_trials_that_it_was_begun_with(ledger, make_space):
    ledger.begin(make_space((("search", "trials"), {25: 3, 100: 2})).content())
    with pytest.raises(ConfigError, match="0 of 5 trials finished"):
        check(ledger, make_space(), resume=False)


def test_a_study_begun_before_a_setting_existed_goes_on_as_it_was_begun(ledger, make_space):
    begun = make_space().content()
    del begun["search"]["winner"]
    ledger.begin(begun)
    assert validate_recorded(ledger.space(), "s").search.winner == "best_observed"
    content = copy.deepcopy(CONTENT)
    resumed = as_begun(content, ledger.space())
    assert resumed["search"]["winner"] == "best_observed"
    assert content == CONTENT
    check(ledger, validate_space(resumed, "s"), resume=True)
    stated = {**content, "search": {**content["search"], "winner": "posterior_mean"}}
    with pytest.raises(ConfigError, match=r"search\.winner: was 'best_observed', now 'posterior_m"):
        check(ledger, validate_space(as_begun(stated, begun), "s"), resume=True)


def test_a_study_of_today_keeps_its_rule_for_the_winner(ledger, make_space):
    ledger.begin(make_space((("search", "winner"), "best_observed")).content())
    space = validate_space(as_begun(CONTENT, ledger.space()), "s")
    assert space.search.winner == "best_observed"
    check(ledger, space, resume=True)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("search", "trials"), 2, "search.trials: was 3, now 2 (it can only grow)"),
        (("search", "seed"), 1, "search.seed: was 0, now 1"),
        (("search", "algorithm"), "tpe", "search.algorithm: was 'random', now 'tpe'"),
        (("trial", "template", "lr"), 1e-3, "trial.template.lr: was 1e-05, now 0.001"),
        (
            ("space", "focus.threshold"),
            {"uniform": [0.02, 0.4]},
            "space.focus.threshold.uniform: was [0.02, 0.5], now [0.02, 0.4]",
        ),
        (
            ("space", "focus.temperature"),
            {"choice": [1, 2]},
            "space.focus.temperature.choice: was 'nothing', now [1, 2]",
        ),
    ],
)
def test_resume_with_another_space_is_refused_with_the_changes(
    ledger, make_space, keys, value, message
):
    ledger.begin(make_space().content())
    with pytest.raises(ConfigError) as error:
        check(ledger, make_space((keys, value)), resume=True)
    assert message in "\n".join(error.value.problems)


def test_a_space_read_back_from_its_file_has_not_changed(ledger, make_space):
    space = make_space((("space", "focus.lr"), {"choice": [None, 1e-5, 3e-5]}))
    ledger.begin(space.content())
    assert changes(ledger.space(), space.content()) == []


def test_resume_fills_settings_that_did_not_exist_with_their_defaults(ledger, make_space):
    space = make_space()
    begun = space.content()
    del begun["search"]["second_metric"], begun["confirm"], begun["trial"]["focus"]["distillation"]
    ledger.begin(begun)
    check_folder(ledger, space, resume=True, how_to_resume="")
    other = make_space((("trial", "focus"), {"distillation": {"weight": 0.1}}))
    with pytest.raises(
        ConfigError, match=r"trial\.focus\.distillation\.weight: was 0\.5, now 0\.1"
    ):
        check_folder(ledger, other, resume=True, how_to_resume="")

"""--resume continues the same study and refuses a changed one."""

import pytest

from focusnet.errors import ConfigError
from study.ledger.ledger import Ledger, Trial
from study.plan.resume import changes, check_folder


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

"""The disk estimate agrees with real models and files, and a full disk is refused."""

import json
import shutil
from dataclasses import replace

import pytest

import study.plan.disk as disk
from focusnet.config import ModelConfig
from focusnet.errors import ConfigError
from focusnet.model.passt import build_model
from study.ledger.ledger import Ledger, Trial
from study.plan.data_size import decoded_bytes, largest_data
from study.plan.describe import describe_plan
from study.plan.disk import Need, check_disk, needs, parameters


@pytest.mark.parametrize(
    ("settings", "n_mels", "classes"),
    [
        ({"size": "tiny"}, 128, 10),
        ({"size": "tiny", "stride": 10, "max_frames": 144}, 64, 3),
        ({"size": "mini"}, 128, 10),
        ({"size": "passt_s"}, 128, 10),
    ],
)
def test_the_number_of_parameters_equals_the_models(settings, n_mels, classes):
    config = ModelConfig(weights="none", **settings)
    state = build_model(config, classes, n_mels=n_mels).state_dict()
    assert parameters(config, n_mels, classes) == sum(t.numel() for t in state.values())


def test_a_study_of_300_passt_s_trials_needs_tens_of_gigabytes(make_space, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCUSNET_CACHE", str(tmp_path / "cache"))
    space = make_space(
        (("search", "trials"), 150),
        (("trial", "model"), {"size": "passt_s", "weights": "audioset"}),
    )
    results, cache = needs(space, Ledger(tmp_path / "small"), slots=8)
    weights = 4 * parameters(ModelConfig(), 128, 10)
    assert weights == pytest.approx(0.344e9, rel=0.01)
    assert results.parts["weights of winners"] == (2 + 8) * weights
    confirmed = replace(space, confirm_seeds=(1, 2, 3), confirmed_weights=True)
    results, _ = needs(confirmed, Ledger(tmp_path / "small"), slots=8)
    assert results.parts["weights of winners"] == (2 + 8 + 2 * 3) * weights
    # 8 trials, 3 copies of the weights each, the new one beside the old
    assert results.parts["checkpoints"] == 8 * 2 * 3 * weights
    assert cache.parts["templates"] == pytest.approx(2 * weights, rel=0.01)
    assert 20e9 < results.total + cache.total < 40e9


def test_a_study_without_checkpoints_needs_no_room_for_them(make_space, tmp_path):
    ledger = Ledger(tmp_path / "small")

    def with_checkpoints(space):
        results, cache = needs(space, ledger, slots=2)
        return results.parts["checkpoints"], cache.parts["checkpoints of templates"]

    never = make_space((("trial", "compute"), {"checkpoint_epochs": 0}))
    assert with_checkpoints(never) == (0, 0)
    searched = make_space((("space", "compute.checkpoint_epochs"), {"choice": [0, 5]}))
    assert with_checkpoints(searched) == with_checkpoints(make_space())
    assert min(with_checkpoints(searched)) > 0


def test_a_search_over_template_settings_counts_one_template_per_trial(make_space, tmp_path):
    space = make_space((("space", "template.lr"), {"loguniform": [1e-5, 1e-3]}))
    _, cache = needs(space, Ledger(tmp_path / "small"), slots=1)
    one = needs(make_space(), Ledger(tmp_path / "small"), slots=1)[1].parts["templates"] / 2
    assert cache.parts["templates"] == 6 * one


def test_existing_files_are_subtracted(make_space, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCUSNET_CACHE", str(tmp_path / "cache"))
    space = make_space()
    ledger = Ledger(tmp_path / "results" / "small")
    results, cache = needs(space, ledger, slots=1)
    assert cache.parts["audio"] == 10 * 4 * (26 + 12) * 44_100 * 2
    ledger.begin(space.content())
    ledger.hand_out(Trial("a", "focusnet", 25, 0, 0, {}))
    folder = ledger.trial_folder("a")
    (folder / "result.json").write_text(json.dumps({"metrics": {}, "template_key": "k"}))
    (folder / "weights.safetensors").write_bytes(bytes(100_000))
    (tmp_path / "cache" / "templates" / "k").mkdir(parents=True)
    later, later_cache = needs(space, Ledger(ledger.folder), slots=1)
    assert 100_000 <= results.total - later.total < 101_000
    assert later_cache.parts["templates"] * 2 == cache.parts["templates"]
    assert later_cache.parts["audio"] == 0


def test_the_size_of_the_audio_follows_from_the_tables_and_the_first_clip(
    make_space, tiny_dataset, tmp_path
):
    from focusnet.dataset.layout import read_dataset
    from focusnet.dataset.waveforms import open_waveforms

    def space(rate):
        return make_space(
            (("trial", "data", "root"), str(tiny_dataset)),
            (("trial", "features"), {"sample_rate": rate}),
        )

    dataset = read_dataset(tiny_dataset)
    size = largest_data(space(44_100))
    assert (size.train, size.test, size.scenes) == (len(dataset.train), len(dataset.test), 10)
    for rate in (44_100, 32_000):  # int16 as it is, float32 when resampled
        said = decoded_bytes(space(rate), tmp_path, begun=False)
        waveforms = open_waveforms(
            dataset, sample_rate=rate, cache=tmp_path, on_bad_clip="error", progress=False
        )
        assert said == {"audio": waveforms.samples.nbytes}
        assert decoded_bytes(space(rate), tmp_path, begun=False) == {"audio": 0}


def test_a_disk_that_is_too_small_is_refused_with_folders_needed_and_free(tmp_path, monkeypatch):
    wanted = [
        Need(tmp_path / "results", {"weights": 3_000_000_000}),
        Need(tmp_path / "cache", {"audio": 20_500_000_000, "templates": 0}),
    ]
    usage = shutil.disk_usage(tmp_path)._replace(free=23_500_000_000)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage)
    check_disk(wanted)
    # Each would fit, but they share a file system.
    usage = usage._replace(free=23_499_999_999)
    with pytest.raises(ConfigError) as refused:
        check_disk(wanted)
    assert refused.value.problems[:3] == [
        f"{tmp_path}/results and {tmp_path}/cache: the study needs 23.5 GB, 23.5 GB are free",
        f"  {tmp_path}/results: 3.0 GB (weights 3.0 GB)",
        f"  {tmp_path}/cache: 20.5 GB (audio 20.5 GB)",
    ]


def test_the_plan_shows_needed_and_free_bytes_of_both_folders(make_space, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCUSNET_CACHE", str(tmp_path / "cache"))
    usage = shutil.disk_usage(tmp_path)._replace(free=5_000_000_000)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage)
    plan = describe_plan(make_space(), tmp_path / "results" / "small")
    needed, cache = (line for line in plan.splitlines() if line.endswith("5.0 GB free"))
    assert needed.startswith(f"  disk         {tmp_path}/results/small: up to ")
    assert cache.strip().startswith(f"{tmp_path}/cache: up to 275.2 MB (audio 134.1 MB, synthetic ")
    absent = make_space((("trial", "data", "root"), str(tmp_path / "nowhere")))
    assert "the data set is missing, so not counted" in describe_plan(absent, tmp_path)


CROSS_FITTED = (("trial", "focus"), {"template_logits": "cross_fitted", "folds": 4})


@pytest.mark.parametrize(
    ("changes", "folds"),
    [
        ((), 0),
        (((("trial", "focus"), {"folds": 4}),), 0),
        ((CROSS_FITTED,), 4),
        (((("space", "focus.template_logits"), {"choice": ["stored", "cross_fitted"]}),), 5),
        ((CROSS_FITTED, (("space", "focus.folds"), {"choice": [2, 5]})), 2 + 5),
        ((CROSS_FITTED, (("space", "focus.folds"), {"int": [2, 4]})), 2 + 3 + 4),
        ((CROSS_FITTED, (("trial", "template"), {"epochs": 6, "reuse": False})), 4),
        (
            (
                CROSS_FITTED,
                (("trial", "template"), {"epochs": 6, "reuse": False}),
                (("space", "focus.folds"), {"choice": [2, 5]}),
            ),
            5,
        ),
    ],
)
def test_folds_multiply_the_templates_that_are_trained(changes, folds, make_space):
    space = make_space(*changes)
    assert space.templates_at_most() >= 2
    assert space.folds_at_most() == folds * space.templates_at_most()


def test_plan_and_disk_estimate_count_the_templates_of_folds(make_space, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCUSNET_CACHE", str(tmp_path / "cache"))
    plain, fitted = make_space(), make_space(CROSS_FITTED)
    many = 4 * plain.templates_at_most()
    said = f"and up to {many} for out-of-fold logits: 4 for each of them, trained on 3/4 of its"
    assert said in describe_plan(fitted, tmp_path / "results")
    assert "out-of-fold" not in describe_plan(plain, tmp_path / "results")
    before, after = (
        needs(space, Ledger(tmp_path / "small"), slots=30)[1].parts for space in (plain, fitted)
    )
    clips = 10 * 4 * 26  # of the synthetic data
    assert after["logits of folds"] == many * clips * (4 * 10 + 20)
    assert after["templates"] == before["templates"], "no weights are kept of a fold"
    assert after["checkpoints of templates"] > before["checkpoints of templates"]

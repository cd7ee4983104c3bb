"""PaSST, compared with hear21passt's class, and loading of published weights."""

import hashlib
import http.server
import threading
import warnings
from functools import partial
from pathlib import Path

import hear21passt.models.passt as hear
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from focusnet.config import ModelConfig
from focusnet.errors import DataError
from focusnet.model.passt import build_model
from focusnet.model.weights import PublishedWeights, fetch, sha256_of


def tiny(**changes) -> ModelConfig:
    return ModelConfig(**({"size": "tiny", "weights": "none", "max_frames": 144} | changes))


def hear_tiny(n_classes=10, frames=144):
    return hear.PaSST(
        img_size=(128, frames),
        stride=16,
        num_classes=n_classes,
        embed_dim=64,
        depth=2,
        num_heads=2,
        distilled=True,
    )


def spectrograms(frames=138, batch=3):
    return torch.randn(batch, 1, 128, frames, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("frames", [100, 138, 144])
def test_tiny_equals_hear21passts_class_bit_for_bit(frames):
    ours = build_model(tiny()).eval()
    theirs = hear_tiny().eval()
    theirs.load_state_dict(ours.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs(spectrograms(frames))
    logits, features = ours(spectrograms(frames))
    assert torch.equal(logits, expected[0])
    assert torch.equal(features, expected[1])


def test_gradients_equal_hear21passts():
    ours, theirs = build_model(tiny()), hear_tiny()
    theirs.load_state_dict(ours.state_dict())
    for model in (ours, theirs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model(spectrograms())[0].square().sum().backward()
    for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        if a.grad is None:
            assert b.grad is None, name
        else:
            assert torch.allclose(a.grad, b.grad, rtol=1e-5, atol=1e-7), name


@pytest.mark.parametrize("training", [False, True])
def test_class_tokens_only_in_the_last_block_changes_neither_logits_nor_gradients(training):
    plain = build_model(tiny(), patchout_freq=3).double()
    short = build_model(tiny(), patchout_freq=3, class_tokens_only=True).double()
    for model in (plain, short):
        model.generator = torch.Generator().manual_seed(5)
        logits, features = model.train(training)(spectrograms().double())
        (logits.square().sum() + features.sin().sum()).backward()
        model.seen = logits.detach(), features.detach()
    for ours, expected in zip(short.seen, plain.seen, strict=True):
        assert torch.allclose(ours, expected, rtol=1e-12, atol=1e-13)
    pairs = zip(short.named_parameters(), plain.named_parameters(), strict=True)
    for (name, ours), (_, expected) in pairs:
        assert (ours.grad is None) == (expected.grad is None), name
        if ours.grad is not None:
            assert torch.allclose(ours.grad, expected.grad, rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("class_tokens_only", [False, True])
@pytest.mark.parametrize(
    ("dtype", "rtol", "atol"), [(torch.float32, 1e-4, 1e-6), (torch.float64, 1e-9, 1e-12)]
)
def test_fused_attention_changes_neither_logits_nor_gradients(
    class_tokens_only, dtype, rtol, atol, monkeypatch
):
    calls = []
    kernel = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *a, **k: calls.append(k) or kernel(*a, **k)
    )
    seen, models = [], []
    for fused in (None, True):  # on a CPU the former is eager
        model = build_model(
            tiny(), patchout_freq=3, class_tokens_only=class_tokens_only, fused_attention=fused
        ).to(dtype)
        model.generator = torch.Generator().manual_seed(5)
        logits, features = model.train()(spectrograms().to(dtype))
        (logits.square().sum() + features.sin().sum()).backward()
        seen.append((logits.detach(), features.detach()))
        models.append(model)
        assert len(calls) == (len(model.blocks) if fused else 0)
    for ours, expected in zip(*seen, strict=True):
        assert torch.allclose(ours, expected, rtol=rtol, atol=atol)
    pairs = zip(*(model.named_parameters() for model in models), strict=True)
    for (name, expected), (_, ours) in pairs:
        assert (ours.grad is None) == (expected.grad is None), name
        if ours.grad is not None:
            assert torch.allclose(ours.grad, expected.grad, rtol=rtol, atol=10 * atol), name


@pytest.mark.parametrize("stride", [10, 16])
@pytest.mark.parametrize(("freq", "time"), [(0, 0), (3, 0), (0, 2), (3, 2)])
@pytest.mark.parametrize("training", [False, True])
def test_patches_as_a_matrix_change_neither_logits_nor_gradients(training, freq, time, stride):
    models, seen = [], []
    for as_matrix in (None, True):  # on a CPU the former is a convolution
        model = build_model(
            tiny(stride=stride),
            patchout_freq=freq,
            patchout_time=time,
            time_offset=True,
            patches_as_matrix=as_matrix,
        ).double()
        model.generator = torch.Generator().manual_seed(5)
        logits, features = model.train(training)(spectrograms(100).double())
        (logits.square().sum() + features.sin().sum()).backward()
        models.append(model)
        seen.append((logits.detach(), features.detach()))
    for expected, ours in zip(*seen, strict=True):
        assert torch.allclose(ours, expected, rtol=1e-10, atol=1e-12)
    pairs = zip(*(model.named_parameters() for model in models), strict=True)
    for (name, expected), (_, ours) in pairs:
        assert (ours.grad is None) == (expected.grad is None), name
        if ours.grad is not None:
            assert torch.allclose(ours.grad, expected.grad, rtol=1e-8, atol=1e-11), name


@pytest.fixture
def captured(monkeypatch):
    """Compiles without a GPU's compiler: graphs are captured, then run eagerly.

    Gives the list of batch sizes that the compiled blocks received.
    """
    compile_with = partial(torch.nn.Module.compile, backend="aot_eager")
    batches = []

    def compile_block(block, **options):
        compile_with(block, **options)
        run = block._compiled_call_impl
        block._compiled_call_impl = lambda x: batches.append(len(x)) or run(x)

    monkeypatch.setattr(hear.Block, "compile", compile_block)
    return batches


def test_compiled_blocks_change_neither_names_nor_logits_nor_gradients(captured):
    plain = build_model(tiny(), patchout_freq=3, class_tokens_only=True, seed=1)
    ours = build_model(tiny(), patchout_freq=3, class_tokens_only=True, seed=1, compiled=True)
    assert [block._compiled_call_impl is not None for block in ours.blocks] == [True, False]
    assert list(ours.state_dict()) == list(plain.state_dict())
    for model in (plain, ours):
        model.generator = torch.Generator().manual_seed(5)
        model.train()(spectrograms())[0].square().sum().backward()
    assert captured == [3]
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        if b.grad is not None:
            assert torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-6)


def test_hooks_on_blocks_run_in_training_and_evaluation():
    model, seen = build_model(tiny()), []
    for block in model.blocks:
        block.register_forward_hook(lambda *given: seen.append(model.training))
    model.train()(spectrograms())
    model.eval()(spectrograms(batch=1))
    assert seen == [True, True, False, False]


def test_only_full_training_batches_go_through_compiled_blocks(captured):
    model = build_model(tiny(), compiled=True)
    plain = build_model(tiny())
    for batch in (3, 3, 2):  # the last batch of an epoch is not full
        model.train()(spectrograms(batch=batch))
    assert captured == [3, 3]
    with torch.inference_mode():
        found = model.eval()(spectrograms())[0]
        assert torch.equal(found, plain.eval()(spectrograms())[0])
    with torch.no_grad():
        model.train()(spectrograms())
    assert captured == [3, 3]


def test_patchout_keeps_the_same_tokens_as_hear21passt():
    ours = build_model(tiny(), patchout_freq=3, patchout_time=2).train()
    theirs = hear_tiny()
    theirs.s_patchout_f, theirs.s_patchout_t = 3, 2
    theirs.load_state_dict(ours.state_dict())
    ours.generator = torch.Generator().manual_seed(5)
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs.train()(spectrograms())[0]
    assert torch.equal(ours(spectrograms())[0], expected)


def test_the_time_offset_shifts_positions_in_training_only():
    model = build_model(tiny(max_frames=400), time_offset=True)
    model.generator = torch.Generator()
    seen = set()
    for seed in range(12):
        model.generator.manual_seed(seed)
        seen.add(model.train()(spectrograms(batch=1))[0][0, 0].item())
    assert len(seen) > 4, "25 columns of positions allow 18 offsets for 8 columns of patches"
    logits = [model.eval()(spectrograms())[0] for _ in range(5)]
    assert all(torch.equal(logits[0], again) for again in logits)


def test_weights_depend_on_the_seed_only_and_torchs_generator_is_unchanged():
    before = torch.get_rng_state()
    first, again, other = (build_model(tiny(), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.head[1].weight, again.head[1].weight)
    assert not torch.equal(first.head[1].weight, other.head[1].weight)


def test_nothing_is_printed_and_no_warning_is_given(capfd, recwarn):
    build_model(tiny())(spectrograms())
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_load_but_a_head_of_another_size_stays_as_initialised(suffix, tmp_path: Path):
    source = hear_tiny(n_classes=527).state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save(source, path)
    else:
        save_file(source, path)
    fresh = build_model(tiny(), 10)
    model = build_model(tiny(weights=str(path)), 10)
    assert torch.equal(model.blocks[1].mlp.fc1.weight, source["blocks.1.mlp.fc1.weight"])
    assert torch.equal(model.head[0].weight, source["head.0.weight"])
    assert torch.equal(model.head[1].weight, fresh.head[1].weight)
    same_classes = build_model(tiny(weights=str(path)), 527)
    assert torch.equal(same_classes.head[1].weight, source["head.1.weight"])


@pytest.mark.slow
def test_passt_s_loads_a_file_in_the_format_of_the_audioset_weights(tmp_path: Path):
    # The published file: the state dict of PaSST-S with 527 classes, 998 frames, stride 10.
    published = hear.PaSST(
        img_size=(128, 998),
        stride=10,
        num_classes=527,
        embed_dim=768,
        depth=12,
        num_heads=12,
        distilled=True,
    )
    path = tmp_path / "passt-s-f128-p16-s10-ap.476-swa.pt"
    torch.save(published.state_dict(), path)
    model = build_model(ModelConfig(size="passt_s", weights=str(path))).eval()
    published.head = torch.nn.Sequential(published.head[0], model.head[1])
    published.eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        assert torch.equal(model(spectrograms())[0], published(spectrograms())[0])


def test_weights_of_another_network_are_refused_with_the_mismatches(tmp_path: Path):
    torch.save(hear_tiny(frames=400).state_dict(), tmp_path / "long.pt")
    with pytest.raises(
        DataError, match=r"long\.pt does not fit.*time_new_pos_embed is \(1, 64, 1, 25\)"
    ):
        build_model(tiny(weights=str(tmp_path / "long.pt")))
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(DataError, match="lacks cls_token"):
        build_model(tiny(weights=str(tmp_path / "other.pt")))


def test_a_weights_file_that_would_run_code_is_refused(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "ran").touch, ())

    torch.save({"head": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(DataError, match="cannot be read as weights"):
        build_model(tiny(weights=str(tmp_path / "trap.pt")))
    assert not (tmp_path / "ran").exists()


def test_a_missing_weights_file_is_refused_with_its_path(tmp_path: Path):
    with pytest.raises(DataError, match=r"nowhere\.pt is not a file"):
        build_model(tiny(weights=str(tmp_path / "nowhere.pt")))


@pytest.fixture
def server(tmp_path: Path):
    """A local web server over ``tmp_path/www``."""
    (tmp_path / "www").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = partial(Quiet, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def empty_hub(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("focusnet.system.transfer._LONGEST_WAIT", 0.0)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def test_a_download_is_verified_and_done_once(server, tmp_path: Path, empty_hub):
    (tmp_path / "www" / "w.pt").write_bytes(b"weights")
    published = PublishedWeights(
        "w.pt", f"{server}/w.pt", sha256_of(tmp_path / "www" / "w.pt"), megabytes=1
    )
    path = fetch(published, tmp_path / "cache")
    assert path.read_bytes() == b"weights"
    (tmp_path / "www" / "w.pt").unlink()
    assert fetch(published, tmp_path / "cache") == path


def test_a_download_with_another_checksum_is_not_kept(server, tmp_path: Path, empty_hub):
    (tmp_path / "www" / "w.pt").write_bytes(b"tampered")
    published = PublishedWeights("w.pt", f"{server}/w.pt", "0" * 64, megabytes=1)
    with pytest.raises(DataError, match=r"could not be downloaded: .*checksum"):
        fetch(published, tmp_path / "cache")
    assert not (tmp_path / "cache" / "w.pt").exists()


def test_a_failed_download_says_where_to_get_the_file_and_where_to_put_it(tmp_path, empty_hub):
    published = PublishedWeights("w.pt", "http://127.0.0.1:9/w.pt", "0" * 64, megabytes=1)
    with pytest.raises(DataError, match=r"(?s)put the file +http://127.*at this path +.*w\.pt"):
        fetch(published, tmp_path / "cache")


def test_a_file_with_another_checksum_is_refused_wherever_it_lies(tmp_path: Path, empty_hub):
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "w.pt").write_bytes(b"old")
    published = PublishedWeights("w.pt", "http://127.0.0.1:9/w.pt", "0" * 64, megabytes=1)
    with pytest.raises(DataError, match="wrong checksum: sha256 must be 0000"):
        fetch(published, tmp_path / "cache")


def test_a_file_that_has_not_changed_is_read_once(tmp_path, monkeypatch):
    path, read = tmp_path / "w.pt", []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *args: read.append(1) or digest(*args))
    for content in (b"one", b"two"):
        path.write_bytes(content)
        for _ in range(2):
            assert sha256_of(path) == hashlib.sha256(content).hexdigest()
    assert len(read) == 2

"""Nodes exchange complete templates through an address, one for each key."""

import json

import pytest
from flaky_files import FlakyFileSystem, flaky_folder

from focusnet.store import CHECKPOINT
from focusnet.trial.stored_stages import get_or_build
from study.remote.retry import Retrier
from study.remote.stored_stages import RemoteStages


@pytest.fixture
def remote():
    return flaky_folder("studies/.templates")


@pytest.fixture
def templates(remote):
    return RemoteStages(remote, Retrier(lambda seconds: None))


def never(folder):
    raise AssertionError("built twice")


def builder(content, before=None):
    """A build that leaves ``content``; ``before`` is called with the folder first."""

    def build(folder):
        if before is not None:
            before(folder)
        (folder / CHECKPOINT).write_text("state")
        (folder / "weights.safetensors").write_text(content)
        (folder / "template.json").write_text("{}")

    return build


def weights(template):
    return (template.folder / "weights.safetensors").read_text()


def test_a_template_built_on_one_node_is_used_on_another(tmp_path, remote, templates):
    first = get_or_build(tmp_path / "one", "key", builder("w"), exchange=templates)
    second = get_or_build(
        tmp_path / "two", "key", never, exchange=templates, user=tmp_path / "trial"
    )
    assert weights(first) == weights(second) == "w"
    names = {path.name for path in second.folder.iterdir()}
    assert names == {"about.json", "template.json", "weights.safetensors", "uses"}
    assert not [name for name in remote.list_files() if name.endswith(CHECKPOINT)]


def test_the_template_that_is_complete_first_is_used_by_all(tmp_path, remote, templates):
    def meanwhile(folder):
        get_or_build(tmp_path / "one", "key", builder("first"), exchange=templates)

    build = builder("second", meanwhile)
    second = get_or_build(tmp_path / "two", "key", build, exchange=templates)
    assert weights(second) == "first"
    assert not (tmp_path / "two" / "key.building").exists()
    third = get_or_build(tmp_path / "three", "key", never, exchange=templates)
    assert weights(third) == "first"
    assert len([name for name in remote.list_files() if name.endswith("weights.safetensors")]) == 1


@pytest.mark.parametrize("fuse", range(1, 12))
def test_an_incomplete_upload_is_not_visible(tmp_path, remote, templates, fuse):
    folder = tmp_path / "one" / "key"
    folder.mkdir(parents=True)
    builder("w")(folder)
    FlakyFileSystem.fuse = fuse
    assert templates.publish("key", folder), "it is used where it was built"
    FlakyFileSystem.down, FlakyFileSystem.fuse = False, None
    seen = templates.fetch("key", tmp_path / "two" / "key")
    if seen:
        assert (tmp_path / "two" / "key" / "weights.safetensors").read_text() == "w"
    else:
        assert not (tmp_path / "two" / "key").exists()
    again = get_or_build(tmp_path / "one", "key", never, exchange=templates)
    assert weights(again) == "w"
    assert templates.fetch("key", tmp_path / "three" / "key"), "uploaded later"


def test_a_damaged_template_is_built_again_and_replaced(tmp_path, remote, templates, caplog):
    get_or_build(tmp_path / "one", "key", builder("w"), exchange=templates)
    name = next(name for name in remote.list_files() if name.endswith("weights.safetensors"))
    remote.write(name, b"x")
    built = get_or_build(tmp_path / "two", "key", builder("new"), exchange=templates)
    assert weights(built) == "new"
    assert "damaged and not used: wrong checksum of weights.safetensors" in caplog.text
    assert weights(get_or_build(tmp_path / "three", "key", never, exchange=templates)) == "new"


@pytest.mark.parametrize(
    "manifest",
    [b"", b"{", b"[]", b'{"files": {"../../x": "0"}, "folder": "key/1"}', b'{"folder": "/etc"}'],
)
def test_an_invalid_manifest_is_ignored(tmp_path, remote, templates, manifest):
    remote.write("key.json", manifest)
    assert not templates.fetch("key", tmp_path / "key")
    assert not (tmp_path / "x").exists()
    get_or_build(tmp_path / "one", "key", builder("w"), exchange=templates)
    assert weights(get_or_build(tmp_path / "two", "key", never, exchange=templates)) == "w"


def test_a_build_resumes_from_the_checkpoint_of_another_node(tmp_path, remote, templates):
    uploaded = remote.subfolder("key")

    def dies(folder):
        (folder / CHECKPOINT).write_text("epoch 3")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_or_build(tmp_path / "one", "key", dies, exchange=templates)
    assert uploaded.read(CHECKPOINT) == b"epoch 3"

    found = []

    def resumes(folder):
        found.append((folder / CHECKPOINT).read_text())
        builder("w")(folder)

    get_or_build(tmp_path / "two", "key", resumes, exchange=templates)
    assert found == ["epoch 3"]
    assert uploaded.read(CHECKPOINT) is None


def test_a_checkpoint_that_the_build_deleted_is_removed_remotely(tmp_path, remote, templates):
    remote.write(f"key/{CHECKPOINT}", b"epoch 3")

    def fails(folder):
        (folder / CHECKPOINT).unlink()
        raise ValueError("the loss is not finite")

    with pytest.raises(ValueError, match="not finite"):
        get_or_build(tmp_path / "one", "key", fails, exchange=templates)
    assert remote.subfolder("key").read(CHECKPOINT) is None
    assert json.loads(remote.read("key.json") or b"{}") == {}

"""Templates that nodes exchange through an address are whole, and one for all."""

import json
import threading

import pytest
from flaky_files import FlakyFileSystem, flaky_place

from focusnet.store import CHECKPOINT
from focusnet.trial.templates import get_or_build
from study.remote.retry import Persistence
from study.remote.templates import RemoteTemplates


@pytest.fixture
def place():
    return flaky_place("studies/.templates")


@pytest.fixture
def said():
    return []


@pytest.fixture
def templates(place, said):
    return RemoteTemplates(place, Persistence(said.append, lambda seconds: None), said.append)


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


def test_what_one_node_has_built_the_other_takes(tmp_path, place, templates):
    first = get_or_build(tmp_path / "one", "key", builder("w"), exchange=templates)
    second = get_or_build(
        tmp_path / "two", "key", never, exchange=templates, user=tmp_path / "trial"
    )
    assert weights(first) == weights(second) == "w"
    names = {path.name for path in second.folder.iterdir()}
    assert names == {"about.json", "template.json", "weights.safetensors", "uses"}
    assert not [name for name in place.listing() if name.endswith(CHECKPOINT)]


def test_the_first_complete_one_is_everybodys(tmp_path, place, templates):
    def meanwhile(folder):
        get_or_build(tmp_path / "one", "key", builder("first"), exchange=templates)

    build = builder("second", meanwhile)
    second = get_or_build(tmp_path / "two", "key", build, exchange=templates)
    assert weights(second) == "first"
    assert not (tmp_path / "two" / "key.building").exists()
    third = get_or_build(tmp_path / "three", "key", never, exchange=templates)
    assert weights(third) == "first"
    assert len([name for name in place.listing() if name.endswith("weights.safetensors")]) == 1


@pytest.mark.parametrize("fuse", range(1, 12))
def test_a_template_cut_off_on_its_way_up_is_seen_by_nobody(tmp_path, place, templates, fuse):
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
    assert templates.fetch("key", tmp_path / "three" / "key"), "carried up later"


def test_a_damaged_template_is_built_anew_and_replaced(tmp_path, place, templates, said):
    get_or_build(tmp_path / "one", "key", builder("w"), exchange=templates)
    name = next(name for name in place.listing() if name.endswith("weights.safetensors"))
    place.write(name, b"x")
    built = get_or_build(tmp_path / "two", "key", builder("new"), exchange=templates)
    assert weights(built) == "new"
    assert "damaged and not used: wrong checksum of weights.safetensors" in said[0]
    assert weights(get_or_build(tmp_path / "three", "key", never, exchange=templates)) == "new"


@pytest.mark.parametrize(
    "manifest",
    [b"", b"{", b"[]", b'{"files": {"../../x": "0"}, "folder": "key/1"}', b'{"folder": "/etc"}'],
)
def test_a_manifest_that_makes_no_sense_is_none(tmp_path, place, templates, manifest):
    place.write("key.json", manifest)
    assert not templates.fetch("key", tmp_path / "key")
    assert not (tmp_path / "x").exists()
    get_or_build(tmp_path / "one", "key", builder("w"), exchange=templates)
    assert weights(get_or_build(tmp_path / "two", "key", never, exchange=templates)) == "w"


def test_a_builder_goes_on_from_the_state_of_one_that_died_on_another_node(
    tmp_path, place, templates
):
    carried = threading.Event()
    monitor = place.below("key")

    def dies(folder):
        (folder / CHECKPOINT).write_text("epoch 3")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_or_build(tmp_path / "one", "key", dies, exchange=templates)
    assert monitor.read(CHECKPOINT) == b"epoch 3"

    found = []

    def goes_on(folder):
        found.append((folder / CHECKPOINT).read_text())
        builder("w")(folder)
        carried.set()

    get_or_build(tmp_path / "two", "key", goes_on, exchange=templates)
    assert found == ["epoch 3"]
    assert monitor.read(CHECKPOINT) is None


def test_a_state_that_leads_nowhere_is_taken_away(tmp_path, place, templates):
    place.write(f"key/{CHECKPOINT}", b"epoch 3")

    def fails(folder):
        (folder / CHECKPOINT).unlink()
        raise ValueError("the loss is not finite")

    with pytest.raises(ValueError, match="not finite"):
        get_or_build(tmp_path / "one", "key", fails, exchange=templates)
    assert place.below("key").read(CHECKPOINT) is None
    assert json.loads(place.read("key.json") or b"{}") == {}

"""Unpacks archives, and refuses those that could do harm."""

import stat
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusnet.download.unpack import unpack
from focusnet.errors import DataError


def archive_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def paths_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(archive: Path, folder: Path) -> list[str]:
    """The problems of an archive that is refused; asserts that no file was written."""
    with pytest.raises(DataError) as caught:
        unpack(archive, folder)
    assert not [path for path in folder.rglob("*") if path.is_file()]
    return caught.value.problems


def test_files_are_unpacked_and_returned_with_their_sizes(tmp_path):
    members = {"set/meta.csv": b"filename\n", "set/audio/a.wav": bytes(5000), "set/empty": b""}
    archive = archive_of(tmp_path / "a.zip", members)
    sizes = unpack(archive, tmp_path / "out")
    assert sizes == {"set/meta.csv": 9, "set/audio/a.wav": 5000, "set/empty": 0}
    assert {name: (tmp_path / "out" / name).read_bytes() for name in members} == members


def test_existing_files_are_replaced(tmp_path):
    archive = archive_of(tmp_path / "a.zip", {"x": b"new"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").write_bytes(b"old and cut")
    unpack(archive, tmp_path / "out")
    assert paths_in(tmp_path / "out") == ["x"]
    assert (tmp_path / "out" / "x").read_bytes() == b"new"


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/etc/evil",
        "a//evil",
        "./evil",
        "a/./evil",
        "a\\..\\evil",
        "C:/evil",
        "a\nb",
    ],
)
def test_an_unsafe_name_makes_the_whole_archive_refused(name, tmp_path):
    archive = archive_of(tmp_path / "a.zip", {"good": b"1", name: b"2"})
    [problem] = refused(archive, tmp_path / "out")
    assert "refused" in problem
    assert not (tmp_path / "evil").exists()


@settings(max_examples=60)
@given(
    st.lists(
        st.sampled_from(["a", "b", "..", ".", "", "c:", "d\\e", "f\0g", " ", "~", "-"]),
        min_size=1,
        max_size=4,
    )
)
def test_no_name_makes_a_file_appear_outside_the_folder(parts):
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        archive = archive_of(base / "a.zip", {"/".join(parts) or " ": b"x"})
        try:
            sizes = unpack(archive, base / "in" / "out")
        except DataError:
            sizes = {}
        outside = [
            path
            for path in base.rglob("*")
            if path.is_file() and not path.is_relative_to(base / "in" / "out")
        ]
        assert outside == [archive]
        assert len([path for path in (base / "in").rglob("*") if path.is_file()]) == len(sizes)


@pytest.mark.parametrize(
    ("kind", "reason"), [(stat.S_IFLNK, "is a link"), (stat.S_IFIFO, "is no plain file")]
)
def test_links_and_devices_are_refused(kind, reason, tmp_path):
    member = zipfile.ZipInfo("audio")
    member.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(member, "/etc")
    assert reason in refused(tmp_path / "a.zip", tmp_path / "out")[0]


def test_an_existing_link_to_another_folder_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "audio").symlink_to(tmp_path / "elsewhere")
    archive = archive_of(tmp_path / "a.zip", {"audio/a.wav": b"1"})
    with pytest.raises(DataError, match="a link that leads out of"):
        unpack(archive, tmp_path / "out")
    assert paths_in(tmp_path / "elsewhere") == []


def test_an_existing_link_is_replaced_and_its_target_left_alone(tmp_path):
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.wav").symlink_to(tmp_path / "precious")
    unpack(archive_of(tmp_path / "a.zip", {"a.wav": b"1"}), tmp_path / "out")
    assert (tmp_path / "precious").read_bytes() == b"mine"
    assert (tmp_path / "out" / "a.wav").read_bytes() == b"1"


def test_a_zip_bomb_is_refused(tmp_path):
    archive = archive_of(tmp_path / "a.zip", {"bomb": bytes(20_000_000)})
    assert "would become 20,000,000" in refused(archive, tmp_path / "out")[0]


def with_declared_size(archive: Path, size: int) -> Path:
    """The archive with another size of its only file, in both of its headers."""
    content = bytearray(archive.read_bytes())
    local, central = content.index(b"PK\3\4"), content.index(b"PK\1\2")
    for at in (local + 22, central + 24):
        content[at : at + 4] = size.to_bytes(4, "little")
    archive.write_bytes(content)
    return archive


@pytest.mark.parametrize("size", [10, 5000])
def test_a_wrong_declared_size_is_noticed(size, tmp_path):
    content = bytes(range(250)) * 4
    archive = with_declared_size(archive_of(tmp_path / "a.zip", {"x": content}), size)
    assert "not an intact zip archive" in refused(archive, tmp_path / "out")[0]


def test_overlapping_files_are_refused(tmp_path):
    archive = archive_of(tmp_path / "a.zip", {"a": b"0123456789" * 1000, "b": b"x"})
    content = bytearray(archive.read_bytes())
    second = content.index(b"PK\1\2", content.index(b"PK\1\2") + 1)
    content[second + 20 : second + 24] = (10_000).to_bytes(4, "little")
    archive.write_bytes(content)
    assert "overlap" in refused(archive, tmp_path / "out")[0]


def test_names_that_differ_in_case_only_are_refused(tmp_path):
    archive = archive_of(tmp_path / "a.zip", {"audio/A.wav": b"1", "audio/a.wav": b"2"})
    problems = refused(archive, tmp_path / "out")
    assert ["is there more than once" in problem for problem in problems] == [True, True]


def test_an_encrypted_archive_is_refused(tmp_path):
    archive = archive_of(tmp_path / "a.zip", {"a": b"1"})
    content = bytearray(archive.read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + at] |= 1
    archive.write_bytes(content)
    assert "is encrypted" in refused(archive, tmp_path / "out")[0]


@pytest.mark.parametrize("at", [0.1, 0.3, 0.6, 0.9])
def test_a_corrupt_archive_is_an_error_and_leaves_no_partial_file(at, tmp_path):
    archive = archive_of(tmp_path / "a.zip", {"a": bytes(range(256)) * 400})
    content = bytearray(archive.read_bytes())
    place = int(len(content) * at)
    content[place : place + 8] = bytes(byte ^ 0x55 for byte in content[place : place + 8])
    archive.write_bytes(content)
    with pytest.raises(DataError):
        unpack(archive, tmp_path / "out")
    assert paths_in(tmp_path / "out") == []


def test_a_file_that_is_no_archive_is_named(tmp_path):
    (tmp_path / "a.zip").write_text("<html>please log in</html>")
    assert "a.zip: not an intact zip archive" in refused(tmp_path / "a.zip", tmp_path / "out")[0]


def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("focusnet.download.unpack._SPARE", 10**18)
    archive = archive_of(tmp_path / "a.zip", {"a": b"1"})
    assert "GB are free" in refused(archive, tmp_path / "out")[0]

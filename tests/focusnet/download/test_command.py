"""Downloads of TAU22 and weights: in parallel, resumed, verified; error messages of the command."""

import dataclasses
import hashlib
import io
import json
import re
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faulty_server import faulty_server

import focusnet.model.weights
from focusnet.dataset.layout import read_dataset
from focusnet.download import tau22, tau22_files
from focusnet.download.__main__ import main
from focusnet.download.tau22 import download_tau22
from focusnet.download.tau22_files import SUBSETS, TAU22, with_sizes
from focusnet.errors import DataError
from focusnet.system import transfer
from focusnet.system.transfer import RemoteFile

NAME = "TAU-urban-acoustic-scenes-2022-mobile-development"
RECORD = "api/records/6337421"


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{NAME}/{name}", content)
    return buffer.getvalue()


@pytest.fixture
def files(tmp_path, write_layout, clip) -> dict[str, bytes]:
    """What the server publishes: a small TAU22 and its subset lists."""
    train = [clip(scene, f"paris-{n}") for n, scene in enumerate(["bus", "bus", "tram", "tram"])]
    test = [clip(scene, f"lyon-{n}") for n, scene in enumerate(["bus", "tram"])]
    root = write_layout(tmp_path / "layout", train, test)
    tables = ["meta.csv", "evaluation_setup/fold1_train.csv", "evaluation_setup/fold1_evaluate.csv"]
    sounds = {name: name.encode() * 500 for name in (one.filename for one in [*train, *test])}
    halves = [dict(list(sounds.items())[:3]), dict(list(sounds.items())[3:])]
    published = {
        f"{NAME}.meta.zip": zipped({name: (root / name).read_bytes() for name in tables}),
        f"{NAME}.audio.1.zip": zipped(halves[0]),
        f"{NAME}.audio.2.zip": zipped(halves[1]),
    }
    for percent, clips in ((50, train[::2]), (100, train)):
        lines = "".join(f"{one.filename}\t{one.scene}\n" for one in clips)
        published[f"split{percent}.csv"] = f"filename\tscene_label\n{lines}".encode()
    return published


@pytest.fixture
def server(files, monkeypatch):
    """The server, from which the code under test takes TAU22."""
    monkeypatch.setattr(transfer, "_LONGEST_WAIT", 0.0)
    with faulty_server(files) as served:
        remotes = [
            RemoteFile(
                name,
                f"{served.url}/{name}",
                "md5:" + hashlib.md5(content, usedforsecurity=False).hexdigest()
                if name.endswith(".zip")
                else None,
            )
            for name, content in files.items()
        ]
        lists = tuple(one for one in remotes if one.checksum is None)
        monkeypatch.setattr(tau22, "TAU22", tuple(one for one in remotes if one.checksum))
        monkeypatch.setattr(tau22, "SUBSETS", lists)
        monkeypatch.setattr(tau22, "_SPARE", 0)
        monkeypatch.setattr(tau22, "TAU22_UNPACKED", 10_000)
        yield served


@pytest.fixture
def get(server, tmp_path):
    """Downloads with the mirror option, which needs no Zenodo record."""

    def download(**options) -> Path:
        return download_tau22(tmp_path / "to", mirror=server.url, **options)

    return download


def problems(function) -> list[str]:
    with pytest.raises(DataError) as caught:
        function()
    return caught.value.problems


def fetched(server) -> list[str]:
    return sorted(path for method, path, _ in server.requests if method == "GET")


def test_tau22_is_downloaded_and_unpacked_completely(get, files, tmp_path):
    root = get()
    assert root == tmp_path / "to" / NAME
    assert len(read_dataset(root).clips) == 6
    names = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert len(names) == 6 + 3 + 2
    assert (root / "evaluation_setup" / "split50.csv").read_bytes() == files["split50.csv"]
    assert not list((tmp_path / "to").glob("*.zip*"))


def test_finished_archives_are_not_downloaded_again(get, server):
    get()
    server.requests.clear()
    get()
    assert fetched(server) == []


def test_only_missing_files_are_downloaded_again(get, server):
    root = get()
    server.requests.clear()
    (root / "audio" / "bus-paris-0-0-0-a.wav").unlink()
    (root / "evaluation_setup" / "split100.csv").unlink()
    get()
    assert fetched(server) == [f"{NAME}.audio.1.zip", "split100.csv"]
    assert (root / "audio" / "bus-paris-0-0-0-a.wav").is_file()


def test_archives_are_kept_on_request_and_existing_ones_are_used(get, server, files, tmp_path):
    (tmp_path / "to").mkdir()
    name = f"{NAME}.audio.2.zip"
    (tmp_path / "to" / name).write_bytes(files[name])
    get(keep_archives=True)
    assert name not in fetched(server)
    assert (tmp_path / "to" / name).read_bytes() == files[name]


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_failing_server_is_retried(get, server, parallel, capsys):
    server.faults = ["cut 100", "flip", "status 503", "long", "cut 0"]
    assert len(read_dataset(get(parallel=parallel)).clips) == 6
    assert "deleted, fetching it again" in capsys.readouterr().err


def test_bad_files_do_not_stop_the_others_and_are_all_listed(get, server, files, tmp_path):
    sound = files[f"{NAME}.audio.1.zip"]
    files[f"{NAME}.audio.1.zip"] = sound[:-1] + b"!"
    gone = files.pop(f"{NAME}.audio.2.zip")
    found = problems(get)
    assert any(
        "audio.1.zip: wrong checksum" in line and "deleted after the second" in line
        for line in found
    )
    assert any("audio.2.zip: the server says 404" in line for line in found)
    assert "the same command fetches what is missing" in found[-1]
    assert (tmp_path / "to" / NAME / "meta.csv").is_file()
    files |= {f"{NAME}.audio.1.zip": sound, f"{NAME}.audio.2.zip": gone}
    server.requests.clear()
    get()
    assert fetched(server)[:2] == [f"{NAME}.audio.1.zip", f"{NAME}.audio.2.zip"]
    assert f"{NAME}.meta.zip" not in fetched(server)


def test_archives_are_downloaded_in_parallel(get, server):
    meeting = threading.Barrier(2, timeout=20)
    server.on_request = lambda path: "audio" in path and meeting.wait()
    get(parallel=3)
    assert not meeting.broken


def test_a_subset_list_that_does_not_fit_the_data_set_is_deleted(get, files, tmp_path):
    files["split50.csv"] = b"<html>not found</html>"
    found = problems(get)
    assert "split50.csv: missing column 'filename'" in found[0]
    assert found[0].endswith("deleted")
    assert "subsets are drawn" in found[-1]
    setup = tmp_path / "to" / NAME / "evaluation_setup"
    assert not (setup / "split50.csv").exists()
    assert (setup / "split100.csv").is_file()


def test_the_disk_needs_room_for_archives_and_unpacked_files(get, server, files, monkeypatch):
    monkeypatch.setattr(tau22, "TAU22_UNPACKED", 10**18)
    [problem] = problems(get)
    total = sum(len(content) for name, content in files.items() if name.endswith(".zip"))
    assert f"({total / 1000:.1f} kB to download, 1000000.0 TB unpacked" in problem
    assert fetched(server) == []


def test_a_second_download_into_one_folder_is_refused(get, server):
    seen: list[str] = []
    server.on_request = lambda path: seen.extend(problems(get)) if path.endswith("meta.zip") else 0
    server.requests.clear()
    get(parallel=1)
    assert set(seen) == {f"{Path(seen[0].partition(':')[0])}: another process is downloading "
                         "into this folder"}  # fmt: skip


def record(files, **changes) -> bytes:
    """A record as Zenodo's API returns it."""
    entries = [
        {
            "key": name,
            "size": len(content),
            "checksum": "md5:" + hashlib.md5(content, usedforsecurity=False).hexdigest(),
            "links": {"self": f"https://zenodo.org/api/records/6337421/files/{name}/content"},
        }
        for name, content in files.items()
        if name.endswith(".zip")
    ]
    entries[0] |= changes
    return json.dumps({"id": 6337421, "files": entries}).encode()


def test_sizes_come_from_the_record(server, files, tmp_path, monkeypatch):
    files[RECORD] = record(files)
    monkeypatch.setattr(
        tau22, "with_sizes", lambda remotes: with_sizes(remotes, f"{server.url}/api/records")
    )
    sized = tau22.with_sizes(tau22.TAU22)
    assert [one.size for one in sized] == [len(files[one.name]) for one in sized]
    server.faults = ["", "", "extra", "cut 50"]
    assert len(read_dataset(download_tau22(tmp_path / "to")).clips) == 6


def test_the_older_form_of_a_record_is_read(server, files):
    text = record(files).decode().replace('"key"', '"filename"').replace('"md5:', '"')
    files[RECORD] = text.replace('"size"', '"filesize"').encode()
    sized = with_sizes(tau22.TAU22, f"{server.url}/api/records")
    assert [one.size for one in sized] == [len(files[one.name]) for one in sized]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checksum": "md5:" + "0" * 32}, r"meta.zip: md5 must be \w{32}.*received 0{32}"),
        ({"key": "other.zip"}, r"lists no file .*meta.zip"),
    ],
)
def test_a_record_with_other_files_or_checksums_is_refused(server, files, change, message):
    files[RECORD] = record(files, **change)
    with pytest.raises(DataError, match=message):
        with_sizes(tau22.TAU22, f"{server.url}/api/records")


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"files": 3}', None])
def test_a_record_that_cannot_be_read_says_what_to_do(server, files, answer):
    if answer is not None:
        files[RECORD] = answer
    with pytest.raises(DataError, match=r"cannot be read: (.|\n)*put them into the folder"):
        with_sizes(tau22.TAU22, f"{server.url}/api/records")


def test_the_checksums_of_all_published_files_are_known():
    # The Zenodo record has 16 audio archives, meta and doc.
    names = [one.name for one in TAU22]
    assert sorted(names) == sorted(
        f"{NAME}.{part}.zip" for part in ["meta", "doc", *(f"audio.{n}" for n in range(1, 17))]
    )
    checksums = {one.checksum for one in TAU22}
    assert len(checksums) == 18
    assert all(re.fullmatch(r"md5:[0-9a-f]{32}", checksum or "") for checksum in checksums)
    assert all(one.url.startswith("https://zenodo.org/records/6337421/files/") for one in TAU22)
    assert [one.name for one in SUBSETS] == [f"split{n}.csv" for n in (5, 10, 25, 50, 100)]


@pytest.fixture
def weights(server, files, monkeypatch) -> bytes:
    content = b"weights" * 1000
    files["weights.pt"] = content
    published = focusnet.model.weights.PublishedWeights(
        "weights.pt", f"{server.url}/weights.pt", hashlib.sha256(content).hexdigest(), 1
    )
    monkeypatch.setattr(focusnet.model.weights, "PUBLISHED", {"passt": published})
    return content


def test_weights_are_verified_and_put_where_studies_look(
    weights, server, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("FOCUSNET_CACHE", str(tmp_path / "cache"))
    server.faults = ["cut 1000", "flip"]
    assert main(["weights", "passt"]) == 0
    path = tmp_path / "cache" / "weights" / "weights.pt"
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_bytes() == weights
    server.requests.clear()
    assert main(["weights", "passt", "--mirror", f"{server.url}/"]) == 0
    assert fetched(server) == []


def test_trials_that_need_the_weights_at_once_download_them_once(weights, server, tmp_path):
    published = focusnet.model.weights.PUBLISHED["passt"]
    with ThreadPoolExecutor(3) as pool:
        trials = [
            pool.submit(focusnet.model.weights.fetch, published, tmp_path / "cache")
            for _ in range(3)
        ]
        paths = {trial.result() for trial in trials}
    assert [path.read_bytes() for path in paths] == [weights]
    assert fetched(server) == ["weights.pt"]


def test_the_command_prints_where_tau22_is_and_how_to_check_it(server, tmp_path, capsys):
    assert main(["tau22", "--to", str(tmp_path / "to"), "--mirror", server.url]) == 0
    out, err = capsys.readouterr()
    root = tmp_path / "to" / NAME
    assert out == f"{root}\ncheck it: python -m focusnet.dataset {root}\n"
    assert "3 of 3 done" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["weights", "nothing"], "weights: must be one of passt_s_swa_p16_128_ap476, received"),
        (["tau22", "--to", "{tmp}/file"], "file"),
        (["tau22", "--to", "{tmp}/to", "--mirror", "{url}/nowhere"], "the server says 404"),
    ],
)
def test_a_failed_download_is_one_message_and_status_2(
    arguments, message, server, tmp_path, capsys
):
    (tmp_path / "file").write_text("no folder")
    filled = [one.format(tmp=tmp_path, url=server.url) for one in arguments]
    assert main(filled) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_ctrl_c_says_how_to_resume(server, tmp_path, monkeypatch, capsys):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tau22, "wait", interrupted)
    assert main(["tau22", "--to", str(tmp_path / "to"), "--mirror", server.url]) == 130
    assert "resumes the download" in capsys.readouterr().err
    monkeypatch.undo()


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "python -m focusnet.download tau22 --to /data" in text
    assert "exit status" in text


def test_the_published_weights_are_those_that_studies_start_from():
    published = focusnet.model.weights.PUBLISHED["passt_s_swa_p16_128_ap476"]
    assert published is focusnet.model.weights.AUDIOSET
    assert dataclasses.asdict(published)["megabytes"] == 345
    assert tau22_files.TAU22_UNPACKED == 230_350 * 132_344

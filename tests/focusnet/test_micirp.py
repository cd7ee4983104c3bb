"""The published impulse responses: fetched once, verified, and explained where they cannot be."""

import hashlib
import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath

import numpy as np
import pytest
import soundfile
from faulty_server import faulty_server

from focusnet import micirp
from focusnet.config import TrialConfig
from focusnet.download.__main__ import main
from focusnet.errors import DataError
from focusnet.system.transfer import RemoteFile
from focusnet.trial.data import prepare_data

NAMES = ("Altec 639.wav", "RCA_44BX.wav", "c&d.wav")


def wav(seed: int) -> bytes:
    noise = np.random.default_rng(seed).normal(size=300) * np.exp(-np.arange(300) / 50) * 0.1
    file = io.BytesIO()
    soundfile.write(file, noise, 44_100, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.fixture
def files():
    return {f"{n}.wav": wav(n) for n in range(3)}


@pytest.fixture
def server(files, monkeypatch):
    served = {name.replace(" ", "%20").replace("&", "%26"): wav(n) for n, name in enumerate(NAMES)}
    with faulty_server(served) as one:
        table = tuple(
            RemoteFile(
                name,
                f"{one.url}/{name.replace(' ', '%20').replace('&', '%26')}",
                f"sha256:{hashlib.sha256(wav(n)).hexdigest()}",
                len(wav(n)),
            )
            for n, name in enumerate(NAMES)
        )
        monkeypatch.setattr(micirp, "published", lambda: table)
        monkeypatch.setattr("focusnet.system.transfer._ATTEMPTS", 1)
        yield one


def test_the_table_names_66_files_in_one_folder_with_sizes_and_checksums():
    table = micirp.published()
    assert len(table) == len({one.name for one in table}) == 66
    for one in table:
        assert PurePath(one.name).name == one.name
        assert one.name.endswith(".wav")
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", one.checksum)
        assert 1000 < one.size < 1_000_000
        assert one.url.startswith("https://raw.githubusercontent.com/fschmid56/cpjku_dcase23/")


def test_the_command_fetches_them_to_where_studies_look(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FOCUSNET_CACHE", str(tmp_path))
    assert main(["impulse_responses"]) == 0
    folder = tmp_path / "impulse_responses" / "micirp"
    assert capsys.readouterr().out == f"{folder}\n"
    assert {path.name for path in folder.iterdir()} == set(NAMES)
    server.requests.clear()
    assert micirp.responses_folder("micirp", tmp_path) == folder
    assert server.requests == [], "they are there"


def test_a_changed_file_is_fetched_again_and_a_mirror_serves_it(server, tmp_path):
    folder = micirp.fetch(tmp_path / "a")
    (folder / NAMES[1]).write_bytes(wav(9))
    server.requests.clear()
    micirp.fetch(tmp_path / "a", mirror=f"{server.url}/")
    assert (folder / NAMES[1]).read_bytes() == wav(1)
    assert [path for _, path, _ in server.requests] == ["RCA_44BX.wav"]


def test_trials_that_need_them_at_once_download_them_once(server, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: micirp.fetch(tmp_path / "a"), range(3)))
    assert len([one for one in server.requests if one[0] == "GET"]) == 3


def test_where_they_cannot_be_fetched_one_message_says_what_to_do(server, tmp_path):
    server.files.clear()
    with pytest.raises(DataError) as raised:
        micirp.responses_folder("micirp", tmp_path)
    [message] = raised.value.problems
    assert message.startswith("augment.dir_folder: the 3 impulse responses of MicIRP (")
    assert "python -m focusnet.download impulse_responses --to DIR" in message
    assert str(tmp_path / "impulse_responses" / "micirp") in message
    assert "--set trial.augment.dir_folder=null" in message


def test_a_trial_reads_them_by_name_and_a_folder_of_the_same_files_gives_the_same_data(
    server, tmp_path
):
    def data(folder, probability=0.6):
        trial = {
            "data": {
                "root": "synthetic",
                "cache": str(tmp_path),
                "synthetic": {"train_locations": 2, "test_locations": 2, "clips_per_location": 1},
            },
            "features": {"sample_rate": 16_000},
            "augment": {"dir_folder": folder, "dir_probability": probability},
            "model": {"size": "tiny", "weights": "none"},
        }
        return prepare_data(TrialConfig.model_validate(trial), progress=False)

    named = data("micirp")
    assert named.responses.shape[0] == 3
    copied = data(str(tmp_path / "impulse_responses" / "micirp"))
    assert named.fingerprint == copied.fingerprint
    server.files.clear()
    assert data("micirp", probability=0.0).responses is None, "nothing is fetched that nobody uses"

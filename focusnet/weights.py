"""Finding, fetching and checking the AudioSet weights of PaSST."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import pooch
import torch
from safetensors.torch import load_file
from torch import Tensor

from focusnet.errors import DataError


@dataclass(frozen=True)
class PublishedWeights:
    """A weights file that its authors publish, and how to know it."""

    file_name: str
    url: str
    sha256: str
    megabytes: int


AUDIOSET = PublishedWeights(
    file_name="passt-s-f128-p16-s10-ap.476-swa.pt",
    url="https://github.com/kkoutini/PaSST/releases/download/v0.0.1-audioset/"
    "passt-s-f128-p16-s10-ap.476-swa.pt",
    sha256="302903fa8c4aee817b11dc982da0b29aaf8d11a3e722420476d0a12c9db70c2c",
    megabytes=345,
)
PUBLISHED = {"passt_s_swa_p16_128_ap476": AUDIOSET}  # by hear21passt's name of the architecture


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(published: PublishedWeights, folder: Path) -> Path:
    """Path of the weights in ``folder``; downloaded where they are missing, always verified.

    A copy in torch's own hub folder, where hear21passt puts its downloads, serves as well.

    Raises:
        DataError: not there and not to be had, or a file with another checksum.
    """
    hub = Path(torch.hub.get_dir()) / "checkpoints" / published.file_name
    for path in (folder / published.file_name, hub):
        if path.is_file():
            found = sha256_of(path)
            if found != published.sha256:
                raise DataError(
                    f"{path}: wrong checksum: sha256 must be {published.sha256}, received "
                    f"{found}; delete the file and fetch it again from {published.url}"
                )
            return path
    # Pooch reports through its own logger; our message below says all that it would.
    pooch.get_logger().setLevel(logging.CRITICAL)
    try:
        pooch.retrieve(
            published.url,
            known_hash=f"sha256:{published.sha256}",
            fname=published.file_name,
            path=folder,
        )
    except Exception as error:  # requests, urllib3, socket and pooch each raise their own
        reason = str(error).split("\n")[0]
        raise DataError(
            f"the AudioSet weights ({published.megabytes} MB) could not be downloaded: {reason}\n"
            f"  put the file   {published.url}\n"
            f"  at this path   {folder / published.file_name}\n"
            f"  or set model.weights to the path of a copy"
        ) from None
    return folder / published.file_name


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from .safetensors or a torch file, without running any code in it.

    Raises:
        DataError: not a weights file, or one that holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling, zip and safetensors errors each have their own type
        reason = str(error).split("\n")[0][:200]
        raise DataError(f"model.weights: {path} cannot be read as weights: {reason}") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise DataError(f"model.weights: {path} must hold a state dict of tensors")
    return state

"""Downloads and verifies the AudioSet weights of PaSST, and loads weights into a model."""

import hashlib
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from focusnet.errors import DataError
from focusnet.system.locks import held
from focusnet.system.transfer import RemoteFile, download_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedWeights:
    """A weights file as its authors publish it."""

    file_name: str
    url: str
    sha256: str
    megabytes: int

    @property
    def remote(self) -> RemoteFile:
        """The file as ``download_file`` takes it."""
        return RemoteFile(self.file_name, self.url, f"sha256:{self.sha256}")

    def lock(self, folder: Path) -> Path:
        """Lock file of whoever downloads these weights to ``folder``."""
        return folder / f"{self.file_name}.lock"


AUDIOSET = PublishedWeights(
    file_name="passt-s-f128-p16-s10-ap.476-swa.pt",
    url="https://github.com/kkoutini/PaSST/releases/download/v0.0.1-audioset/"
    "passt-s-f128-p16-s10-ap.476-swa.pt",
    sha256="302903fa8c4aee817b11dc982da0b29aaf8d11a3e722420476d0a12c9db70c2c",
    megabytes=345,
)
PUBLISHED = {"passt_s_swa_p16_128_ap476": AUDIOSET}  # by hear21passt's architecture name


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex; one that has not changed is read once in a process."""
    state = path.stat()
    return _sha256(path, (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns))


@lru_cache(maxsize=16)
def _sha256(path: Path, state: tuple[int, ...]) -> str:
    """Of the file in its present ``state``, which no tool can set back."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(published: PublishedWeights, folder: Path) -> Path:
    """Path of verified weights: in ``folder``, where they are downloaded if they are missing.

    A copy in torch's hub folder, where hear21passt puts its downloads, is used as well. Processes
    that call this at once wait for the one that downloads.

    Raises:
        DataError: a file with another checksum, or a download that failed.
    """
    hub = Path(torch.hub.get_dir()) / "checkpoints" / published.file_name
    path = folder / published.file_name
    for copy in (path, hub):
        if copy.is_file():
            found = sha256_of(copy)
            if found != published.sha256:
                raise DataError(
                    f"{copy}: wrong checksum: sha256 must be {published.sha256}, received "
                    f"{found}; delete the file and fetch it again from {published.url}"
                )
            return copy
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with held(published.lock(folder)):
            logger.info("Downloading %d MB of weights to %s", published.megabytes, path)
            return download_file(published.remote, path)
    except (DataError, OSError) as error:
        raise DataError(
            f"the AudioSet weights ({published.megabytes} MB) could not be downloaded: {error}\n"
            f"  where there is a network  python -m focusnet.download weights {_name(published)}\n"
            f"  or put the file           {published.url}\n"
            f"  at this path              {path}\n"
            f"  or set                    model.weights to the path of a copy"
        ) from None


def _name(published: PublishedWeights) -> str:
    names = (name for name, one in PUBLISHED.items() if one == published)
    return next(names, published.file_name)


def weights_path(weights: str, cache: Path) -> Path | None:
    """Path of the file that ``model.weights`` means; None for 'none'. Downloads 'audioset'.

    Raises:
        DataError: the file does not exist, or the download failed.
    """
    if weights == "none":
        return None
    if weights == "audioset":
        return fetch(AUDIOSET, cache / "weights")
    path = Path(weights).expanduser()
    if not path.is_file():
        raise DataError(f"model.weights: {path} is not a file")
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors or torch file, without running code from it.

    Raises:
        DataError: the file is not a weights file, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling, zip and safetensors each have their own error types
        reason = str(error).split("\n")[0][:200]
        raise DataError(f"model.weights: {path} cannot be read as weights: {reason}") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise DataError(f"model.weights: {path} must hold a state dict of tensors")
    return state


def load_weights(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load the weights of a PaSST; a head with another number of classes is left out.

    Raises:
        DataError: names or shapes do not fit; the message lists them and ``path``, their file.
    """
    state = dict(state)
    projection = state.get("patch_embed.proj.weight")
    if projection is not None and projection.ndim == 4 and projection.shape[1] == 3:
        # Some checkpoints keep the three image channels; the audio channel gets their sum.
        state["patch_embed.proj.weight"] = projection.sum(dim=1, keepdim=True)
    expected = model.state_dict()
    for head in ("head.1", "head_dist"):
        weight = state.get(f"{head}.weight")
        if weight is None or weight.shape != expected[f"{head}.weight"].shape:
            state[f"{head}.weight"] = expected[f"{head}.weight"]
            state[f"{head}.bias"] = expected[f"{head}.bias"]
    problems = [f"lacks {name}" for name in expected if name not in state]
    problems += [f"has the unknown {name}" for name in state if name not in expected]
    problems += [
        f"{name} is {tuple(state[name].shape)}, this model's is {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        shown = "; ".join(problems[:4]) + (f"; {len(problems) - 4} more" * (len(problems) > 4))
        raise DataError(f"model.weights: {path} does not fit the model: {shown}")
    model.load_state_dict(state)

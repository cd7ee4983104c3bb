"""PaSST as this project uses it: hear21passt's class, seeded, silent, with a new head.

PaSST: Koutini et al., "Efficient training of audio transformers with patchout", Interspeech 2022
(arXiv:2110.05069).
"""

from pathlib import Path
from typing import Any

import hear21passt.models.passt as hear
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from focusnet.config import ModelConfig, cache_folder
from focusnet.errors import DataError
from focusnet.model.weights import AUDIOSET, fetch, load_weights, read_weights
from focusnet.network_sizes import PATCH, SIZES
from focusnet.system.device import send

__all__ = [
    "PATCH",
    "Attention",
    "ModelConfig",
    "Passt",
    "build_model",
    "patch_stride",
    "weights_path",
]

# hear21passt traces the shapes of its first forward pass on standard output.
hear.first_RUN = False


class _PatchEmbed(hear.PatchEmbed):
    """hear21passt's patch embedding without its warning on every other input length."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, n_mels, frames) to (B, embedding, rows, columns)."""
        return self.norm(self.proj(x))

    def grid(self, x: Tensor) -> tuple[int, int]:
        """Rows and columns of patches in (B, 1, n_mels, frames)."""
        (height, width), (down, right) = self.proj.kernel_size, self.proj.stride
        return (x.shape[2] - height) // down + 1, (x.shape[3] - width) // right + 1

    def of_some(self, x: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
        """The same of some rows and columns of patches only (None: of all), by a matrix product.

        For GPUs: it computes only what is kept, and is no convolution of a single channel. Equal up
        to rounding.
        """
        (height, width), (down, right) = self.proj.kernel_size, self.proj.stride
        patches = x.squeeze(1).unfold(1, height, down)
        if rows is not None:
            patches = patches[:, rows]
        patches = patches.unfold(2, width, right)
        if columns is not None:
            patches = patches[:, :, columns]
        embedded = F.linear(patches.flatten(3), self.proj.weight.flatten(1), self.proj.bias)
        return self.norm(embedded.permute(0, 3, 1, 2))


class Attention(hear.Attention):
    """hear21passt's attention; on a GPU in one of torch's fused kernels.

    On a CPU the parent's own products and softmax are the faster ones, and stay as they are to the
    bit. ``fused`` says which, whatever the device; None leaves it to where the tokens are.
    """

    fused: bool | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(B, tokens, embedding) to the same."""
        if not self._is_fused(x):
            return super().forward(x)
        batch, tokens, width = x.shape
        parts = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        attended = self.attend(*parts).transpose(1, 2).reshape(batch, tokens, width)
        return self.proj_drop(self.proj(attended))

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """What each query (B, heads, n, width) gathers of the values (B, heads, tokens, width)."""
        if self._is_fused(queries):
            dropped = self.attn_drop.p if self.training else 0.0
            return F.scaled_dot_product_attention(
                queries, keys, values, dropout_p=dropped, scale=self.scale
            )
        shares = ((queries @ keys.transpose(-2, -1)) * self.scale).softmax(dim=-1)
        return self.attn_drop(shares) @ values

    def _is_fused(self, x: Tensor) -> bool:
        return x.device.type == "cuda" if self.fused is None else self.fused


class Passt(hear.PaSST):
    """hear21passt's PaSST with random decisions drawn from ``generator``.

    In evaluation it equals the parent class bit for bit. In training it adds what the PaSST of the
    CP-JKU code base does and hear21passt's does not: a random offset into the time position
    embedding (``time_offset``). With ``class_tokens_only`` the last block is spared what nobody
    reads: equal up to rounding, for 7 % less work in PaSST-S.

    ``forward`` takes (B, 1, n_mels, frames) and returns logits (B, n_classes) and features (B,
    embedding), as the parent does.
    """

    time_offset = False
    class_tokens_only = False
    patches_as_matrix: bool | None = None  # by default on a GPU
    generator: Generator | None = None
    compiled = False
    _full_batch: int | None = None

    def forward_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, n_mels, frames) to the class and the distillation token, (B, embedding) each."""
        x = self._embed(x)
        x = x.flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls_token, self.dist_token), dim=1) + self.new_pos_embed
        x = torch.cat((tokens.expand(len(x), -1, -1), x), dim=1)
        x = self.pos_drop(x)
        plainly = self.compiled and not self._is_full(x)
        for block in self.blocks[:-1]:
            x = block.forward(x) if plainly else block(x)
        last = self.blocks[-1]
        x = _first_tokens(last, x, tokens.shape[1]) if self.class_tokens_only else last(x)
        x = self.norm(x)
        return x[:, 0], x[:, 1]

    def _embed(self, x: Tensor) -> Tensor:
        """(B, embedding, rows, columns): the patches that patchout leaves, with their positions."""
        rows, columns = self.patch_embed.grid(x)
        positions = self.time_new_pos_embed.shape[-1]
        if columns > positions:
            raise DataError(
                f"model.max_frames: a clip has {columns} columns of patches, the position "
                f"embedding ends at {positions}; raise max_frames"
            )
        offset = 0
        if self.training and self.time_offset:
            offset = int(torch.randint(1 + positions - columns, (1,), generator=self.generator))
        in_time = self.time_new_pos_embed[:, :, :, offset : offset + columns]
        in_frequency = self.freq_new_pos_embed
        kept_columns = kept_rows = None
        if self.training and self.s_patchout_t:
            kept_columns = self._keep(columns, self.s_patchout_t, x.device)
        if self.training and self.s_patchout_f:
            kept_rows = self._keep(rows, self.s_patchout_f, x.device)
        as_matrix = self.patches_as_matrix
        if x.device.type == "cuda" if as_matrix is None else as_matrix:
            x = self.patch_embed.of_some(x, kept_rows, kept_columns)
            if kept_columns is not None:
                in_time = in_time[:, :, :, kept_columns]
            if kept_rows is not None:
                in_frequency = in_frequency[:, :, kept_rows]
            return x + in_time + in_frequency
        x = self.patch_embed(x) + in_time
        x = x + in_frequency
        if kept_columns is not None:
            x = x[:, :, :, kept_columns]
        if kept_rows is not None:
            x = x[:, :, kept_rows]
        return x

    def _is_full(self, x: Tensor) -> bool:
        """Full training batches are what is compiled; any other input would be compiled anew."""
        if not (self.training and torch.is_grad_enabled()):
            return False
        if self._full_batch is None:
            self._full_batch = len(x)  # an epoch's first batch is full
        return len(x) == self._full_batch

    def _keep(self, count: int, drop: int, device: torch.device) -> Tensor:
        kept = torch.randperm(count, generator=self.generator)[: count - drop].sort().values
        return send(kept, device)


def _first_tokens(block: Any, x: Tensor, count: int) -> Tensor:
    """What ``block`` makes of the first ``count`` tokens of (B, tokens, embedding).

    The other tokens need keys and values only, which is a sixth of their work.
    """
    attention = block.attn
    batch, tokens, width = x.shape
    heads = attention.num_heads
    weight, bias = attention.qkv.weight, attention.qkv.bias
    normed = block.norm1(x)
    queries = F.linear(normed[:, :count], weight[:width], bias[:width])
    keys_and_values = F.linear(normed, weight[width:], bias[width:])
    queries = queries.reshape(batch, count, heads, -1).transpose(1, 2)
    keys, values = keys_and_values.reshape(batch, tokens, 2, heads, -1).permute(2, 0, 3, 1, 4)
    attended = attention.attend(queries, keys, values).transpose(1, 2)
    attended = attended.reshape(batch, count, width)
    x = x[:, :count] + block.drop_path(attention.proj_drop(attention.proj(attended)))
    return x + block.drop_path(block.mlp(block.norm2(x)))


def patch_stride(config: ModelConfig) -> int:
    """Distance of patches in bins and frames."""
    return config.stride or SIZES[config.size].stride


def weights_path(weights: str, cache: Path) -> Path | None:
    """The file behind ``model.weights``; None for 'none'. Fetches 'audioset' where needed.

    Raises:
        DataError: no such file, or weights that cannot be had.
    """
    if weights == "none":
        return None
    if weights == "audioset":
        return fetch(AUDIOSET, cache / "weights")
    path = Path(weights).expanduser()
    if not path.is_file():
        raise DataError(f"model.weights: {path} is not a file")
    return path


def build_model(
    config: ModelConfig,
    n_classes: int | None = None,
    *,
    n_mels: int = 128,
    patchout_freq: int = 0,
    patchout_time: int = 0,
    time_offset: bool = False,
    class_tokens_only: bool = False,
    fused_attention: bool | None = None,
    patches_as_matrix: bool | None = None,
    compiled: bool = False,
    seed: int = 0,
    cache: Path | None = None,
) -> Passt:
    """Build a PaSST, initialised from ``seed``, then from ``config.weights``.

    Args:
        config: size, weights, stride, length of the time position embedding.
        n_classes: of the head; ``config.n_classes``, then 10 by default. A head of the weights
            file with another number of classes is left out: the new head stays as initialised.
        n_mels: bins of the input.
        patchout_freq, patchout_time: rows and columns of patches dropped in training.
        time_offset: random offset into the time position embedding in training.
        class_tokens_only: spare the last block what nobody reads; see ``Passt``.
        fused_attention: by torch's fused kernels; by default on a GPU only.
        patches_as_matrix: embed patches by a matrix product; by default on a GPU only.
        compiled: every block but the last by ``torch.compile``, once for all, for full training
            batches.
        cache: folder for downloads.

    Raises:
        DataError: weights that are missing, corrupt or of another network.
    """
    embed_dim, depth, heads, _ = SIZES[config.size]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Passt(
            s_patchout_t=patchout_time,
            s_patchout_f=patchout_freq,
            img_size=(n_mels, config.max_frames),
            patch_size=PATCH,
            stride=patch_stride(config),
            num_classes=n_classes or config.n_classes or 10,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=heads,
            distilled=True,
            embed_layer=_PatchEmbed,
        )
    for block in model.blocks:
        block.attn.__class__ = Attention  # hear21passt's block takes no other from outside
        block.attn.fused = fused_attention
        if compiled and block is not model.blocks[-1]:
            _compile(block)
    model.time_offset = time_offset
    model.class_tokens_only = class_tokens_only
    model.patches_as_matrix = patches_as_matrix
    model.compiled = compiled
    path = weights_path(config.weights, cache or cache_folder(None))
    if path is not None:
        load_weights(model, read_weights(path), path)
    return model


def _compile(block: Any) -> None:
    """Let ``torch.compile`` make a graph of ``block`` when it is first called."""
    import torch._inductor.config  # takes a second, for nothing where nothing is compiled

    # In this process: for some ten kernels a pool of processes gains little, and it would stay
    # behind where this one is killed.
    torch._inductor.config.compile_threads = 1
    # In place: the state dict stays. Whole, the model would be compiled for each time offset.
    block.compile(dynamic=False)

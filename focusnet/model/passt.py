"""Builds PaSST, the network of both stages, from hear21passt's class.

Weights and random decisions come from seeds, nothing is printed, and GPUs get faster kernels.

Source: Koutini et al., "Efficient training of audio transformers with patchout", Interspeech 2022
(arXiv:2110.05069).
"""

from pathlib import Path
from typing import Any

import hear21passt.models.passt as hear
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from focusnet.config import ModelConfig, cache_folder
from focusnet.errors import DataError
from focusnet.model.weights import load_weights, read_weights, weights_path
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

Kept = Tensor | slice  # rows or columns of patches: their indices, or all of them

# Otherwise hear21passt prints the shapes of its first forward pass.
hear.first_RUN = False


class _PatchEmbed(hear.PatchEmbed):
    """hear21passt's patch embedding, without its warning when the input length changes."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, n_mels, frames) to (B, embedding, rows, columns)."""
        return self.norm(self.proj(x))

    def grid(self, x: Tensor) -> tuple[int, int]:
        """Rows and columns of patches in (B, 1, n_mels, frames)."""
        (height, width), (down, right) = self.proj.kernel_size, self.proj.stride
        return (x.shape[2] - height) // down + 1, (x.shape[3] - width) // right + 1

    def as_matrix_product(self, x: Tensor, rows: Kept, columns: Kept) -> Tensor:
        """Embed only the given rows and columns of patches.

        Equal to ``forward`` followed by the selection, up to rounding. Faster on a GPU: only the
        kept patches are computed, and a convolution of a single channel is avoided.
        """
        (height, width), (down, right) = self.proj.kernel_size, self.proj.stride
        patches = x.squeeze(1).unfold(1, height, down)[:, rows]
        patches = patches.unfold(2, width, right)[:, :, columns]
        embedded = F.linear(patches.flatten(3), self.proj.weight.flatten(1), self.proj.bias)
        return self.norm(embedded.permute(0, 3, 1, 2))


class Attention(nn.Module):
    """Self-attention that uses one of torch's fused kernels on a GPU.

    It takes over the layers of hear21passt's attention, so that parameter names and the weights of
    a seed stay the same. On a CPU it computes what that one does, to the bit; fused kernels are
    slower there. ``fused`` overrides the choice by device.
    """

    def __init__(self, original: hear.Attention, fused: bool | None) -> None:
        super().__init__()
        self.num_heads = original.num_heads
        self.scale = original.scale
        self.qkv = original.qkv
        self.attn_drop = original.attn_drop
        self.proj = original.proj
        self.proj_drop = original.proj_drop
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        """(B, tokens, embedding) to the same."""
        batch, tokens, width = x.shape
        # Taken apart before heads and tokens change places: the gradient then needs one copy less.
        parts = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).unbind(2)
        queries, keys, values = (part.transpose(1, 2) for part in parts)
        attended = self.attend(queries, keys, values).transpose(1, 2).reshape(batch, tokens, width)
        return self.proj_drop(self.proj(attended))

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Mix ``values`` (B, heads, tokens, width) for each query (B, heads, n, width)."""
        if queries.device.type == "cuda" if self.fused is None else self.fused:
            dropped = self.attn_drop.p if self.training else 0.0
            return F.scaled_dot_product_attention(
                queries, keys, values, dropout_p=dropped, scale=self.scale
            )
        shares = ((queries @ keys.transpose(-2, -1)) * self.scale).softmax(dim=-1)
        return self.attn_drop(shares) @ values


class Passt(hear.PaSST):
    """hear21passt's PaSST with random decisions drawn from ``generator``.

    In evaluation it equals the parent class bit for bit. ``forward`` takes (B, 1, n_mels, frames)
    and returns logits (B, n_classes) and features (B, embedding), as the parent does.

    Args:
        time_offset: in training, start the time position embedding at a random offset, as the PaSST
            of the CP-JKU code base does and hear21passt's does not.
        class_tokens_only: compute only the class tokens in the last block, since no other token is
            read. Equal up to rounding, for 7 % less work in PaSST-S.
        fused_attention: use torch's fused attention kernels; by default on a GPU only.
        patches_as_matrix: embed patches by a matrix product; by default on a GPU only.
        compiled: compile every block but the last, for full training batches.
        **parent: arguments of the parent class.
    """

    def __init__(
        self,
        *,
        time_offset: bool,
        class_tokens_only: bool,
        fused_attention: bool | None,
        patches_as_matrix: bool | None,
        compiled: bool,
        **parent: Any,
    ) -> None:
        super().__init__(patch_size=PATCH, distilled=True, embed_layer=_PatchEmbed, **parent)
        self.time_offset = time_offset
        self.class_tokens_only = class_tokens_only
        self.patches_as_matrix = patches_as_matrix
        self.compiled = compiled
        self.generator: Generator | None = None
        self._full_batch: int | None = None
        for block in self.blocks:
            block.attn = Attention(block.attn, fused_attention)
        if compiled:
            for block in self.blocks[:-1]:
                _compile(block)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, n_mels, frames) to logits (B, n_classes) and features (B, embedding)."""
        return self.encode(self.embed(x))

    def embed(self, x: Tensor) -> Tensor:
        """Embed the patches that patchout keeps, with positions: (B, embedding, rows, columns).

        All random decisions are made here.
        """
        rows, columns = self.patch_embed.grid(x)
        positions = self.time_new_pos_embed.shape[-1]
        if columns > positions:
            raise DataError(
                f"model.max_frames: a clip has {columns} columns of patches, but the position "
                f"embedding has {positions}; raise max_frames"
            )
        offset = 0
        if self.training and self.time_offset:
            offset = int(torch.randint(1 + positions - columns, (1,), generator=self.generator))
        in_time = self.time_new_pos_embed[:, :, :, offset : offset + columns]
        in_frequency = self.freq_new_pos_embed
        kept_columns = self._keep(columns, self.s_patchout_t, x.device)
        kept_rows = self._keep(rows, self.s_patchout_f, x.device)
        as_matrix = self.patches_as_matrix
        if x.device.type == "cuda" if as_matrix is None else as_matrix:
            x = self.patch_embed.as_matrix_product(x, kept_rows, kept_columns)
            return x + in_time[:, :, :, kept_columns] + in_frequency[:, :, kept_rows]
        x = self.patch_embed(x) + in_time + in_frequency
        return x[:, :, :, kept_columns][:, :, kept_rows]

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features of embedded patches; the same operations for every batch."""
        x = x.flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls_token, self.dist_token), dim=1) + self.new_pos_embed
        x = torch.cat((tokens.expand(len(x), -1, -1), x), dim=1)
        x = self.pos_drop(x)
        skip_compiled = self.compiled and not self._is_full_batch(x)
        for block in self.blocks[:-1]:
            x = block.forward(x) if skip_compiled else block(x)
        last = self.blocks[-1]
        x = _first_tokens(last, x, tokens.shape[1]) if self.class_tokens_only else last(x)
        x = self.norm(x)
        features = (x[:, 0] + x[:, 1]) / 2
        # In bf16 the two largest logits of a clip would often be equal.
        with torch.autocast(x.device.type, enabled=False):
            return self.head(features.to(self.head[1].weight.dtype)), features

    def _is_full_batch(self, x: Tensor) -> bool:
        """Whether compiled blocks take ``x``; they would be compiled anew for every other size."""
        if not (self.training and torch.is_grad_enabled()):
            return False
        if self._full_batch is None:
            self._full_batch = len(x)  # the first batch of an epoch is full
        return len(x) == self._full_batch

    def _keep(self, count: int, drop: int, device: torch.device) -> Kept:
        """Draw which of ``count`` rows or columns patchout keeps."""
        if not (self.training and drop):
            return slice(None)
        kept = torch.randperm(count, generator=self.generator)[: count - drop].sort().values
        return send(kept, device)


def _first_tokens(block: Any, x: Tensor, count: int) -> Tensor:
    """Output of ``block`` for the first ``count`` tokens of (B, tokens, embedding).

    Of the other tokens only keys and values are computed, a sixth of their work.
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
    """Build a PaSST, initialise it from ``seed`` and load ``config.weights``.

    Args:
        config: size, weights, stride, length of the time position embedding.
        n_classes: default ``config.n_classes``, then 10. If the head in the weights file has
            another number of classes, the head stays as initialised.
        n_mels: bins of the input.
        patchout_freq, patchout_time: rows and columns of patches dropped in training.
        time_offset, class_tokens_only, fused_attention, patches_as_matrix, compiled: see ``Passt``.
        seed: of the initial weights.
        cache: folder for downloads.

    Raises:
        DataError: the weights are missing, corrupt or of another network.
    """
    embed_dim, depth, heads, _ = SIZES[config.size]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Passt(
            time_offset=time_offset,
            class_tokens_only=class_tokens_only,
            fused_attention=fused_attention,
            patches_as_matrix=patches_as_matrix,
            compiled=compiled,
            s_patchout_t=patchout_time,
            s_patchout_f=patchout_freq,
            img_size=(n_mels, config.max_frames),
            stride=patch_stride(config),
            num_classes=n_classes or config.n_classes or 10,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=heads,
        )
    path = weights_path(config.weights, cache or cache_folder(None))
    if path is not None:
        load_weights(model, read_weights(path), path)
    return model


def _compile(block: Any) -> None:
    """Have ``torch.compile`` compile ``block`` in place, on its first call."""
    import torch._inductor.config  # takes a second, so only where something is compiled

    # No pool of compiler processes: it gains little for about ten kernels, and would stay behind if
    # this process is killed.
    torch._inductor.config.compile_threads = 1
    # In place, so that the state dict stays the same. Block by block, because the whole model would
    # be compiled for every time offset.
    block.compile(dynamic=False)

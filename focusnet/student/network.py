"""Builds the student network: the DCASE24 Task 1 baseline, a simplified CP-Mobile.

Source: Schmid et al., "Distilling the knowledge of transformers and CNNs with CP-Mobile", DCASE
2023; baseline of DCASE 2024 Task 1. The state dict has the keys of the public baseline, so that
checkpoints load strictly in both directions.
"""

from torch import Generator, Tensor, nn

BLOCKS = (3, 2, 1)  # in each of the three stages
STRIDES: dict[int, tuple[int, int]] = {3: (1, 2), 4: (2, 1)}  # (bins, frames), by block from 1


def build_student(
    base: int = 32,
    multiplier: float = 1.8,
    expansion: float = 2.1,
    n_classes: int = 10,
    *,
    generator: Generator | None = None,
) -> nn.Module:
    """A fresh student: spectrograms (B, 1, n_mels, frames) to logits (B, n_classes).

    Args:
        base: channels after the stem, a multiple of 4 from 8.
        multiplier: growth of the channels from one stage to the next.
        expansion: growth of the channels inside a block.
        generator: draws the initial weights; by default torch's own.
    """
    return _Student(base, multiplier, expansion, n_classes, generator)


class _Student(nn.Module):
    def __init__(
        self,
        base: int,
        multiplier: float,
        expansion: float,
        n_classes: int,
        generator: Generator | None,
    ) -> None:
        super().__init__()
        self.in_c = nn.Sequential(
            _convolution(1, base // 4, kernel=3, stride=(2, 2)),
            _convolution(base // 4, base, kernel=3, stride=(2, 2)),
        )
        self.stages = nn.Sequential()
        inputs, number = base, 0
        for stage, blocks in enumerate(BLOCKS):
            outputs = _divisible_by_8(base * multiplier**stage)
            group = nn.Sequential()
            for _ in range(blocks):
                number += 1
                stride = STRIDES.get(number, (1, 1))
                group.add_module(f"b{number}", _Block(inputs, outputs, expansion, stride))
                inputs = outputs
            self.stages.add_module(f"s{stage + 1}", group)
        self.feed_forward = nn.Sequential(
            nn.Conv2d(inputs, n_classes, 1, bias=False), nn.BatchNorm2d(n_classes)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)

    def forward(self, spec: Tensor) -> Tensor:
        return self.feed_forward(self.stages(self.in_c(spec))).mean(dim=(2, 3))


class _Block(nn.Module):
    """An inverted bottleneck, with a shortcut where inputs equal outputs."""

    def __init__(
        self, inputs: int, outputs: int, expansion: float, stride: tuple[int, int]
    ) -> None:
        super().__init__()
        inside = _divisible_by_8(inputs * expansion)
        self.block = nn.Sequential(
            _convolution(inputs, inside),
            _convolution(inside, inside, kernel=3, stride=stride, groups=inside),
            _convolution(inside, outputs, activation=False),
        )
        self.shortcut: nn.Module | None = None
        if inputs == outputs:
            pooled = stride != (1, 1)
            self.shortcut = nn.AvgPool2d(3, stride, padding=1) if pooled else nn.Identity()
        self.activation = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        found = self.block(features)
        if self.shortcut is not None:
            found = found + self.shortcut(features)
        return self.activation(found)


def _convolution(
    inputs: int,
    outputs: int,
    *,
    kernel: int = 1,
    stride: tuple[int, int] = (1, 1),
    groups: int = 1,
    activation: bool = True,
) -> nn.Sequential:
    """A convolution without bias, batch norm and, where asked, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU()) if activation else nn.Sequential(*layers)


def _divisible_by_8(channels: float) -> int:
    """The nearest multiple of 8 that is at least 8 and not below 90 % of ``channels``."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest

"""The student network, compared with the published figures and an independent float64 version."""

import pytest
import torch
import torch.nn.functional as F
from torch import Generator

from focusnet.student import build_student

# Of the baseline: input and output channels of each block, and channels inside it.
BASELINE_BLOCKS = [(32, 64, 32), (32, 64, 32), (32, 64, 32), (32, 64, 56), (56, 120, 56)]
BASELINE_BLOCKS += [(56, 120, 104)]
STAGE_OF_BLOCK = [1, 1, 1, 2, 2, 3]
STRIDES = [(1, 1), (1, 1), (1, 2), (2, 1), (1, 1), (1, 1)]


def norm_shapes(prefix, channels):
    names = ("weight", "bias", "running_mean", "running_var")
    shapes = {f"{prefix}.{name}": (channels,) for name in names}
    return shapes | {f"{prefix}.num_batches_tracked": ()}


def expected_shapes():
    """State dict of the public baseline's network, by hand."""
    shapes = {"in_c.0.0.weight": (8, 1, 3, 3), "in_c.1.0.weight": (32, 8, 3, 3)}
    shapes |= norm_shapes("in_c.0.1", 8) | norm_shapes("in_c.1.1", 32)
    for number, (inputs, inside, outputs) in enumerate(BASELINE_BLOCKS, 1):
        block = f"stages.s{STAGE_OF_BLOCK[number - 1]}.b{number}.block"
        shapes[f"{block}.0.0.weight"] = (inside, inputs, 1, 1)
        shapes[f"{block}.1.0.weight"] = (inside, 1, 3, 3)
        shapes[f"{block}.2.0.weight"] = (outputs, inside, 1, 1)
        for layer, channels in enumerate((inside, inside, outputs)):
            shapes |= norm_shapes(f"{block}.{layer}.1", channels)
    shapes["feed_forward.0.weight"] = (10, 104, 1, 1)
    return shapes | norm_shapes("feed_forward.1", 10)


def test_the_baseline_has_the_public_names_and_shapes():
    state = build_student().state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == expected_shapes()


@pytest.mark.parametrize(
    ("base", "parameters"), [(32, 61_148), (24, 35_062), (16, 18_624), (8, 5_722)]
)
def test_sizes_have_the_published_parameters(base, parameters):
    assert sum(value.numel() for value in build_student(base).parameters()) == parameters


def reference_logits(state, spec, training):
    """The network in torch.nn.functional, on a state dict in float64."""

    def layer(x, name, stride=(1, 1), groups=1):
        weight = state[f"{name}.0.weight"]
        padding = weight.shape[-1] // 2
        x = F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)
        norm = {key: state[f"{name}.1.{key}"] for key in ("weight", "bias")}
        mean, variance = state[f"{name}.1.running_mean"], state[f"{name}.1.running_var"]
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        each = (None, slice(None), None, None)
        x = (x - mean[each]) / (variance[each] + 1e-5).sqrt()
        return x * norm["weight"][each] + norm["bias"][each]

    x = F.relu(layer(spec, "in_c.0", (2, 2)))
    x = F.relu(layer(x, "in_c.1", (2, 2)))
    for number, (inputs, inside, outputs) in enumerate(BASELINE_BLOCKS, 1):
        name, stride = f"stages.s{STAGE_OF_BLOCK[number - 1]}.b{number}.block", STRIDES[number - 1]
        y = F.relu(layer(x, f"{name}.0"))
        y = F.relu(layer(y, f"{name}.1", stride, groups=inside))
        y = layer(y, f"{name}.2")
        if inputs == outputs:
            y = y + (x if stride == (1, 1) else F.avg_pool2d(x, 3, stride, padding=1))
        x = F.relu(y)
    return layer(x, "feed_forward").mean((2, 3))


@pytest.mark.parametrize("training", [True, False])
def test_logits_and_gradients_equal_an_independent_version(training):
    generator = Generator().manual_seed(3)
    network = build_student(generator=generator).double().train(training)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.dtype == torch.float64 and "running_var" in name:
                value.uniform_(0.5, 2, generator=generator)
            elif value.dtype == torch.float64 and value.ndim == 1:
                value.normal_(0.5, 0.5, generator=generator)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    weights = [name for name, _ in network.named_parameters()]
    for name in weights:
        state[name].requires_grad_(True)
    spec = torch.randn(3, 1, 64, 33, generator=generator, dtype=torch.float64)
    found, expected = network(spec), reference_logits(state, spec, training)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    for name, value in network.named_parameters():
        torch.testing.assert_close(value.grad, state[name].grad, msg=name)


def test_initial_weights_depend_on_the_generator_only():
    first = build_student(8, generator=Generator().manual_seed(1))
    again = build_student(8, generator=Generator().manual_seed(1)).state_dict()
    other = build_student(8, generator=Generator().manual_seed(2)).state_dict()
    for name, value in first.state_dict().items():
        assert torch.equal(value, again[name])
    assert not torch.equal(other["feed_forward.0.weight"], again["feed_forward.0.weight"])


def test_initial_weights_are_kaiming_normal_by_fan_out():
    weight = build_student(generator=Generator().manual_seed(0)).state_dict()[
        "stages.s3.b6.block.0.0.weight"
    ]
    assert weight.std().item() == pytest.approx((2 / 120) ** 0.5, rel=0.03)

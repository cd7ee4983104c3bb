"""What a student costs, compared with the published figures."""

import pytest
import torch

from focusnet.student import build_student, complexity, size_in_bytes


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        (32, (61_148, 29_419_156)),
        (24, (35_062, 16_855_776)),
        (16, (18_624, 8_449_916)),
        (8, (5_722, 2_487_240)),
    ],
)
def test_parameters_and_macs_are_the_published_ones(base, expected):
    assert complexity(build_student(base), (1, 1, 256, 65)) == expected


def test_bytes_depend_on_the_precision():
    network = build_student()
    assert size_in_bytes(network, "fp16") == size_in_bytes(network, "bf16") == 122_296
    assert size_in_bytes(network, "fp32") == 244_592


def test_measuring_leaves_the_network_as_it_was():
    network = build_student(8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    complexity(network, (1, 1, 64, 33))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())

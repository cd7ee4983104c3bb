"""Checks that a student's settings can work and that it keeps within its limits."""

import warnings

from torch import nn

from focusnet.config import StudentConfig
from focusnet.config.student import LimitsConfig, StudentNetworkConfig
from focusnet.errors import ConfigError
from focusnet.mel import LogMel
from focusnet.student.mel import StudentMel
from focusnet.student.network import build_student
from focusnet.student.size import complexity, size_in_bytes


def build_mel(student: StudentConfig) -> LogMel | StudentMel:
    """The front end that ``student.features`` names."""
    features, augment = student.features, student.augment
    plain = features.model_dump(exclude={"transform"})
    masks = {"freq_mask": augment.freq_mask, "time_mask": augment.time_mask}
    if features.transform == "torchaudio":
        return StudentMel(**plain, **masks)
    return LogMel(
        **plain,
        **masks,
        fmin_aug_range=augment.fmin_aug_range,
        fmax_aug_range=augment.fmax_aug_range,
    )


def build_network(network: StudentNetworkConfig, n_classes: int) -> nn.Module:
    """A student with any initial weights."""
    return build_student(network.base, network.multiplier, network.expansion, n_classes)


def student_costs(student: StudentConfig, samples: int, n_classes: int) -> dict[str, float]:
    """``student/parameters``, ``student/macs`` and ``student/bytes`` for clips of ``samples``."""
    network = build_network(student.network, n_classes)
    shape = (1, 1, student.features.n_mels, build_mel(student).frames(samples))
    parameters, macs = complexity(network, shape)
    size = size_in_bytes(network, student.precision)
    return {"student/parameters": parameters, "student/macs": macs, "student/bytes": size}


def check_student(student: StudentConfig, samples: int, n_classes: int) -> None:
    """Check a student against clips of ``samples`` samples and ``n_classes`` classes.

    Raises:
        ConfigError: every setting that cannot work, or that makes it too large.
    """
    problems = _mel_problems(student, samples)
    if not problems and student.limits is not None:
        costs = student_costs(student, samples, n_classes)
        problems = _limit_problems(student, student.limits, costs)
    if problems:
        raise ConfigError(problems)


def _mel_problems(student: StudentConfig, samples: int) -> list[str]:
    features = student.features
    problems = []
    if features.transform == "torchaudio" and features.n_fft // 2 >= samples:
        problems.append(
            f"student.features.n_fft: half of it must be shorter than a clip of {samples} samples, "
            f"received {features.n_fft}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchaudio warns of empty filters, which follow below
        mel = build_mel(student)
    bank = mel.mel.mel_scale.fb.T if isinstance(mel, StudentMel) else mel.bank()
    empty = int((bank.amax(dim=1) == 0).sum())
    if empty:
        problems.append(
            f"student.features.n_mels: {empty} of the {features.n_mels} mel filters are empty at "
            f"n_fft {features.n_fft} and sample_rate {features.sample_rate}; fewer mel bins or a "
            "longer FFT fill them"
        )
    return problems


def _limit_problems(
    student: StudentConfig, limits: LimitsConfig, costs: dict[str, float]
) -> list[str]:
    kilobytes, mmacs = costs["student/bytes"] / 1e3, costs["student/macs"] / 1e6
    if kilobytes <= limits.kilobytes and mmacs <= limits.mmacs:
        return []
    network = student.network
    return [
        f"student.limits: must be at most {limits.kilobytes:g} kB and {limits.mmacs:g} million "
        f"MACs, received a network of {kilobytes:.1f} kB in {student.precision} and {mmacs:.2f} "
        f"million MACs (student.network: base {network.base}, multiplier {network.multiplier:g}, "
        f"expansion {network.expansion:g}); a smaller base, or student.limits: null"
    ]

"""How networks compute: in fp32, in fp32 with TF32 products, in bf16 or in fp16."""

import torch

from focusnet.errors import ConfigError

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a network of ``precision`` computes."""
    return torch.autocast(
        device.type, dtype=_HALF.get(precision, torch.bfloat16), enabled=precision in _HALF
    )


def use_precision(precision: str, device: torch.device) -> None:
    """Have this process compute fp32 products in TF32 or not, as ``precision`` says.

    TF32 has fp32's range and bf16's 8 bits of precision plus 3. GPUs older than Ampere have none.

    Raises:
        ConfigError: only a GPU has ``precision``, or not this one.
    """
    on_gpu = device.type == "cuda"
    if precision in ("tf32", "fp16") and not on_gpu:
        raise ConfigError(f"compute.precision: {precision} needs a GPU; on a CPU choose fp32")
    if precision == "tf32" and torch.cuda.get_device_capability(device) < (8, 0):
        name = torch.cuda.get_device_name(device)
        raise ConfigError(
            f"compute.precision: tf32 needs a GPU of the generation Ampere or later, and this one "
            f"is {name}; choose fp16 or fp32"
        )
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32  # convolutions; torch's default is on

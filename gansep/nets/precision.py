"""Where to compute and in which precision: a device by name, and bfloat16 only where the hardware multiplies it."""

from __future__ import annotations

import torch

from gansep.types import GansepError


def pick_device(name: str = "auto") -> torch.device:
    """``auto``, ``cpu``, ``cuda`` (or ``cuda:1``) or ``mps`` to a device that is there.

    Raises:
        GansepError: no such device on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    beyond = device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    if not available.get(device.type, False) or beyond:
        there = ", ".join(kind for kind, yes in available.items() if yes)
        raise GansepError(f"device {name!r} is not available here; expected auto or one of: {there}")
    return device


def gains_from_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster than in float32: tensor cores, AMX or AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # torch has no public question for this yet; where the private one is gone the answer is the safe one.
        questions = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return any(getattr(torch.cpu, question, lambda: False)() for question in questions)
    return False


def autocast(device: torch.device, enabled: bool = True) -> torch.autocast:
    """Autocast to bfloat16 if ``enabled`` and the device gains from it; else float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled and gains_from_bfloat16(device))

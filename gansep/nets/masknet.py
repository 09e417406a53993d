"""A network's answer as masks: bounded or linear, real or complex, as its training target asks for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gansep.dsp.masks import crm, decompress
from gansep.nets.spectral import Memory, NetConfig, SpectralNet

BOUNDED = ("ibm", "irm")  # a sigmoid's range
COMPLEX = ("cirm", "crm")  # two maps a source
TARGETS = (*BOUNDED, "iam", "psm", "orm", *COMPLEX)
OF_MASKS = ("mse", "rmse", "mae", "cross-entropy")  # losses: of a mask and the ideal one
OF_SIGNALS = ("signal", "snr", "si-sdr")  # or of what it makes of the mixture
TOP = 2.0  # of amplitude masks, which have no bound of their own


class MaskNet(nn.Module):
    """A mixture's spectrogram to one mask a source.

    Args:
        config: of the network; its ``outputs`` are one map a source, two for complex masks.
        target: one of :data:`TARGETS`.
    Shape: complex ``[B, F, N]`` to the network's answer ``[B, S, F, N]``, complex for complex masks: what is compared
        with a target. :meth:`masks` makes masks of it.
    Raises:
        ValueError: an unknown target, or an odd number of maps for a complex one.

    >>> net = MaskNet(NetConfig(outputs=4, n_fft=128, hop=64, width=16, depth=2), "crm")
    >>> net.masks(net(torch.randn(2, 65, 9) * 1j)).shape
    torch.Size([2, 2, 65, 9])
    """

    def __init__(self, config: NetConfig, target: str) -> None:
        super().__init__()
        if target not in TARGETS:
            raise ValueError(f"unknown target {target!r}; expected one of {', '.join(TARGETS)}")
        if config.outputs % maps(target):
            raise ValueError(f"{target} needs an even number of outputs, got {config.outputs}")
        self.target, self.net = target, SpectralNet(config)

    @property
    def config(self) -> NetConfig:
        return self.net.config

    def forward(self, spectrum: Tensor, memory: Memory | None = None) -> Tensor:
        answer = self.net(spectrum.abs(), memory).float()
        if self.target not in COMPLEX:
            return answer
        return torch.complex(*answer.unflatten(1, (2, -1)).unbind(1))  # [B, S, F, N]

    def masks(self, answer: Tensor) -> Tensor:
        """Masks of an answer: in [0, 1] for ibm, irm and psm, in [0, 2] for iam, of magnitude below 1 for crm."""
        if self.target in BOUNDED:
            return answer.sigmoid()
        if self.target in ("orm", "cirm"):
            return decompress(answer)
        if self.target == "crm":
            return crm(answer)
        return answer.clamp(0, TOP if self.target == "iam" else 1)


def maps(target: str) -> int:
    """Maps a source that a target needs."""
    return 2 if target in COMPLEX else 1

"""What hears a source in a mixture: how much likelier every point of a spectrogram is its own than anything else's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gansep.dsp.stft import stft
from gansep.nets.precision import autocast
from gansep.nets.spectral import NetConfig, SpectralNet

MAPS = 2  # a source: its odds, and whether it sounds
EVIDENCE = 4  # numbers that tell whether a source is in a mixture
SIZES = NetConfig(outputs=MAPS, n_fft=1024, hop=512)  # windows that tell notes apart


class Listener(nn.Module):
    """A mixture's spectrogram to the log odds of each source it knows.

    Listeners of different sources are made to be put together: the softmax of the odds of whatever sources a mixture
    is said to have are their masks, and odds of 0 stand for anything unknown beside them.

    Args:
        config: of the network, with two maps a source.
    Shape: complex ``[B, F, N]`` to log odds ``[B, S, F, N]`` and to ``[B, S, N]``, the log odds that a source sounds
        in a frame at all.
    Attributes:
        certainty: ``[S, 5]``, what :func:`evidence` weighs for each source and an offset; 0 until it is calibrated.
    Raises:
        ValueError: an odd number of maps.

    >>> listener = Listener(NetConfig(outputs=6, n_fft=128, hop=64, width=16, depth=2))
    >>> odds, presence = listener(torch.randn(2, 65, 9) * 1j)
    >>> odds.shape, presence.shape
    (torch.Size([2, 3, 65, 9]), torch.Size([2, 3, 9]))
    """

    certainty: Tensor

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        if config.outputs % MAPS:
            raise ValueError(f"a listener needs {MAPS} maps a source, got {config.outputs}")
        self.net = SpectralNet(config)
        self.register_buffer("certainty", torch.zeros(config.outputs // MAPS, EVIDENCE + 1))

    @property
    def config(self) -> NetConfig:
        return self.net.config

    def forward(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        odds, presence = self.net(spectrum.abs()).float().unflatten(1, (-1, MAPS)).unbind(2)
        return odds, presence.mean(2)

    def of(self, numbers: Sequence[int]) -> Listener:
        """The listener of some of its sources, as often as they are named: the same network with their maps alone.

        Raises:
            ValueError: a network whose maps do not come from one last convolution.
        """
        if self.config.network != "tfconv":
            raise ValueError(f"only a tfconv listener can be taken apart, this one is {self.config.network}")
        with torch.random.fork_rng(devices=[]):
            some = Listener(replace(self.config, outputs=MAPS * len(numbers)))
        weights, last = dict(self.state_dict()), "net.trunk.up.0.conv.conv."
        for name in (f"{last}weight", f"{last}bias"):
            weights[name] = weights[name].unflatten(0, (-1, 2 * MAPS))[list(numbers)].flatten(0, 1)
        weights["certainty"] = weights["certainty"][list(numbers)]
        some.load_state_dict(weights)
        return some


@dataclass(frozen=True)
class Ear:
    """How one source is heard.

    Attributes:
        network: which may hear others too. number: of the source in it. hears: names of all its sources.
        sounds: SHA-256 of the recordings behind each of them, where that is known.
    """

    network: Listener
    number: int = 0
    hears: tuple[str, ...] = ()
    sounds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Heard:
    """What listeners say of mixtures.

    Attributes:
        spectrum: of the mixtures, complex ``[B, F, N]``.
        odds: log odds of the sources there, ``[B, S, F, N]``.
        presence: log odds that they sound in a frame at all, ``[B, S, N]``.
        shares: of the mixture's energy and of its magnitudes that they get, ``[B, S, 2]``, where all sources that
            their network knows compete for it, and an unknown one.
        sizes: window and hop of the spectrum, in samples.
    """

    spectrum: Tensor
    odds: Tensor
    presence: Tensor
    shares: Tensor
    sizes: tuple[int, int]


def listen(ears: Sequence[Ear], mixture: Tensor) -> Heard:
    """Hear sources in mixtures ``[B, T]``; a network that hears several of them hears once.

    Where networks have spectrograms of other sizes than the first one, their odds are carried to its.
    """
    first = ears[0].network.config
    sizes = first.n_fft, first.hop
    spectrum = stft(mixture, *sizes)
    answers: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    for network in {id(ear.network): ear.network for ear in ears}.values():
        config = network.config
        own = stft(mixture, config.n_fft, config.hop)
        with autocast(mixture.device):
            odds, presence = network(own)
        shares = _shares(odds, own)
        if odds.shape[2:] != spectrum.shape[1:]:
            odds = F.interpolate(odds, spectrum.shape[1:], mode="bilinear", align_corners=True)
            presence = F.interpolate(presence, spectrum.shape[-1:], mode="linear", align_corners=True)
        answers[id(network)] = odds, presence, shares
    odds, presence, shares = (
        torch.stack([answers[id(ear.network)][part][:, ear.number] for ear in ears], 1) for part in range(3)
    )
    return Heard(spectrum, odds, presence, shares, sizes)


def together(ears: Sequence[Ear], sounds: Sequence[str]) -> list[Ear]:
    """How sources are heard at once: by one network, if one of the ears' was trained on the recordings of them all.

    Args:
        ears: of each source. sounds: SHA-256 of the recordings behind each; by names one kit may be taken for another.
    """
    told = "" not in sounds and len(set(sounds)) == len(sounds)
    for ear in ears if told else ():
        if set(sounds) <= set(ear.sounds):
            return [replace(ear, number=ear.sounds.index(one)) for one in sounds]
    return list(ears)


def _shares(odds: Tensor, spectrum: Tensor) -> Tensor:
    power = spectrum.abs().square()
    power = power + 1e-6 * power.mean((1, 2), keepdim=True) + 1e-12
    masks = compete(F.pad(odds, (0, 0, 0, 0, 0, 1)))[:, :-1]
    weights = power, power.sqrt()
    return torch.stack([(masks * one[:, None]).sum((2, 3)) / one.sum((1, 2))[:, None] for one in weights], -1)


def evidence(heard: Heard) -> Tensor:
    """What tells whether a source is in a mixture, whichever others may be: ``[B, S, 4]``.

    The log odds of its shares of the energy and of the magnitudes, and those that it sounds in a frame: the mean over
    the quarter of the frames where they are highest, and over all.
    """
    most = heard.presence.topk(max(1, heard.presence.shape[2] // 4), 2).values
    return torch.cat([heard.shares.logit(1e-4), torch.stack([most.mean(2), heard.presence.mean(2)], -1)], -1)


def certainty(ears: Sequence[Ear], heard: Heard) -> Tensor:
    """Log odds that each source is in a mixture: ``[B, S]``."""
    weights = torch.stack([ear.network.certainty[ear.number] for ear in ears])  # [S, 5]
    return (evidence(heard) * weights[:, :-1]).sum(-1) + weights[:, -1]


def compete(odds: Tensor, there: Tensor | None = None) -> Tensor:
    """Masks of sources that share a mixture, which sum to 1 at every point.

    Args:
        odds: of each source. there: which of them are in the mixture; all unless given.
    Shape: ``[B, S, F, N]`` and bool ``[B, S]`` to ``[B, S, F, N]``.
    """
    if there is not None:
        odds = odds.masked_fill(~there[:, :, None, None], -torch.inf)
    return odds.softmax(1)

"""Sound for autoencoders: its spectra, mel bands or pieces of the wave as columns, and columns as sound again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gansep.dsp.frames import overlap_add, split
from gansep.dsp.mel import mel, unmel
from gansep.dsp.stft import change_spectrum, stft
from gansep.nets.autoencoder import Autoencoder, AutoencoderConfig
from gansep.nets.precision import autocast
from gansep.nets.spectral import feature, unfeature

DOMAINS = ("magnitude", "mel", "waveform")
PHASES = ("mixture", "griffin-lim")
LARGEST = {"n_fft": 65536, "mels": 4096, "floor": 1000}  # as for other networks, see gansep.nets.spectral


@dataclass(frozen=True)
class SoundConfig:
    """How sound becomes columns, and the autoencoder's sizes.

    Attributes:
        domain: one of :data:`DOMAINS`. n_fft, hop: of its spectra or pieces, in samples. mels: bands of ``mel``.
        phase: of the sound that is made of magnitudes, one of :data:`PHASES`.
        sample_rate: Hz. floor: magnitude added before the logarithm.
        mean, std: of every row over the training sounds.
        layers, width, depth, code, classes: of the autoencoder, see :class:`AutoencoderConfig`.
    """

    domain: str = "magnitude"
    n_fft: int = 512
    hop: int = 256
    mels: int = 80
    phase: str = "mixture"
    sample_rate: int = 16000
    floor: float = 1e-3
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layers: str = "conv"
    width: int = 0
    depth: int = 0
    code: int = 128
    classes: int = 0
    net: AutoencoderConfig = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for what, value, known in (("domain", self.domain, DOMAINS), ("phase", self.phase, PHASES)):
            if value not in known:
                raise ValueError(f"unknown {what} {value!r}; expected one of {', '.join(known)}")
        for name, most in LARGEST.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}, got {getattr(self, name)}")
        if self.n_fft < 64 or self.n_fft % 4 or not 1 <= self.hop <= self.n_fft // 2:
            said = f"got {self.n_fft} and {self.hop}"
            raise ValueError(f"n_fft must be a multiple of 4 from 64 up and hop at most half of it, {said}")
        if min(self.mels, self.sample_rate) < 1 or not self.floor > 0:
            raise ValueError("mels and sample_rate must be at least 1 and floor above 0")
        grid = self.domain != "waveform"
        sizes = AutoencoderConfig(self.size, self.layers, self.width, self.depth, self.code, self.classes, grid)
        object.__setattr__(self, "net", sizes)
        object.__setattr__(self, "width", sizes.width)
        object.__setattr__(self, "depth", sizes.depth)
        object.__setattr__(self, "mean", tuple(self.mean) or (0.0,) * self.size)
        object.__setattr__(self, "std", tuple(self.std) or (1.0,) * self.size)
        if len(self.mean) != self.size or len(self.std) != self.size or not all(value > 0 for value in self.std):
            raise ValueError(f"mean and std must have {self.size} numbers, those of std above 0")

    @property
    def size(self) -> int:
        """Numbers in a column."""
        return {"magnitude": self.n_fft // 2 + 1, "mel": self.mels, "waveform": self.n_fft}[self.domain]

    def to_json(self) -> dict[str, Any]:
        """Fields by name, as a card keeps them."""
        kept = asdict(replace(self))
        del kept["net"]
        return kept | {"mean": list(self.mean), "std": list(self.std)}


class SoundAutoencoder(nn.Module):
    """An autoencoder with ears and a voice.

    Args:
        config: of both.

    >>> net = SoundAutoencoder(SoundConfig("mel", layers="dense", width=32))
    >>> wave = torch.randn(2, 3000)
    >>> columns = net.hear(wave)
    >>> columns.shape, net.sound(net(columns), wave).shape
    (torch.Size([2, 80, 13]), torch.Size([2, 3000]))
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: SoundConfig) -> None:
        super().__init__()
        self.config, self.net = config, Autoencoder(config.net)
        self.register_buffer("mean", torch.tensor(config.mean)[:, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.std)[:, None], persistent=False)

    def forward(self, columns: Tensor, which: Tensor | None = None) -> Tensor:
        """Columns to what the autoencoder makes of them; see :class:`Autoencoder`."""
        return self.net(columns, which)

    def hear(self, wave: Tensor) -> Tensor:
        """Normalised columns of a sound. Shape: ``[B, T]`` to ``[B, D, N]``."""
        with autocast(wave.device, enabled=False):  # logarithms in half precision are steps of a quarter of a decibel
            return (columns(wave, self.config) - self.mean) / self.std

    def answers(self, heard: Tensor, which: Sequence[int]) -> Tensor:
        """What the decoder makes of one code when it is told each class. Shape: ``[B, D, N]`` to ``[B, S, D, N]``."""
        code = self.net.encode(heard)
        told = torch.tensor(list(which), device=code.device).repeat(len(code))
        return self.net.decode(code.repeat_interleave(len(which), 0), told).unflatten(0, (len(code), len(which)))

    def magnitudes(self, answer: Tensor) -> Tensor:
        """Magnitudes that columns of spectra or mel bands stand for. Shape: ``[B, D, N]`` to ``[B, F, N]``."""
        config = self.config
        levels = unfeature(answer * self.std + self.mean, "log", config.floor)
        return unmel(levels, config.sample_rate, config.n_fft) if config.domain == "mel" else levels

    def sound(self, answer: Tensor, mixture: Tensor) -> Tensor:
        """The sound of normalised columns, as long as the mixture, and with its phase unless Griffin-Lim finds one.

        Shape: ``[B, D, N]`` and ``[B, T]`` to ``[B, T]``.
        """
        config, length = self.config, mixture.shape[-1]
        if config.domain == "waveform":
            pieces = (answer * self.std + self.mean).movedim(-1, 0)  # [N, B, D]
            total = (len(pieces) - 1) * config.hop + config.n_fft
            return overlap_add(pieces, total, config.hop)[..., config.hop :][..., :length]
        magnitude = self.magnitudes(answer)
        if config.phase == "griffin-lim":
            return griffin_lim(magnitude, length, config.n_fft, config.hop)
        return change_spectrum(mixture, lambda spectrum: magnitude * spectrum.sgn(), config.n_fft, config.hop)


def columns(wave: Tensor, config: SoundConfig) -> Tensor:
    """Columns of a sound as they are, before normalisation. Shape: ``[B, T]`` to ``[B, D, N]``."""
    if config.domain == "waveform":  # as many pieces over the first and the last sample as over any other
        around = F.pad(wave, (config.hop, config.n_fft))
        return split(around, config.n_fft, config.hop).movedim(0, -1)
    magnitude = stft(_whole(wave, config.hop), config.n_fft, config.hop).abs()
    if config.domain == "mel":
        magnitude = mel(magnitude, config.sample_rate, config.mels)
    return feature(magnitude, "log", config.floor)


def griffin_lim(magnitude: Tensor, length: int, n_fft: int, hop: int, iterations: int = 60) -> Tensor:
    """A sound of these magnitudes whose phases fit together (Griffin and Lim, 1984; Perraudin et al., WASPAA 2013).

    Shape: ``[B, F, N]``, of ``length`` samples filled up to a multiple of the hop, to ``[B, length]``; always the same
        for the same magnitudes.
    """
    import librosa  # slow to import, and only some need it

    frames = max(magnitude.shape[-1], -(-n_fft // hop) + 1)  # of a window's length at least
    whole = F.pad(magnitude.detach().cpu().double(), (0, frames - magnitude.shape[-1])).numpy()
    find = partial(librosa.griffinlim, n_iter=iterations, hop_length=hop, n_fft=n_fft, length=(frames - 1) * hop)
    # One by one, so that a sound's first phases do not depend on those it shares a batch with.
    found = [find(one, pad_mode="constant", random_state=0) for one in whole]
    return torch.from_numpy(np.stack(found))[:, :length].to(magnitude)


def _whole(wave: Tensor, hop: int) -> Tensor:
    """As many samples as frames are apart, or a multiple: else the last ones are at one window's faint edge only."""
    return F.pad(wave, (0, -wave.shape[-1] % hop))

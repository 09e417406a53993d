"""What autoencoders learn: a clean sound behind a corrupted one, or one source of a mixture, as the decoder is told."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from gansep.nets.sound import SoundAutoencoder, SoundConfig, columns
from gansep.nets.spectral import statistics
from gansep.training.api import Provenance
from gansep.training.data import Clips
from gansep.training.separators import (
    LEVEL,
    SeparatorSettings,
    Sources,
    Training,
    by_name,
    example_mixtures,
)
from gansep.training.session import Paths, Say
from gansep.training.signals import check_loss
from gansep.training.supervised import Task
from gansep.types import DataError, GansepError

CORRUPTIONS = ("noise", "gaussian", "salt-pepper")
REST = "noise"  # what a denoiser leaves over is called, unless a folder says otherwise
WHITE_SECONDS = 60  # of Gaussian noise that pieces are drawn from
SNR_DB = (-5.0, 15.0)  # of clean sounds in noise, unless the settings say otherwise

LOSSES = ("mse", "log-spectral")


def corrupt(columns: Tensor, amount: float) -> Tensor:
    """Salt and pepper: a share of the numbers becomes the least or the greatest of all, either as likely.

    Draws from torch's global dice. Shape: any to the same.

    >>> clean = torch.linspace(-1, 1, 10000)
    >>> noisy = corrupt(clean, 0.5)
    >>> 0.45 < float((noisy != clean).float().mean()) < 0.55, float(noisy.min()), float(noisy.max())
    (True, -1.0, 1.0)
    """
    dice = torch.rand_like(columns)
    noisy = torch.where(dice < amount / 2, columns.min(), columns)
    return torch.where(dice > 1 - amount / 2, columns.max(), noisy)


def distance(answer: Tensor, truth: Tensor, loss: str, std: Tensor) -> Tensor:
    """Mean squared error of normalised columns, or the log-spectral distance that they have.

    Args:
        answer, truth: ``[B, D, N]`` each. loss: one of :data:`LOSSES`. std: of the columns, ``[D, 1]``.
    """
    error = (answer - truth).float()
    if loss == "mse":
        return error.square().mean()
    return (error * std).square().mean(1).clamp_min(1e-12).sqrt().mean()  # of natural logarithms


@dataclass
class DenoisingTask:
    """A clean sound behind a corrupted one, as a task of :class:`gansep.training.supervised.SupervisedTraining`.

    After Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders" (ICML 2008): minimise
    ``E || f_dec(f_enc(corrupted)) - clean ||^2``. The first source of a mixture is clean, the others are noise.

    Attributes:
        network: the autoencoder. loss: one of :data:`LOSSES`.
        amount: share of the columns' numbers that become salt or pepper besides.
    Raises:
        GansepError: a loss that there is not, or log-spectral distances of waveforms.
    """

    network: SoundAutoencoder
    loss: str = "mse"
    amount: float = 0.0

    def __post_init__(self) -> None:
        check_loss(self.loss, losses_of(self.network.config), "denoising autoencoders")
        if not 0 <= self.amount < 1:
            raise ValueError(f"amount must be in [0, 1), got {self.amount}")

    def __repr__(self) -> str:
        return f"DenoisingTask({self.network.config!r}, {self.loss!r}, {self.amount!r})"

    def losses(self, parts: Tensor) -> dict[str, Tensor]:
        """The loss of mixtures of ``parts [B, S, T]``."""
        clean, heard = self.network.hear(parts[:, 0]), self.network.hear(parts.sum(1))
        if self.amount:
            heard = corrupt(heard, self.amount)
        return {self.loss: distance(self.network(heard), clean, self.loss, self.network.std)}

    def separate(self, mixture: Tensor) -> Tensor:
        """``[B, T]`` to the clean sound and the rest, ``[B, 2, T]``."""
        clean = self.network.sound(self.network(self.network.hear(mixture)).float(), mixture)
        return torch.stack([clean, mixture - clean], 1)


@dataclass
class ConditionalTask:
    """Any one source of a mixture: minimise ``|| f_dec(f_enc(mixture), c) - source_c ||^2`` over all classes ``c``.

    Attributes:
        network: the autoencoder, with a class a source. loss: one of :data:`LOSSES`.
    """

    network: SoundAutoencoder
    loss: str = "mse"

    def __post_init__(self) -> None:
        check_loss(self.loss, losses_of(self.network.config), "conditional autoencoders")

    def __repr__(self) -> str:
        return f"ConditionalTask({self.network.config!r}, {self.loss!r})"

    def losses(self, parts: Tensor) -> dict[str, Tensor]:
        """The loss of mixtures of ``parts [B, S, T]``."""
        network, sources = self.network, range(parts.shape[1])
        answer = network.answers(network.hear(parts.sum(1)), sources)
        truth = network.hear(parts.flatten(0, 1)).unflatten(0, parts.shape[:2])
        return {self.loss: distance(answer.flatten(0, 1), truth.flatten(0, 1), self.loss, network.std)}

    def separate(self, mixture: Tensor) -> Tensor:
        """``[B, T]`` to ``[B, S, T]``."""
        network = self.network
        answer = network.answers(network.hear(mixture), range(network.config.classes)).float()
        return torch.stack([network.sound(one, mixture) for one in answer.unbind(1)], 1)


def losses_of(config: SoundConfig) -> tuple[str, ...]:
    """Losses that a domain has."""
    return LOSSES[:1] if config.domain == "waveform" else LOSSES


def train_denoiser(
    data: Sources,
    name: str | None = None,
    corruption: str = "",
    config: SoundConfig | None = None,
    settings: SeparatorSettings | None = None,
    *,
    amount: float = 0.2,
    out: str | Path | None = None,
    resume: bool = False,
    provenance: Provenance | None = None,
    held_out: Mapping[str, Paths] | None = None,
    on_event: Say | None = None,
) -> Path:
    """Train an autoencoder that gives a clean sound back when it hears a corrupted one, and save it.

    Args:
        data: clean sounds, and after them the noise if it is recorded, as for :func:`train_mask`.
        name: of the model; its sources' names, joined by hyphens, unless given.
        corruption: ``noise`` (recorded), ``gaussian`` (white, on the wave) or ``salt-pepper`` (on the columns);
            recorded if there is some, else Gaussian, unless given.
        config: domain, layers and sizes; statistics are filled in.
        settings: loss (``mse`` or ``log-spectral``), mixtures (of noise at :data:`SNR_DB` unless they have ``snr_db``),
            when to stop.
        amount: share of a column's numbers that become salt or pepper.
        out: the model's folder; ``autoencoder/<name>`` in the first writable library unless given.
        resume, provenance, held_out, on_event: as for :func:`train_mask`.
    Returns:
        The model's folder.
    Raises:
        GansepError: an unknown corruption or loss, or recorded noise that is missing or not wanted.
        DataError: clean sounds that are called as what is left over is, and as for :func:`train_mask`.
        ModelError, OutputError, TrainingError, KeyboardInterrupt: as for :func:`train_mask`.
    """
    settings, sizes = settings or SeparatorSettings(), config or SoundConfig()
    names = list(by_name(data, least=1))
    recorded = len(names) - 1
    corruption = corruption or CORRUPTIONS[0 if recorded else 1]
    if corruption not in CORRUPTIONS:
        raise GansepError(f"unknown corruption {corruption!r}; expected one of {', '.join(CORRUPTIONS)}")
    if (corruption == "noise") != (recorded == 1):
        said = f"{corruption} needs {'one folder' if corruption == 'noise' else 'none'}, got {recorded}"
        raise GansepError(f"wrong number of folders of noise: {said} beside {names[0]}")
    if not recorded and names == [REST]:
        raise DataError(f"clean sounds cannot be called {REST}, as what is left over is; name them otherwise")
    if corruption != "salt-pepper" and settings.mixing.snr_db is None:
        settings = replace(settings, mixing=replace(settings.mixing, snr_db=SNR_DB))
    salt = amount if corruption == "salt-pepper" else 0.0
    loss = settings.loss or LOSSES[0]
    check_loss(loss, losses_of(sizes), f"denoisers of {sizes.domain}")

    def make(clips: Sequence[Clips]) -> Task:
        return DenoisingTask(SoundAutoencoder(_with_statistics(sizes, clips, settings)), loss, salt)

    made = {"noise": {}, "gaussian": {REST: _white(sizes.sample_rate, settings.seed)}, "salt-pepper": {REST: None}}
    words = {"job": "denoising", "corruption": f"{corruption} {salt:g}" if salt else corruption, "loss": loss}
    training = Training(
        "autoencoder", words, LEVEL, sizes.sample_rate, make, settings, provenance or Provenance(), made[corruption]
    )
    return training(data, name, Path(out) if out else None, resume, held_out, on_event or (lambda event: None))


def train_conditional(
    data: Sources,
    name: str | None = None,
    config: SoundConfig | None = None,
    settings: SeparatorSettings | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    provenance: Provenance | None = None,
    held_out: Mapping[str, Paths] | None = None,
    on_event: Say | None = None,
) -> Path:
    """Train an autoencoder whose decoder is told which source of a mixture it shall answer with, and save it.

    Args:
        data: sounds of each source, as for :func:`train_mask`.
        name, out, resume, provenance, held_out, on_event, config, settings: as for :func:`train_denoiser`.
    Returns:
        The model's folder.
    Raises:
        GansepError: an unknown loss.
        DataError, ModelError, OutputError, TrainingError, KeyboardInterrupt: as for :func:`train_mask`.
    """
    settings, sizes = settings or SeparatorSettings(), config or SoundConfig()
    loss = settings.loss or LOSSES[0]
    check_loss(loss, losses_of(sizes), f"conditional autoencoders of {sizes.domain}")

    def make(clips: Sequence[Clips]) -> Task:
        heard = _with_statistics(replace(sizes, classes=len(clips)), clips, settings)
        return ConditionalTask(SoundAutoencoder(heard), loss)

    words = {"job": "conditional", "loss": loss}
    training = Training("autoencoder", words, LEVEL, sizes.sample_rate, make, settings, provenance or Provenance())
    return training(data, name, Path(out) if out else None, resume, held_out, on_event or (lambda event: None))


def _with_statistics(config: SoundConfig, clips: Sequence[Clips], settings: SeparatorSettings) -> SoundConfig:
    mean, std = statistics(columns(example_mixtures(clips, settings), config))
    return replace(config, mean=mean, std=std)


def _white(sample_rate: int, seed: int) -> Clips:
    """White noise, as if it had been recorded."""
    random = torch.Generator().manual_seed(seed)
    wave = torch.randn(WHITE_SECONDS * sample_rate, generator=random)
    wave = (wave / wave.abs().max() * 32767).round().to(torch.int16)
    return Clips((wave,), ((0, len(wave)),), sample_rate, hashlib.sha256(wave.numpy().tobytes()).hexdigest(), ())

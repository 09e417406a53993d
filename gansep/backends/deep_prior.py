r"""Deep Audio Prior: networks that were never trained, fitted to one mixture, take it apart by what they find easy.

After Tian, Xu and Li, "Deep Audio Prior" (arXiv 1912.10292, 2019). Networks turn fixed noise into the magnitudes
:math:`S_k` of each source and into masks :math:`M_k` that say where it sounds, so that

.. math:: \sum_k M_k \odot S_k \approx |X|

Convolutions learn what repeats sooner than what does not, and the noise of a source hardly changes from one frame to
the next, so each source is drawn to a sound that goes on; the masks switch it on and off. The losses are the fit to the
mixture, the exclusion of one source's edges by another's, and masks that are nearly binary and not zero everywhere.

The article's are the model, the noise and what the losses want; their exact forms, the networks' sizes, the weights and
the number of steps are ours, for some ten seconds of one core for a second and a half of sound (the authors take
thousands of steps). What is found depends on the seed more than on these settings, of which a few were tried on dev. In
the end the model's shares filter the mixture, so that the sources sum to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gansep.dsp.masks import apply_mask, wiener
from gansep.dsp.stft import istft, stft
from gansep.losses.spectral import LEVELS, pyramid
from gansep.nets.precision import autocast
from gansep.nets.unet import UNet, UNetConfig
from gansep.refine import Refinement
from gansep.types import Estimates, ModelError, component_names

SILENT = 1e-6  # peak of a mixture with nothing to separate, -120 dB of full scale
FAINT = 1e-3  # size of edges that are hardly any, where magnitudes are of order 1: keeps the gradient there in bounds


@dataclass(frozen=True)
class DeepPriorSettings:
    """What is fitted, and how.

    Attributes:
        steps: of Adam. rate: of its steps.
        n_fft, hop: of the spectrograms, in samples.
        source, mask: sizes of the networks but for their outputs, of which there are as many as needed.
        drift: change of the sources' noise from one frame to the next, in standard deviations; 0 repeats the first
            frame, 1 forgets it.
        mask_drift: the same for the masks, from one frequency to the next: below 1 a source tends to be on or off at
            once over its band.
        exclusion, binary, nonzero: weights of the losses beside the fit.
        activity: share of the model's magnitudes below which a source counts as missing.
    """

    steps: int = 150
    rate: float = 0.01
    n_fft: int = 1024
    hop: int = 512
    source: UNetConfig = field(default_factory=UNetConfig)
    mask: UNetConfig = field(default_factory=UNetConfig)
    drift: float = 0.1
    mask_drift: float = 1.0
    exclusion: float = 0.1
    binary: float = 0.01
    nonzero: float = 1.0
    activity: float = 0.2

    def __post_init__(self) -> None:
        if self.steps < 0 or not self.rate > 0:
            raise ModelError(f"steps must be at least 0 and rate above 0, got {self.steps} and {self.rate}")
        if not 1 <= self.hop <= self.n_fft // 2:
            raise ModelError(f"hop must be from 1 to half of n_fft, got {self.hop} and {self.n_fft}")
        if not (0 <= self.drift <= 1 and 0 <= self.mask_drift <= 1):
            raise ModelError(f"drifts must be in [0, 1], got {self.drift} and {self.mask_drift}")
        if min(self.exclusion, self.binary, self.nonzero) < 0 or not 0 < self.activity < 1:
            weights = f"{self.exclusion}, {self.binary}, {self.nonzero}"
            raise ModelError(f"weights must not be negative, activity in (0, 1); got {weights}, {self.activity}")


class Losses(NamedTuple):
    """The losses of one step, each of shape ``[]``; ``total`` is their weighted sum."""

    total: Tensor
    fit: Tensor
    exclusion: Tensor
    binary: Tensor
    nonzero: Tensor


class DeepPrior:
    """Separator that knows only how many sources there are (see :class:`gansep.types.Separator`).

    Args:
        count: number of sources.
        settings: what is fitted, and how.
        sample_rate: Hz, at which the mixture is heard.
        seed: of the networks' first weights and of their noise; the same for every mixture.
        on_step: told ``(steps done, losses)`` of each mixture in turn.
    Raises:
        ModelError: a count or rate below 1.
    """

    segment: int | None = None

    def __init__(
        self,
        count: int,
        settings: DeepPriorSettings = DeepPriorSettings(),
        sample_rate: int = 16000,
        seed: int = 0,
        on_step: Callable[[int, Losses], None] | None = None,
    ) -> None:
        if min(count, sample_rate) < 1:
            raise ModelError(f"count and sample_rate must be at least 1, got {count} and {sample_rate}")
        self.count, self.settings, self.sample_rate = count, settings, sample_rate
        self.seed, self.on_step = seed, on_step
        self.sources = component_names(count)
        self.refinement = Refinement(exponent=1.0, floor=0.0)

    def __call__(self, mixture: Tensor) -> Estimates:
        """Fit each mixture of a batch by itself. Shape: ``[B, T]`` to ``waves [B, S, T]``, which sum to the mixture.

        ``stats`` holds each loss of :class:`Losses` per step, ``[B, steps + 1]``; 0 for a silent mixture.
        """
        if mixture.ndim != 2 or 0 in mixture.shape:
            raise ValueError(f"expected a mixture of shape [B, T] with B, T >= 1, got {list(mixture.shape)}")
        fits = [self._separate(wave) for wave in mixture.detach().float()]
        curves = torch.stack([curve for _, curve in fits])  # [B, losses, steps + 1]
        stats = dict(zip(Losses._fields, curves.unbind(1), strict=True))
        return Estimates(torch.stack([waves for waves, _ in fits]), self.sources, stats)

    def _separate(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """``[T]`` to ``[S, T]`` and the course of the losses, ``[losses, steps + 1]``."""
        settings = self.settings
        if wave.abs().max() < SILENT:
            equal = wave.expand(self.count, -1) / self.count
            return equal, wave.new_zeros(len(Losses._fields), settings.steps + 1)
        spectrum = stft(wave, settings.n_fft, settings.hop)  # [F, N]
        magnitude = spectrum.abs()
        level = magnitude.square().mean().sqrt()
        models, curve = fit(magnitude / level, self.count, settings, self.seed, self.on_step)
        waves = istft(apply_mask(wiener(models), spectrum), len(wave), settings.n_fft, settings.hop)
        return waves, curve


def fit(
    magnitude: Tensor,
    count: int,
    settings: DeepPriorSettings,
    seed: int = 0,
    on_step: Callable[[int, Losses], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """The magnitudes of the sources that untrained networks find in a mixture.

    Args:
        magnitude: of the mixture, of RMS 1.
        count: number of sources. settings: how.
        seed: of weights and noise.
        on_step: told ``(steps done, losses)``.
    Shape: ``[F, N]`` to ``[S, F, N]`` and the course of the losses, ``[losses, steps + 1]``.
    """
    with torch.random.fork_rng(devices=[]):  # torch's initialisation knows the global state alone
        torch.manual_seed(seed)
        networks = _Networks(count, settings).to(magnitude.device)
    random = torch.Generator().manual_seed(seed)
    size = magnitude.shape
    source_noise = [consistent_noise(settings.source.inputs, size, settings.drift, random) for _ in range(count)]
    mask_noise = consistent_noise(settings.mask.inputs, size[::-1], settings.mask_drift, random).mT
    source_noise, mask_noise = [z.to(magnitude.device) for z in source_noise], mask_noise.to(magnitude.device)
    optimiser = torch.optim.Adam(networks.parameters(), settings.rate)
    curve = []

    def look(step: int) -> tuple[Tensor, Losses]:
        sources, masks = networks(source_noise, mask_noise)
        losses = objective(sources, masks, magnitude, settings)
        curve.append(torch.stack(losses).detach())
        if on_step:
            on_step(step, Losses(*curve[-1]))
        return sources * masks, losses

    for step in range(settings.steps):
        _, losses = look(step)
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
    with torch.no_grad():
        models, _ = look(settings.steps)
    return models, torch.stack(curve, 1)


class _Networks(nn.Module):
    """A network a source for its magnitudes, and one for all masks."""

    def __init__(self, count: int, settings: DeepPriorSettings) -> None:
        super().__init__()
        self.sources = nn.ModuleList(UNet(replace(settings.source, outputs=1)) for _ in range(count))
        self.masks = UNet(replace(settings.mask, outputs=count))

    def forward(self, source_noise: Sequence[Tensor], mask_noise: Tensor) -> tuple[Tensor, Tensor]:
        """``[1, inputs, F, N]`` each to magnitudes, above 0, and masks, in (0, 1), both ``[S, F, N]``."""
        with autocast(mask_noise.device):
            sources = torch.cat([net(noise) for net, noise in zip(self.sources, source_noise, strict=True)], 1)
            masks = self.masks(mask_noise)
        return F.softplus(sources[0].float()), masks[0].float().sigmoid()


def consistent_noise(channels: int, size: Sequence[int], drift: float, random: torch.Generator) -> Tensor:
    r"""Noise that changes little from frame to frame, so that what a network makes of it goes on.

    .. math:: z_{n+1} = \sqrt{1 - d^2} \, z_n + d \, \epsilon_n

    The article adds small steps to the frame before; the factor keeps the variance at 1 however long the sound is.

    Args:
        channels: of the noise. size: ``F`` and ``N``. drift: :math:`d`, in [0, 1]. random: where it comes from.
    Shape: ``[1, channels, F, N]``.

    >>> noise = consistent_noise(1, (3, 5), 0.0, torch.Generator().manual_seed(0))
    >>> bool((noise == noise[..., :1]).all())
    True
    """
    bins, frames = size
    fresh = torch.randn(1, channels, bins, frames, generator=random)
    walk = [fresh[..., 0]]
    for step in fresh[..., 1:].unbind(-1):
        walk.append((1 - drift**2) ** 0.5 * walk[-1] + drift * step)
    return torch.stack(walk, -1)


def objective(sources: Tensor, masks: Tensor, magnitude: Tensor, settings: DeepPriorSettings) -> Losses:
    r"""What a step lowers.

    The fit is the mean of :math:`|\ln(1 + \sum_k M_k S_k) - \ln(1 + |X|)|`; the exclusion, see :func:`exclusion`, is
    that of :math:`\ln(1 + M_k S_k)`. Masks are pushed off the middle by the mean of :math:`4 M_k (1 - M_k)`. The
    article pushes masks off zero; here it is :math:`M_k S_k`, by :math:`\max(0, 1 - w_k / \text{activity})` with
    :math:`w_k` its share of the sum, because an open mask is no help where another source plays the whole mixture.

    Shape: ``[S, F, N]``, ``[S, F, N]`` and ``[F, N]`` to scalars.
    """
    models = sources * masks
    fitted = (models.sum(0).log1p() - magnitude.log1p()).abs().mean()
    overlap = exclusion(models.log1p())
    binary = (4 * masks * (1 - masks)).mean()
    shares = models.mean((-2, -1)) / models.sum(0).mean()  # [S]
    nonzero = (1 - shares / settings.activity).clamp_min(0).mean()
    total = fitted + settings.exclusion * overlap + settings.binary * binary + settings.nonzero * nonzero
    return Losses(total, fitted, overlap, binary, nonzero)


def exclusion(pictures: Tensor) -> Tensor:
    r"""How much the edges of the sources coincide, in [0, 1), 0 for a single source.

    The mean over pairs, both axes and three levels (each a 2x2 average pooling of the one before) of the mean of
    :math:`\tanh^2(\tfrac12 a / \operatorname{rms} a) \tanh^2(\tfrac12 b / \operatorname{rms} b)`, :math:`a, b` the
    first differences of two pictures. After Zhang, Ng and Chen, "Single Image Reflection Separation with Perceptual
    Losses" (CVPR 2018).

    Shape: ``[S, F, N]`` to ``[]``.

    >>> exclusion(torch.eye(8)[None])
    tensor(0.)
    """
    total = pictures.new_zeros(())
    if len(pictures) < 2:
        return total
    first, second = torch.combinations(torch.arange(len(pictures), device=pictures.device)).unbind(1)
    for level in pyramid(pictures[None]):
        for axis in (-2, -1):
            edges = level[0].diff(dim=axis)  # [S, F - 1, N] or [S, F, N - 1]
            if edges.numel():
                rms = (edges.square().mean((-2, -1), keepdim=True) + FAINT**2).sqrt()
                sizes = torch.tanh(edges / (2 * rms)).square()
                total = total + (sizes[first] * sizes[second]).mean()
    return total / (2 * LEVELS)

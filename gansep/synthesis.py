"""Sounds that a prior makes: by chance, between two recordings, of another source's sound, and along an attribute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.types import ModelError

if TYPE_CHECKING:
    from gansep.library import Prior

DRAWS = 512  # sounds from which the direction of an attribute is learned
FRAME = 2048  # samples that a pitch is heard in
LOUD = 0.1  # of the loudest frame's level, from which on frames are asked for their pitch
PERIODIC = 0.25  # how periodic a frame must be to have a pitch; of white noise hardly one is above 0.15
VOICED = 0.5  # share of the loud frames that must have a pitch for a sound to have one


def between(prior: Prior, first: Tensor, second: Tensor, count: int) -> Tensor:
    """Sounds from one recording to another, through the encoder: straight in a box, along a sphere for normal latents.

    Args:
        prior: with an encoder. first, second: at its rate, ``[T]`` each. count: sounds, both ends included.
    Shape: returns ``[count, segment]``.
    Raises:
        ModelError: a prior without an encoder.
    """
    ends = hear(prior, torch.stack([fit(prior, first), fit(prior, second)]))
    share = torch.linspace(0, 1, count, device=ends.device)[:, None]
    return play(prior, _slerp(ends[0], ends[1], share) if prior.variational else torch.lerp(ends[0], ends[1], share))


def transfer(prior: Prior, wave: Tensor) -> Tensor:
    """What a prior plays when its encoder hears another source: that sound with this prior's timbre.

    Shape: ``[T]`` at the prior's rate to ``[N, segment]``, one a stretch of it.
    """
    pieces = F.pad(wave, (0, -len(wave) % prior.segment)).unflatten(0, (-1, prior.segment))
    return play(prior, hear(prior, pieces))


@dataclass(frozen=True)
class Walk:
    """Sounds along the direction in which an attribute changes most.

    Attributes:
        waves: ``[count, segment]``. values: the attribute of each, as it was measured.
        correlation: of the attribute with the latent's place along the direction, over other sounds of the prior.
    """

    waves: Tensor
    values: Tensor
    correlation: float


def walk(prior: Prior, attribute: str, count: int, seed: int = 0, reach: float = 2.0) -> Walk:
    """A walk through the latents along which an attribute rises.

    The direction is the least-squares slope of the attribute over :data:`DRAWS` sounds of the prior; half of them learn
    it, the others tell how well it holds. The walk goes through the sound, of the louder half, that is nearest to the
    middle of it.

    Args:
        attribute: one of :data:`MEASURES`. count: sounds. seed: of the draws.
        reach: how far it goes either way from the middle, in standard deviations of a latent along the direction.
    """
    latents = prior.latents(DRAWS, seed)
    waves = play(prior, latents)
    values = MEASURES[attribute](waves, prior.sample_rate)
    known = values.isfinite()
    latents, values, levels = latents[known], values[known], loudness(waves[known], prior.sample_rate)
    if len(values) < DRAWS // 4:
        raise ModelError(
            f"{prior.name}: only {len(values)} of {DRAWS} of its sounds have a {attribute}; walk by another"
        )
    half = len(values) // 2
    centred = latents[:half] - latents[:half].mean(0)
    ridge = len(centred) * 0.1 * centred.square().mean() * torch.eye(prior.latent, device=latents.device)
    slope = torch.linalg.solve(centred.mT @ centred + ridge, centred.mT @ (values[:half] - values[:half].mean()))
    direction = slope / slope.norm().clamp_min(1e-12)
    places = latents @ direction
    correlation = torch.corrcoef(torch.stack([places[half:], values[half:]]))[0, 1]
    base = torch.where(levels >= levels.median(), (places - places.mean()).abs(), torch.inf).argmin()
    steps = torch.linspace(-reach, reach, count, device=latents.device) * places.std() + places.mean() - places[base]
    waves = play(prior, prior.space.project(latents[base] + steps[:, None] * direction))
    return Walk(waves, MEASURES[attribute](waves, prior.sample_rate), float(correlation))


def hear(prior: Prior, waves: Tensor) -> Tensor:
    """Latents of sounds. Shape: ``[B, segment]`` to ``[B, Z]``.

    Raises:
        ModelError: a prior without an encoder.
    """
    if prior.encoder is None:
        raise ModelError(
            f"{prior.name}: it has no encoder to hear a recording with; train one with the default objective"
        )
    with torch.no_grad():
        return prior.encoder(waves.to(prior.device))[0]


def play(prior: Prior, latents: Tensor) -> Tensor:
    """Sounds of latents. Shape: ``[B, Z]`` to ``[B, segment]``."""
    with torch.no_grad():
        return torch.cat([prior.generator(few) for few in latents.to(prior.device).split(64)])


def fit(prior: Prior, wave: Tensor) -> Tensor:
    """The stretch of a sound around its loudest sample that a prior can play, or the sound and silence.

    Shape: ``[T]`` to ``[segment]``.
    """
    start = max(0, min(int(wave.abs().argmax()) - prior.segment // 4, len(wave) - prior.segment))
    part = wave[start : start + prior.segment]
    return F.pad(part, (0, prior.segment - len(part)))


def centroid(waves: Tensor, sample_rate: int) -> Tensor:
    """Mean frequency by magnitude, in Hz. Shape: ``[B, T]`` to ``[B]``."""
    magnitude = torch.fft.rfft(waves).abs()
    frequency = torch.linspace(0, sample_rate / 2, magnitude.shape[-1], device=waves.device)
    return (magnitude @ frequency) / magnitude.sum(-1).clamp_min(1e-12)


def pitch(waves: Tensor, sample_rate: int) -> Tensor:
    """Median fundamental frequency of loud frames in Hz, NaN where few have one (pYIN; Mauch and Dixon, 2014).

    All of pYIN's thresholds count as equally likely, so that its voiced probability says how periodic a frame is. Its
    usual weights are for clean voices; they hear nothing in what priors play, tones with noise beside them.

    Shape: ``[B, T]`` to ``[B]``.
    """
    import librosa  # slow to import, and only some need it

    found = []
    for wave in waves.detach().cpu().numpy():
        frequency, sounds, periodic = librosa.pyin(
            wave, fmin=60, fmax=1500, sr=sample_rate, frame_length=FRAME, beta_parameters=(1, 1)
        )
        levels = librosa.feature.rms(y=wave, frame_length=FRAME, hop_length=FRAME // 4)[0]
        loud = levels >= LOUD * levels.max()
        voiced = torch.from_numpy(frequency[loud & sounds & (periodic > PERIODIC)])
        found.append(voiced.median() if len(voiced) > VOICED * loud.sum() else voiced.new_tensor(torch.nan))
    return torch.stack(found).float().to(waves.device)


def loudness(waves: Tensor, sample_rate: int) -> Tensor:
    """Power in dB of full scale. Shape: ``[B, T]`` to ``[B]``."""
    return 10 * waves.square().mean(-1).clamp_min(1e-12).log10()


MEASURES: dict[str, Callable[[Tensor, int], Tensor]] = {"centroid": centroid, "pitch": pitch, "loudness": loudness}
UNITS = {"centroid": "Hz", "pitch": "Hz", "loudness": "dB"}


def _slerp(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Along a great circle, and evenly in length. Shape: ``[Z]`` twice and ``[N, 1]`` to ``[N, Z]``."""
    sizes = first.norm().clamp_min(1e-12), second.norm().clamp_min(1e-12)
    a, b = first / sizes[0], second / sizes[1]
    angle = (a @ b).clamp(-1, 1).acos()
    if angle < 1e-4:
        return torch.lerp(first, second, share)
    around = (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()
    return around * torch.lerp(sizes[0], sizes[1], share)

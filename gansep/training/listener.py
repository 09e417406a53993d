"""What listeners learn: odds whose softmax separates whatever is in a mixture, and what sounds in it at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.dsp.masks import apply_mask
from gansep.dsp.stft import change_spectrum, istft, stft
from gansep.nets.listener import Ear, Listener, compete, evidence, listen
from gansep.training.signals import error_ratio

FAINT = 1e-3  # share of a frame's power below which a source does not count as sounding in it
ENDED = 1e-4  # nor below that share of its own loudest frame
PRESENCE = 3.0  # dB that a nat of its cross-entropy weighs


@dataclass
class ListenerTask:
    """Listening as a task of :class:`gansep.training.supervised.SupervisedTraining`.

    In every mixture the sources that sound compete for each point, half of the time with an unknown one (log odds of
    0) and now and then with some or all of those that do not sound: so that odds of listeners which were trained apart
    can be put together, of sources nobody named.

    Attributes:
        network: the listener.
    """

    network: Listener

    def __repr__(self) -> str:
        return f"ListenerTask({self.network.config!r})"

    def losses(self, parts: Tensor) -> dict[str, Tensor]:
        """The losses of mixtures of ``parts [B, S, T]``, some with digital silence at an end."""
        return listening_losses(self.network, with_silence(parts))

    def separate(self, mixture: Tensor) -> Tensor:
        """``[B, T]`` to ``[B, S, T]``: all sources and an unknown one compete."""
        config = self.network.config

        def stems(spectrum: Tensor) -> Tensor:
            odds, _ = self.network(spectrum)
            return apply_mask(compete(F.pad(odds, (0, 0, 0, 0, 0, 1)))[:, :-1], spectrum)

        return change_spectrum(mixture, stems, config.n_fft, config.hop)


def listening_losses(listener: Listener, parts: Tensor) -> dict[str, Tensor]:
    """What listeners are to lower: the error over the mixture in dB, and the cross-entropy of what sounds.

    Args:
        listener: of one source or several.
        parts: of mixtures, one a source.
    Shape: parts ``[B, S, T]``. Who competes beside those that sound is drawn from the global dice, which a training
    seeds for every step.
    """
    config = listener.config
    spectra = stft(parts, config.n_fft, config.hop)  # [B, S, F, N]
    mixture = spectra.sum(1)
    odds, presence = listener(mixture)
    with torch.autocast(parts.device.type, enabled=False):
        sounds = parts.abs().amax(-1) > 0  # [B, S]
        masks = compete(F.pad(odds, (0, 0, 0, 0, 0, 1)), _rivals(sounds))[:, :-1]
        waves = istft(apply_mask(masks, mixture), parts.shape[-1], config.n_fft, config.hop)
        ratio = (error_ratio(waves, parts) * sounds).sum() / sounds.sum().clamp_min(1)
        power = spectra.abs().square().sum(2)  # [B, S, N]
        active = power > FAINT * power.sum(1, keepdim=True).clamp_min(1e-8)
        active = active & (power > ENDED * power.amax(-1, keepdim=True))
        heard = F.binary_cross_entropy_with_logits(presence, active.float())
    return {"listening": ratio + PRESENCE * heard, "snr": ratio, "presence": heard}


def with_silence(parts: Tensor) -> Tensor:
    """Every other mixture's ``parts [B, S, T]`` silenced at the start, the end or both, as recordings may be."""
    silent = 0.4 * torch.rand(len(parts), 2) * (torch.rand(len(parts), 2) < 0.3)
    at = torch.linspace(0, 1, parts.shape[-1])
    on = ((at >= silent[:, :1]) & (at <= 1 - silent[:, 1:])).float()
    return parts * on.to(parts.device)[:, None]


@torch.no_grad()
def calibrate(listener: Listener, parts: Sequence[Tensor]) -> None:
    """Find how sure a listener may be of what it hears, by logistic regression on mixtures it is told the truth of.

    Args:
        listener: is changed in place. parts: of mixtures, ``[B, S, T]`` each.
    """
    from sklearn.linear_model import LogisticRegression  # slow to import

    ears = [Ear(listener, number) for number in range(len(listener.certainty))]
    heard = torch.cat([evidence(listen(ears, some.sum(1))) for some in parts])  # [B, S, 4]
    power = torch.cat([some.square().mean(-1) for some in parts])  # [B, S]
    there = power > FAINT * power.sum(1, keepdim=True)
    spread, mean = torch.std_mean(heard, 0)  # [S, 4]
    spread = spread.clamp_min(1e-3)
    for number, truth in enumerate(there.unbind(1)):
        if truth.all() or not truth.any():
            continue  # nothing to tell apart
        fit = LogisticRegression(max_iter=1000)
        fit.fit(((heard - mean) / spread)[:, number].double().numpy(), truth.numpy())
        weights = torch.tensor(fit.coef_[0]).float() / spread[number]
        listener.certainty[number, :-1] = weights
        listener.certainty[number, -1] = torch.tensor(fit.intercept_).float().squeeze() - weights @ mean[number]


def _rivals(sounds: Tensor) -> Tensor:
    """Who competes for a mixture: all that sounds, and by chance more; the unknown one comes last.

    Shape: ``[B, S]`` to ``[B, S + 1]``.
    """
    chance = torch.rand(len(sounds), sounds.shape[1] + 2).to(sounds.device)
    others = (chance[:, :-2] < 0.15) | (chance[:, -2:-1] < 0.25)  # one by one, or all at once
    there = torch.cat([sounds | others, chance[:, -1:] < 0.5], 1)
    there[:, -1] |= ~there.any(1)  # somebody must, also where all is silent
    return there

"""Masks from a network that was trained on mixtures of exactly these sources."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gansep.dsp.masks import apply_mask
from gansep.dsp.stft import change_spectrum
from gansep.dsp.streaming import StreamingIstft, StreamingStft
from gansep.library import TrainedSeparator
from gansep.nets.masknet import BOUNDED, OF_MASKS, MaskNet
from gansep.nets.precision import autocast
from gansep.nets.spectral import Memory
from gansep.refine import Refinement
from gansep.types import Estimates, ModelError


class Masks:
    """Separator by a trained mask network (see :class:`gansep.types.Separator`).

    Args:
        model: of kind ``mask``.
        sources: the order wanted of its sources; its own if empty.
        threshold: above which a mask becomes 1, and below 0, as for ideal binary masks; ``None`` to leave it.
        exponent: of the estimates' magnitudes in the masks on the recording; 2 for square-root ratio masks and 1 for
            the others unless given.
    """

    segment: int | None = None

    def __init__(
        self,
        model: TrainedSeparator,
        sources: Sequence[str] = (),
        threshold: float | None = None,
        exponent: float | None = None,
    ) -> None:
        assert isinstance(model.network, MaskNet)
        self.network, self.threshold = model.network, threshold
        self.sources = tuple(sources) or model.card.sources
        self.order = [model.card.sources.index(name) for name in self.sources]
        self.cards = [model.card] * len(self.sources)
        self.sample_rate: int | None = model.card.sample_rate
        target = self.network.target
        if threshold is not None and (not 0 < threshold < 1 or target not in BOUNDED):
            raise ModelError(
                f"a threshold in (0, 1) is for {' and '.join(BOUNDED)} masks, got {threshold} for {target}"
            )
        loss = model.card.config.get("loss")
        self.free = loss == "si-sdr"  # nothing held the stems' levels in training
        usual = 2.0 if target == "irm" and loss in OF_MASKS else 1.0
        self.refinement: Refinement | None = Refinement(exponent=usual if exponent is None else exponent)

    def __call__(self, mixture: Tensor) -> Estimates:
        """Separate a batch. Shape: ``[B, T]`` to ``waves [B, S, T]``."""
        config = self.network.config
        with torch.no_grad():
            waves = change_spectrum(mixture, lambda one: apply_mask(self.masks(one), one), config.n_fft, config.hop)
        return Estimates(_levelled(waves, mixture) if self.free else waves, self.sources)

    def masks(self, spectrum: Tensor, memory: Memory | None = None) -> Tensor:
        """Masks of a spectrogram, in the order wanted. Shape: complex ``[B, F, N]`` to ``[B, S, F, N]``."""
        with autocast(spectrum.device):
            answer = self.network(spectrum, memory)
        masks = self.network.masks(answer)[:, self.order]
        return masks if self.threshold is None else (masks > self.threshold).to(masks.dtype)

    def stream(self) -> MaskStream:
        """The same for a recording that comes block by block.

        Raises:
            ModelError: a network that hears what comes after, or keeps nothing of what was before.
        """
        config = self.network.config
        if not (config.causal and config.network == "tfconv"):
            kind = f"{'a causal' if config.causal else 'not a causal'} {config.network}"
            raise ModelError(
                f"{self.cards[0].name}: a stream needs a causal tfconv network, this one is {kind}; "
                "give another --model, or train one with gansep train-mask --network tfconv --causal"
            )
        return MaskStream(self)


def _levelled(waves: Tensor, mixture: Tensor) -> Tensor:
    """Stems at the levels, not below 0, at which their sum is nearest to the mixture.

    Shape: ``[B, S, T]`` and ``[B, T]`` to ``[B, S, T]``.
    """
    powers = waves @ waves.mT  # [B, S, S]
    slight = torch.diag_embed(1e-4 * powers.diagonal(dim1=1, dim2=2) + 1e-9)  # prefers levels as they are
    gains = torch.linalg.solve(powers + slight, waves @ mixture[..., None] + slight.sum(-1, keepdim=True))
    return gains.clamp_min(0) * waves


class MaskStream:
    """A recording that comes block by block, through the masks of a causal network.

    The network hears the mean of the channels, and every channel gets the same mask. What comes out is the offline
    answer of :meth:`Masks.__call__` in whatever blocks the recording comes: the network's own masks, not the shares of
    the recording that files get (:mod:`gansep.refine`).

    In frames whose channels cancel each other the network hears the loudest channel. :func:`gansep.audio.mix_down`,
    which files go through, does so too, but it decides once for a whole window, and for a mean below 0.01 of the
    loudest channel's power.

    Args:
        separator: of a causal ``tfconv``; see :meth:`Masks.stream`.
    Attributes:
        latency: samples that output lags input by: the first ``t`` are out once ``t + latency - 1`` are in.
    """

    CANCELLED = 1e-3  # power of the mean, as a share of the channels' mean power, below which they cancel

    def __init__(self, separator: Masks) -> None:
        config = separator.network.config
        self.separator, self.latency = separator, config.n_fft
        self._forth, self._back = StreamingStft(config.n_fft, config.hop), StreamingIstft(config.n_fft, config.hop)
        self._memory: Memory = {}
        self._heard = self._said = 0  # samples

    def push(self, block: Tensor) -> Tensor:
        """Stems of the samples that are final. Shape: ``[C, n]``, ``n`` from 0 up, to ``[S, C, m]``."""
        self._heard += block.shape[-1]
        self._silence = block.new_zeros(len(block), self.separator.network.config.hop)
        stems = self._stems(self._forth.push(block))
        self._said += stems.shape[-1]
        return stems

    def finish(self) -> Tensor:
        """Stems of the last samples; afterwards a new recording may begin. Shape: returns ``[S, C, m]``.

        Raises:
            ValueError: not one sample was pushed.
        """
        missing = -self._heard % self.separator.network.config.hop  # as offline
        stems = [self._stems(self._forth.push(self._silence[:, :missing]))] if missing else []
        stems.append(self._stems(self._forth.finish()))
        rest = self._back.finish(self._heard + missing)  # [S * C, m]
        left = self._heard - self._said
        self._heard, self._said, self._memory = 0, 0, {}
        return torch.cat([*stems, rest.unflatten(0, (len(stems[-1]), -1))], -1)[..., :left]

    def _stems(self, spectrum: Tensor) -> Tensor:
        count = len(self.separator.sources)
        if not spectrum.shape[-1]:
            return spectrum.real.new_zeros(count, len(spectrum), 0)
        with torch.no_grad():
            masks = self.separator.masks(self._mixed_down(spectrum)[None], self._memory)  # [1, S, F, N]
        stems = masks[0][:, None] * spectrum  # [S, C, F, N]
        return self._back.push(stems.flatten(0, 1)).unflatten(0, (count, -1))

    def _mixed_down(self, spectrum: Tensor) -> Tensor:
        """One channel. Shape: complex ``[C, F, N]`` to ``[F, N]``."""
        mean, powers = spectrum.mean(0), spectrum.abs().square().sum(1)  # [F, N] and [C, N]
        cancel = mean.abs().square().sum(0) < self.CANCELLED * powers.mean(0)  # [N]
        loudest = spectrum[powers.argmax(0), :, torch.arange(spectrum.shape[-1], device=spectrum.device)]  # [N, F]
        return torch.where(cancel, loudest.T, mean)

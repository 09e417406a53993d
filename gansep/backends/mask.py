"""Masks from a network that was trained on mixtures of exactly these sources."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.dsp.masks import apply_mask
from gansep.dsp.stft import istft, stft
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
        squares = target == "irm" and model.card.config.get("loss") in OF_MASKS
        self.refinement: Refinement | None = Refinement(exponent=exponent or (2.0 if squares else 1.0))

    def __call__(self, mixture: Tensor) -> Estimates:
        """Separate a batch. Shape: ``[B, T]`` to ``waves [B, S, T]``."""
        config, length = self.network.config, mixture.shape[-1]
        whole = F.pad(mixture, (0, -length % config.hop))  # else the last samples are at one window's faint edge only
        spectrum = stft(whole, config.n_fft, config.hop)  # [B, F, N]
        with torch.no_grad():
            stems = apply_mask(self.masks(spectrum), spectrum)
        return Estimates(istft(stems, whole.shape[-1], config.n_fft, config.hop)[..., :length], self.sources)

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
                "give another --model, or train one with gansep train-mask --causal"
            )
        return MaskStream(self)


class MaskStream:
    """A recording that comes block by block, through the masks of a causal network.

    The network hears the mean of the channels, and every channel gets the same mask. What comes out is the offline
    answer, in whatever blocks the recording comes.

    Args:
        separator: of a causal ``tfconv``; see :meth:`Masks.stream`.
    Attributes:
        latency: samples that output lags input by: the first ``t`` are out once ``t + latency - 1`` are in.
    """

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
            masks = self.separator.masks(spectrum.mean(0, keepdim=True), self._memory)  # [1, S, F, N]
        stems = masks[0][:, None] * spectrum  # [S, C, F, N]
        return self._back.push(stems.flatten(0, 1)).unflatten(0, (count, -1))

"""What mask networks learn: the target's ideal mask, the masked signal, or its ratio to the error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.dsp import masks
from gansep.dsp.stft import change_spectrum, istft, stft
from gansep.nets.masknet import BOUNDED, OF_MASKS, OF_SIGNALS, TOP, MaskNet
from gansep.training.signals import DISTANCES, check_loss, error_ratio, scale_free_error_ratio, spectral_error

# A network learns its target in the range that its answer has.
IDEAL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ibm": masks.ibm,
    "irm": masks.irm,
    "iam": lambda source, rest: masks.iam(source, rest).clamp(max=TOP),
    "psm": lambda source, rest: masks.psm(source, rest, truncate=True),
    "orm": lambda source, rest: masks.orm(source, rest, compressed=True),
    "cirm": lambda source, rest: masks.compress(masks.cirm(source, rest)),
}
LOSSES = (*OF_MASKS, *OF_SIGNALS)


@dataclass
class MaskTask:
    """Masks as a task of :class:`gansep.training.supervised.SupervisedTraining`.

    Attributes:
        network: the masks' network.
        loss: one of :data:`LOSSES`: of masks the mean squared error, its root, the mean absolute error or the
            cross-entropy; ``signal`` the mean absolute error of the masked spectrogram, in means of the mixture's;
            ``snr`` the error's power over the mixture's, in dB; ``si-sdr`` the negative scale-invariant
            signal-to-distortion ratio in dB, which leaves the stems' levels free.
    Raises:
        GansepError: a loss that the target does not have.
    """

    network: MaskNet
    loss: str = "mse"

    def __post_init__(self) -> None:
        target = self.network.target
        known = [loss for loss in LOSSES if loss in OF_SIGNALS or target != "crm"]
        known = [loss for loss in known if loss != "cross-entropy" or target in BOUNDED]
        check_loss(self.loss, known, f"{target} masks")

    def __repr__(self) -> str:
        return f"MaskTask({self.network.target!r}, {self.loss!r}, {self.network.config!r})"

    def losses(self, parts: Tensor) -> dict[str, Tensor]:
        """The loss of mixtures of ``parts [B, S, T]``."""
        config = self.network.config
        spectra = stft(parts, config.n_fft, config.hop)  # [B, S, F, N]
        mixture = spectra.sum(1)
        answer = self.network(mixture)
        dropped = config.dropped
        if dropped:
            spectra, mixture = (one[..., dropped:-dropped] for one in (spectra, mixture))
        with torch.autocast(parts.device.type, enabled=False):
            if self.loss in OF_MASKS:
                value = self._of_masks(answer, spectra, mixture)
            else:
                stems = masks.apply_mask(self.network.masks(answer), mixture)
                value = self._of_signals(stems, spectra, mixture, parts)
        return {self.loss: value}

    def _of_masks(self, answer: Tensor, spectra: Tensor, mixture: Tensor) -> Tensor:
        target = IDEAL[self.network.target](spectra, mixture[:, None] - spectra)
        if self.loss == "cross-entropy":
            return F.binary_cross_entropy_with_logits(answer, target)
        if self.network.target in BOUNDED:
            answer = answer.sigmoid()
        return DISTANCES[self.loss](answer, target)

    def _of_signals(self, stems: Tensor, spectra: Tensor, mixture: Tensor, parts: Tensor) -> Tensor:
        if self.loss == "signal":
            return spectral_error(stems, spectra, mixture).mean()
        config = self.network.config
        dropped = config.dropped * config.hop
        length = parts.shape[-1] - 2 * dropped
        waves, truth = istft(stems, length, config.n_fft, config.hop), parts[..., dropped : dropped + length]
        ratio = error_ratio if self.loss == "snr" else scale_free_error_ratio
        return ratio(waves, truth).mean()

    def separate(self, mixture: Tensor) -> Tensor:
        """``[B, T]`` to ``[B, S, T]``."""
        config = self.network.config

        def stems(spectrum: Tensor) -> Tensor:
            return masks.apply_mask(self.network.masks(self.network(spectrum)), spectrum)

        return change_spectrum(mixture, stems, config.n_fft, config.hop)

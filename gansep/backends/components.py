"""Component analysis: PCA, kernel PCA and FastICA, on the channels of a recording or on its spectrogram.

With at least as many channels as sources, PCA and FastICA unmix the channels themselves: what a source is in a channel
is its component times its place in the mixing matrix (Hyvarinen and Oja, "Independent component analysis: algorithms
and applications", Neural Networks 2000). Sources that are mixed with gains alone come apart nearly perfectly by
FastICA.

Otherwise the spectrogram is analysed, its frames as observations (Casey and Westner, "Separation of mixed audio
sources by independent subspace analysis", ICMC 2000). The courses of its components in time have no sign that means
anything, so what is positive and what is negative of each becomes a course of its own, and the spectra that explain the
magnitudes best by such courses are found, none of them negative. Spectra are clustered into sources by their envelopes,
and the clusters' magnitudes make masks on the mixture.

The stems sum to the mixture either way.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gansep.backends.nmf import activations, cluster, ratio_masks
from gansep.dsp.masks import apply_mask
from gansep.dsp.stft import istft, stft
from gansep.refine import analysis_sizes
from gansep.types import Estimates, component_names

if TYPE_CHECKING:
    from sklearn.decomposition import FastICA

Array = NDArray[np.float64]

SECONDS = 0.064  # of the spectrogram's window
SILENT = 1e-6  # peak of a mixture with nothing to separate, -120 dB of full scale
ALIKE = 1e-3  # amplitude of a direction in the channels, next to the strongest, that is nothing but rounding: -60 dB
LONGEST = 1000  # frames that are analysed; of more, as many evenly spaced ones
FLOOR = 1e-6  # of a spectrogram whose mean is 1, so that no update divides by 0
ITERATIONS = 50  # updates of the fit of spectra
KL = "kullback-leibler"


class Components:
    """Separator by component analysis (see :class:`gansep.types.Separator`).

    Args:
        count: number of sources.
        method: a name of :data:`METHODS`.
        parts: components of a spectrogram; each has two signs and so two spectra.
        seed: of the searches' starts.
        sample_rate: Hz, at which the mixture is heard.
    Raises:
        ValueError: unknown method, or settings out of range.
    """

    channels = True
    segment: int | None = None
    refinement = None

    def __init__(
        self, count: int, method: str = "fastica", parts: int = 16, seed: int = 0, sample_rate: int = 16000
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}; expected one of {', '.join(METHODS)}")
        if count < 1 or parts < count or sample_rate < 1:
            said = f"{count} sources, {parts} parts and {sample_rate} Hz"
            raise ValueError(f"expected at least one source, as many parts and a rate, got {said}")
        self.count, self.method, self.parts, self.seed, self.sample_rate = count, method, parts, seed, sample_rate
        self.n_fft, self.hop = analysis_sizes(SECONDS, sample_rate)
        self.sources = component_names(count)

    def __call__(self, mixture: Tensor) -> Estimates:
        """Take a batch apart. Shape: ``[B, C, T]`` to ``waves [B, S, C, T]``, which sum to the mixture.

        Raises:
            ValueError: a mixture of another shape, or one that is not finite.
        """
        if mixture.ndim != 3 or not mixture.numel() or not mixture.isfinite().all():
            raise ValueError(f"expected a finite mixture of shape [B, C, T], none of them 0, got {list(mixture.shape)}")
        heard = mixture.detach().cpu().double()
        waves = torch.stack([self._separate(window) for window in heard])
        return Estimates(waves.to(mixture), self.sources)

    def _separate(self, mixture: Tensor) -> Tensor:
        """``[C, T]`` to ``[S, C, T]``."""
        if mixture.abs().max() < SILENT:
            return (mixture / self.count).expand(self.count, *mixture.shape)
        unmix = UNMIXING.get(self.method)
        if unmix and independent_channels(mixture) >= self.count > 1:
            return unmix(mixture, self.count, self.seed)
        masks = self._masks(mixture.mean(0))  # [S, F, N]
        spectrum = stft(mixture, self.n_fft, self.hop)  # [C, F, N]
        return istft(apply_mask(masks, spectrum), mixture.shape[-1], self.n_fft, self.hop).transpose(0, 1)

    def _masks(self, wave: Tensor) -> Tensor:
        """``[T]`` to ``[S, F, N]``."""
        magnitude = stft(wave, self.n_fft, self.hop).abs().mT.float()  # [N, F]
        magnitude = magnitude / magnitude.mean().clamp_min(1e-20) + FLOOR
        weights = torch.from_numpy(halves(METHODS[self.method](magnitude.double().numpy(), self.parts, self.seed)))
        weights = weights.float()  # [N, A]
        spectra = activations(magnitude.mT.contiguous(), weights.mT.contiguous(), KL, ITERATIONS).mT  # [A, F]
        owner = torch.arange(len(spectra))  # too few for clusters
        if len(spectra) > self.count:
            energy = weights.square().sum(0).sqrt() * spectra.square().sum(1).sqrt()
            owner = cluster(spectra, energy, self.count, self.sample_rate, KL, self.seed)
        models = [weights[:, owner == one] @ spectra[owner == one] for one in range(self.count)]
        return ratio_masks(torch.stack(models).mT[None], KL, 2.0)[0].double()


def independent_channels(mixture: Tensor) -> int:
    """How many of the directions that the channels span are more than rounding. Shape: ``[C, T]``.

    >>> wave = torch.randn(1, 100)
    >>> independent_channels(torch.cat([wave, 0.5 * wave]))
    1
    """
    centred = mixture - mixture.mean(-1, keepdim=True)
    spread = torch.linalg.eigvalsh(centred @ centred.mT).clamp_min(0).sqrt()
    return int((spread > ALIKE * spread.max()).sum())


def unmix_pca(mixture: Tensor, count: int, seed: int = 0) -> Tensor:
    """The strongest orthogonal directions in the channels.

    Shape: ``[C, T]`` to ``[S, C, T]``, which sum to the mixture.
    """
    from sklearn.decomposition import PCA

    analysis = PCA(count, svd_solver="full")
    courses = analysis.fit_transform(mixture.mT.numpy())  # [T, S]
    return _images(courses, np.asarray(analysis.components_).T, mixture)


def unmix_fastica(mixture: Tensor, count: int, seed: int = 0) -> Tensor:
    """The least Gaussian directions in the channels, after whitening.

    Shape: ``[C, T]`` to ``[S, C, T]``, which sum to the mixture.
    """
    analysis = _fastica(mixture.mT.numpy(), count, seed)
    return _images(analysis.transform(mixture.mT.numpy()), np.asarray(analysis.mixing_), mixture)


def _images(courses: Array, mixing: Array, mixture: Tensor) -> Tensor:
    """``[T, S]`` and ``[C, S]`` to ``[S, C, T]``; means and what is outside the components go to all alike."""
    images = torch.from_numpy(np.einsum("ts,cs->sct", courses, mixing))
    return images + (mixture - images.sum(0)) / len(images)


def courses_pca(frames: Array, parts: int, seed: int = 0) -> Array:
    """Where frames lie along the directions that explain most of them.

    Not centred: the strongest direction is then that of the mean spectrum, a component like the others.

    Shape: ``[N, F]`` to ``[N, A]``, at most ``parts`` of them.
    """
    _, _, directions = np.linalg.svd(_sample(frames), full_matrices=False)
    return frames @ directions[:parts].T


def courses_fastica(frames: Array, parts: int, seed: int = 0) -> Array:
    """Courses that are independent of each other. Shape: as of :func:`courses_pca`."""
    heard = _sample(frames)
    parts = min(parts, int(np.linalg.matrix_rank(heard - heard.mean(0), rtol=1e-6)))
    if parts == 0:
        return np.ones((len(frames), 1))  # frames that are all alike have one course
    return _fastica(heard, parts, seed).transform(frames)


def courses_kernel_pca(frames: Array, parts: int, seed: int = 0) -> Array:
    """Principal components in a Gaussian kernel's feature space. Shape: as of :func:`courses_pca`.

    After Scholkopf, Smola and Muller, "Nonlinear component analysis as a kernel eigenvalue problem", Neural
    Computation 1998. The kernel is as wide as two frames are apart (their median).
    """
    from scipy.spatial.distance import pdist
    from sklearn.decomposition import KernelPCA

    heard = _sample(frames)
    apart = pdist(heard, "sqeuclidean")
    apart = apart[apart > 1e-12]
    if apart.size == 0:
        return np.ones((len(frames), 1))
    analysis = KernelPCA(min(parts, len(heard)), kernel="rbf", gamma=1 / float(np.median(apart)), random_state=seed)
    return analysis.fit(heard).transform(frames)


METHODS: dict[str, Callable[[Array, int, int], Array]] = {
    "pca": courses_pca,
    "kernel-pca": courses_kernel_pca,
    "fastica": courses_fastica,
}
UNMIXING: dict[str, Callable[[Tensor, int, int], Tensor]] = {"pca": unmix_pca, "fastica": unmix_fastica}


def halves(courses: Array) -> Array:
    """What is positive of each column and what is negative, columns with their peaks at 1; empty ones are left out.

    Shape: ``[N, A]`` to ``[N, A']``, ``A' <= 2 A``.

    >>> halves(np.array([[2.0, 3.0], [-1.0, 0.0]]))
    array([[1., 1., 0.],
           [0., 0., 1.]])
    """
    both = np.concatenate([np.maximum(courses, 0), np.maximum(-courses, 0)], axis=1)
    peaks = both.max(0)
    some = peaks > 1e-9 * peaks.max()
    return both[:, some] / peaks[some]


def _sample(frames: Array) -> Array:
    """At most :data:`LONGEST` frames, evenly spaced."""
    return frames[:: -(-len(frames) // LONGEST)]


def _fastica(observations: Array, count: int, seed: int) -> FastICA:
    """An analysis of ``[n, d]`` into ``count`` components."""
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    analysis = FastICA(count, whiten="unit-variance", whiten_solver="svd", tol=1e-4, max_iter=200, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last iterate is an answer all the same
        return analysis.fit(observations)

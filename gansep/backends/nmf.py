"""Non-negative matrix factorisation: the mixture's spectrogram as a sum of spectra, each with its course in time.

``Nmf`` knows the spectra of each source, a dictionary learned on its recordings, and looks for their activations
alone (Smaragdis, Raj and Shashanka, "Supervised and semi-supervised separation of sounds from single-channel
mixtures", ICA 2007). ``BlindNmf`` knows nothing: it factorises the mixture itself and sorts the spectra it finds into
sources by their envelope (Spiertz and Gnann, "Source-filter based clustering for monaural blind source separation",
DAFx 2009). Both answer with ratio masks on the mixture, so that their sources sum to it.

A masked spectrogram is not that of any sound, so the sound made from it has other magnitudes, and masks made from those
would differ. The masks are therefore made anew from the sounds a few times, until they nearly stay as they are: they
become consistent (Le Roux and Vincent, "Consistent Wiener Filtering for Audio Source Separation", IEEE Signal
Processing Letters 2013, have the same aim by other means), and masks carried to another rate are the same masks.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gansep.dsp.masks import apply_mask, wiener
from gansep.dsp.stft import istft, stft
from gansep.library.dictionary import DIVERGENCES, levelled, nmf_spectrogram
from gansep.refine import Refinement, refine
from gansep.types import Estimates, ModelError, component_names

if TYPE_CHECKING:
    from gansep.library import Dictionary

N_FFT, HOP = 1024, 256  # samples, of the spectrograms that are factorised blindly
SILENT = 1e-6  # peak of a mixture with nothing to separate, -120 dB of full scale
BANDS, CEPSTRA = 20, 13  # mel bands, and cepstral coefficients that describe a spectrum's envelope
REACH = 60.0  # dB below its strongest band at which a spectrum's envelope is cut off


class Nmf:
    """Separator by a dictionary a source (see :class:`gansep.types.Separator`).

    Args:
        dictionaries: one a source.
        exponent: of the estimated magnitudes in the masks; 2 is the Wiener filter.
        iterations: updates of the activations.
        rounds: how often masks are made anew from the sounds they gave.
    Raises:
        ModelError: no dictionaries, two of one name, or some of other spectrograms than the others.
    """

    segment: int | None = None

    def __init__(
        self, dictionaries: Sequence[Dictionary], exponent: float = 2.0, iterations: int = 100, rounds: int = 10
    ) -> None:
        if not dictionaries:
            raise ModelError("no dictionaries given; expected at least one source")
        kinds = {(own.sample_rate, own.n_fft, own.hop, own.divergence) for own in dictionaries}
        if len(kinds) > 1:
            said = "; ".join(f"{d.name}: {d.sample_rate} Hz, {d.n_fft}/{d.hop}, {d.divergence}" for d in dictionaries)
            raise ModelError(f"these dictionaries cannot be combined, their spectrograms differ ({said})")
        self.sources = tuple(own.name for own in dictionaries)
        if len(set(self.sources)) < len(self.sources):
            raise ModelError(f"each source needs a name of its own, got {', '.join(self.sources)}")
        _check(exponent=exponent, iterations=iterations, rounds=rounds)
        self.exponent, self.iterations, self.rounds = exponent, iterations, rounds
        self.dictionaries, self.cards = tuple(dictionaries), tuple(own.card for own in dictionaries)
        self.sample_rate = dictionaries[0].sample_rate
        self.refinement = shares_of(dictionaries[0].n_fft, dictionaries[0].sample_rate)

    def __call__(self, mixture: Tensor) -> Estimates:
        """Filter a batch. Shape: ``[B, T]`` to ``waves [B, S, T]``, which sum to the mixture."""
        _expect_batch(mixture)
        n_fft, hop, divergence = (getattr(self.dictionaries[0], what) for what in ("n_fft", "hop", "divergence"))
        heard = levelled(nmf_spectrogram(mixture.detach().cpu().float(), n_fft, hop, divergence), divergence)
        atoms = [own.atoms for own in self.dictionaries]
        weights = torch.stack([activations(one, torch.cat(atoms), divergence, self.iterations) for one in heard])
        shares = weights.split([len(part) for part in atoms], dim=-1)  # [B, N, A] each
        models = [share @ part for share, part in zip(shares, atoms, strict=True)]
        masks = ratio_masks(torch.stack(models, 1).mT, divergence, self.exponent)  # [B, S, F, N]
        waves = filtered(mixture, masks, n_fft, hop)
        return Estimates(consistent(waves, mixture, self.sample_rate, self.refinement, self.rounds), self.sources)


class BlindNmf:
    """Separator that knows only how many sources there are (see :class:`gansep.types.Separator`).

    Args:
        count: number of sources.
        components: spectra a source.
        divergence: a name of :data:`gansep.library.dictionary.DIVERGENCES`.
        exponent: of the estimated magnitudes in the masks; 2 is the Wiener filter.
        iterations: updates of spectra and activations.
        rounds: how often masks are made anew from the sounds they gave.
        seed: of their starting point.
        sample_rate: Hz, at which the mixture is heard.
    Raises:
        ModelError: settings out of range.
    """

    segment: int | None = None

    def __init__(
        self,
        count: int,
        components: int = 12,
        divergence: str = "kullback-leibler",
        exponent: float = 2.0,
        iterations: int = 100,
        rounds: int = 10,
        seed: int = 0,
        sample_rate: int = 16000,
    ) -> None:
        if divergence not in DIVERGENCES:
            raise ModelError(f"unknown divergence {divergence!r}; expected one of {', '.join(DIVERGENCES)}")
        _check(count=count, components=components, exponent=exponent, iterations=iterations, rounds=rounds)
        _check(sample_rate=sample_rate)
        self.count, self.components, self.divergence = count, components, divergence
        self.exponent, self.iterations, self.rounds, self.seed = exponent, iterations, rounds, seed
        self.sample_rate = sample_rate
        self.refinement = shares_of(N_FFT, sample_rate)
        self.sources = component_names(count)

    def __call__(self, mixture: Tensor) -> Estimates:
        """Filter a batch. Shape: ``[B, T]`` to ``waves [B, S, T]``, which sum to the mixture."""
        _expect_batch(mixture)
        masks = torch.stack([self._masks(wave) for wave in mixture.detach().cpu().float()])
        waves = filtered(mixture, masks, N_FFT, HOP)
        return Estimates(consistent(waves, mixture, self.sample_rate, self.refinement, self.rounds), self.sources)

    def _masks(self, wave: Tensor) -> Tensor:
        """``[T]`` to ``[S, F, N]``."""
        heard = levelled(nmf_spectrogram(wave, N_FFT, HOP, self.divergence), self.divergence)  # [N, F]
        models = torch.zeros(self.count, *heard.shape)
        if wave.abs().max() >= SILENT:
            weights, atoms = factorise(heard, self.count * self.components, self.divergence, self.iterations, self.seed)
            owner = cluster(atoms, weights.sum(0), self.count, self.sample_rate, self.divergence, self.seed)
            models = torch.stack([weights[:, owner == one] @ atoms[owner == one] for one in range(self.count)])
        return ratio_masks(models.mT[None], self.divergence, self.exponent)[0]


def activations(frames: Tensor, atoms: Tensor, divergence: str, iterations: int) -> Tensor:
    """How much of each atom is in each frame: multiplicative updates with the atoms held.

    Shape: ``[N, F]`` (positive) and ``[A, F]`` to ``[N, A]``.
    """
    from sklearn.decomposition import non_negative_factorization

    weights, _, _ = non_negative_factorization(
        frames.numpy(),
        H=atoms.numpy(),
        n_components=len(atoms),  # type: ignore[arg-type]  # typed by its default
        update_H=False,
        solver="mu",
        beta_loss=divergence,
        max_iter=iterations,
        tol=0,
    )
    return torch.from_numpy(weights)


def factorise(frames: Tensor, count: int, divergence: str, iterations: int, seed: int) -> tuple[Tensor, Tensor]:
    """Spectra that sum to 1 each and their activations, from a random start.

    Shape: ``[N, F]`` (positive) to ``[N, A]`` and ``[A, F]``.
    """
    from sklearn.decomposition import non_negative_factorization

    weights, atoms, _ = non_negative_factorization(
        frames.numpy(),
        n_components=count,  # type: ignore[arg-type]
        init="random",
        solver="mu",
        beta_loss=divergence,
        max_iter=iterations,
        tol=0,
        random_state=seed,
    )
    scale = np.maximum(atoms.sum(1), 1e-20)
    return torch.from_numpy(weights * scale), torch.from_numpy(atoms / scale[:, None])


def cluster(atoms: Tensor, energy: Tensor, count: int, sample_rate: int, divergence: str, seed: int) -> Tensor:
    """Which source each atom belongs to: k-means on mel cepstra, which show the filter and not the pitch.

    Args:
        atoms: ``[A, F]``. energy: ``[A]``, what each atom weighs in the mean of its cluster.
        count: of clusters. sample_rate: Hz. divergence: tells magnitudes from power. seed: of the starts.
    Shape: ``[A]`` integers below ``count``.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    power = atoms.square() if divergence == "kullback-leibler" else atoms
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct spectra than sources: some stay empty
        means = KMeans(count, n_init=10, random_state=seed)  # type: ignore[arg-type]
        owner = means.fit_predict(mel_cepstra(power, sample_rate).numpy(), sample_weight=energy.double().numpy())
    return torch.from_numpy(owner).long()


def mel_cepstra(power: Tensor, sample_rate: int) -> Tensor:
    """Envelope of each spectrum whatever its level: cosine transform of mel bands in dB, less the mean.

    Shape: ``[A, F]`` to ``[A, CEPSTRA - 1]``.
    """
    import librosa
    from scipy.fft import dct

    bank = librosa.filters.mel(sr=sample_rate, n_fft=2 * (power.shape[1] - 1), n_mels=BANDS)  # [bands, F]
    bands = power.double().numpy() @ bank.T
    bands = bands / np.maximum(bands.max(1, keepdims=True), 1e-30)
    decibels = 10 * np.log10(np.maximum(bands, 10 ** (-REACH / 10)))
    return torch.from_numpy(np.asarray(dct(decibels, norm="ortho")))[:, 1:CEPSTRA]


def ratio_masks(models: Tensor, divergence: str, exponent: float) -> Tensor:
    """Each source's share of every point, magnitudes to the power of ``exponent``; an equal one where none is.

    Shape: ``[B, S, F, N]``, magnitudes or power as the divergence has it, to the same; sums to 1 over ``S``.
    """
    shares = models / models.amax(1, keepdim=True).clamp_min(1e-30)  # in [0, 1], so that high powers do not vanish
    return wiener(shares ** (exponent if divergence == "kullback-leibler" else exponent / 2))


def filtered(mixture: Tensor, masks: Tensor, n_fft: int, hop: int) -> Tensor:
    """The mixture through each mask. Shape: ``[B, T]`` and ``[B, S, F, N]`` to ``[B, S, T]``."""
    spectrum = stft(mixture, n_fft, hop)
    return istft(apply_mask(masks.to(mixture), spectrum), mixture.shape[-1], n_fft, hop)


def shares_of(n_fft: int, sample_rate: int) -> Refinement:
    """How masks are read from sounds that are masked mixtures: their shares of the magnitude, as they are."""
    return Refinement(seconds=n_fft / sample_rate, exponent=1.0, floor=0.0)


def consistent(waves: Tensor, mixture: Tensor, sample_rate: int, how: Refinement, rounds: int) -> Tensor:
    """Masks of the sounds on the mixture, and masks of those, until further ones hardly differ.

    Shape: ``[B, S, T]`` and ``[B, T]`` to ``[B, S, T]``.
    """
    for _ in range(rounds):
        waves = refine(mixture[:, None], sample_rate, waves, sample_rate, how)[:, :, 0]
    return waves


def _expect_batch(mixture: Tensor) -> None:
    if mixture.ndim != 2 or mixture.shape[1] == 0:
        raise ValueError(f"expected a mixture of shape [B, T] with T >= 1, got {list(mixture.shape)}")


def _check(**settings: float) -> None:
    for name, value in settings.items():
        whole = name != "exponent"
        if not isinstance(value, int if whole else int | float) or not 0 < value < float("inf"):
            raise ModelError(f"{name} must be {'a whole number ' if whole else ''}above 0, got {value!r}")

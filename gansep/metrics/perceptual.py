"""Figures of how speech is heard: intelligibility (STOI) and quality (PESQ), by the packages pystoi and pesq.

Both take the speech apart into what an ear hears and compare that with the clean speech. They know nothing of other
sounds: of a drum they say nothing useful. They run on the CPU and have no gradient.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from gansep.metrics.pairs import pair
from gansep.types import GansepError

STOI_RATE, STOI_SAMPLES = 10_000, 4096  # Hz, and samples there that are too few for 30 frames, 256/128
STOI_SHORT = 1e-5  # what pystoi says of a reference with fewer frames of sound
PESQ_MODES = {16_000: "wb", 8_000: "nb"}
PESQ_SECONDS = 20  # its tables hold 50 utterances, which take 0.4 s each or more; it writes past their end unawares


def stoi(estimate: Tensor, reference: Tensor, sample_rate: int) -> Tensor:
    """Short-time objective intelligibility, in [-1, 1]; higher is better, gains do not count.

    The mean correlation of envelopes in 15 third-octave bands from 150 Hz over stretches of 384 ms, at 10 kHz, where
    the reference is less than 40 dB below its loudest frame. After Taal et al. (2011).

    Args:
        estimate: speech to judge; silent, the result is 0.
        reference: clean speech; silent or with less than about 0.41 s of sound, the result is NaN.
        sample_rate: Hz.
    Shape: ``[..., T]`` and ``[..., T]`` to ``[...]``.
    Raises:
        ValueError: no samples, shapes that do not broadcast, or a rate below 1 Hz.
        GansepError: pystoi is not installed.

    >>> x = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    >>> round(stoi(-0.1 * x, x, 16000).item(), 3)
    1.0
    """
    if sample_rate < 1:
        raise ValueError(f"expected a sample rate in Hz, got {sample_rate}")
    judge = _package("STOI", "pystoi").stoi

    def score(ours: Tensor, theirs: Tensor) -> float:
        if len(theirs) * STOI_RATE <= STOI_SAMPLES * sample_rate:
            return torch.nan
        found = float(judge(theirs.numpy(), ours.numpy(), sample_rate))
        return torch.nan if found == STOI_SHORT else found

    return _each(estimate, reference, score)


def pesq(estimate: Tensor, reference: Tensor, sample_rate: int) -> Tensor:
    """Perceptual evaluation of speech quality as a mean opinion score, about 1 to 4.64 (4.55); higher is better.

    Wide band (ITU-T P.862.2) at 16 kHz, narrow band (P.862 with the scale of P.862.1) at 8 kHz. Gains do not
    count, and delays are made up for.

    Args:
        estimate: speech to judge; silent, the result is NaN, for there is no level to match.
        reference: clean speech; silent, shorter than 0.25 s or without an utterance, the result is NaN.
        sample_rate: 16000 or 8000 Hz.
    Shape: ``[..., T]`` and ``[..., T]`` to ``[...]``.
    Raises:
        ValueError: no samples, shapes that do not broadcast, another rate, or more than 20 seconds.
        GansepError: pesq is not installed.
    """
    if sample_rate not in PESQ_MODES:
        raise ValueError(f"expected a sample rate of 16000 or 8000 Hz, got {sample_rate}; resample first")
    seconds = reference.shape[-1] / sample_rate if reference.ndim else 0
    if seconds > PESQ_SECONDS:
        raise ValueError(f"expected at most {PESQ_SECONDS} s of speech, got {seconds:.1f} s; measure excerpts of it")
    package = _package("PESQ", "pesq", ", with a C compiler at hand")

    def score(ours: Tensor, theirs: Tensor) -> float:
        if not ours.any():
            return torch.nan
        codes = package.PesqError.RETURN_VALUES
        found = package.pesq(sample_rate, theirs.numpy(), ours.numpy(), PESQ_MODES[sample_rate], on_error=codes)
        return float(found) if found > 0 else torch.nan  # below 0 are codes: too short, no utterance

    return _each(estimate, reference, score)


def _package(title: str, name: str, remark: str = "") -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise GansepError(f"{title} needs the package {name} ({error}); pip install {name}{remark}") from error


def _each(estimate: Tensor, reference: Tensor, score: Callable[[Tensor, Tensor], float]) -> Tensor:
    """``score`` of every example, NaN where the reference is silent or a sample is not finite."""
    estimate, reference = pair(estimate.detach(), reference.detach())
    device, shape, length = reference.device, reference.shape[:-1], reference.shape[-1]
    scores = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a recording is too short, and divisions by 0
        for ours, theirs in zip(estimate.cpu().reshape(-1, length), reference.cpu().reshape(-1, length), strict=True):
            known = theirs.any() and ours.isfinite().all() and theirs.isfinite().all()
            scores.append(score(ours, theirs) if known else torch.nan)
    return torch.tensor(scores, dtype=torch.float64, device=device).reshape(shape)

r"""How well an estimate matches its reference, and how sure a mean of such figures is.

Conventions
-----------
* Arguments are ``(estimate, reference)``, samples along the last axis; leading axes broadcast, and each example
  gets its own figure. BSS Eval judges a set of sources at once and takes channels as images, ``[S, C, T]``.
* Everything is computed and returned in float64, and is differentiable (MPS has no float64: move waves to the CPU);
  STOI and PESQ alone have no gradient, and are NaN also where there is too little speech to judge.
* A silent reference (a constant one too, where means are removed) gives NaN: there is nothing to find, and no
  figure would be comparable. It never raises; :func:`reasons` says why a figure is missing.
* A perfect estimate gives about 156 dB, the precision of float64, and a silent one 0 dB: the error is then the
  reference itself (as in torchmetrics). So every figure but that of a silent reference is finite and can be averaged.

Metrics
-------
* :func:`si_sdr`, :func:`si_sdr_improvement`: scale-invariant signal-to-distortion ratio [#roux]_, dB, higher is better.
* :func:`bss_eval`, :class:`Projector`: SDR, ISR, SIR and SAR of BSS Eval v4 [#stoeter]_, dB, higher is better.
* :func:`spectral_snr`: signal-to-noise ratio of STFT magnitudes [#narayanaswamy]_, dB, higher is better.
* :func:`log_spectral_distance`: RMS distance of log power spectra [#gray]_, dB, lower is better.
* :func:`envelope_distance`: RMS distance of Hilbert envelopes [#morgado]_, in units of full scale, lower is better.
* :func:`measure`: all of these at once, described by :data:`FIGURES`.
* :func:`stoi`: short-time objective intelligibility of speech [#taal]_, -1 to 1, higher is better; needs pystoi.
* :func:`pesq`: perceptual evaluation of speech quality [#rix]_ [#itu]_, 1 to 4.64, higher is better; needs pesq.
* :mod:`gansep.metrics.coverage`: how well a set of made sounds resembles real ones [#naeem]_, higher is better. It has
  no gradient, and is imported from there, as the module is called like its function.
* :func:`best_permutation`: which estimate belongs to which reference, for methods without names.
* :func:`bootstrap_interval`: interval of a mean over groups of figures that resemble each other [#efron]_.
* :func:`paired_difference`: the same of a difference of two methods, and whether chance explains it [#fisher]_.

References
----------
.. [#roux] J. Le Roux, S. Wisdom, H. Erdogan and J. R. Hershey, "SDR - Half-baked or Well Done?", ICASSP 2019.
.. [#stoeter] F.-R. Stöter, A. Liutkus and N. Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018.
.. [#narayanaswamy] V. Narayanaswamy, J. J. Thiagarajan, R. Anirudh and A. Spanias, "Unsupervised Audio Source
   Separation using Generative Priors", Interspeech 2020.
.. [#gray] A. H. Gray and J. D. Markel, "Distance Measures for Speech Processing", IEEE Trans. ASSP, 1976.
.. [#morgado] P. Morgado, N. Vasconcelos, T. Langlois and O. Wang, "Self-Supervised Generation of Spatial Audio for
   360 Video", NeurIPS 2018.
.. [#taal] C. H. Taal, R. C. Hendriks, R. Heusdens and J. Jensen, "An Algorithm for Intelligibility Prediction of
   Time-Frequency Weighted Noisy Speech", IEEE TASLP, 2011.
.. [#rix] A. W. Rix, J. G. Beerends, M. P. Hollier and A. P. Hekstra, "Perceptual Evaluation of Speech Quality (PESQ)",
   ICASSP 2001.
.. [#itu] ITU-T Recommendations P.862 (2001), P.862.1 (2003), narrow band, and P.862.2 (2007), wide band.
.. [#naeem] M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi and J. Yoo, "Reliable Fidelity and Diversity Metrics for Generative
   Models", ICML 2020.
.. [#efron] B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval).
.. [#fisher] R. A. Fisher, "The Design of Experiments", 1935, section 21 (randomisation test of pairs).
"""

from gansep.metrics.assignment import best_permutation
from gansep.metrics.bss import BssScores, Projector, bss_eval
from gansep.metrics.intervals import bootstrap_interval, paired_difference
from gansep.metrics.pairs import silent
from gansep.metrics.perceptual import pesq, stoi
from gansep.metrics.spectral import envelope_distance, log_spectral_distance, spectral_snr
from gansep.metrics.summary import FIGURES, UNITS, Figure, measure, reasons
from gansep.metrics.waveform import si_sdr, si_sdr_improvement

__all__ = [
    "FIGURES",
    "UNITS",
    "BssScores",
    "Figure",
    "Projector",
    "best_permutation",
    "bootstrap_interval",
    "bss_eval",
    "envelope_distance",
    "log_spectral_distance",
    "measure",
    "paired_difference",
    "pesq",
    "reasons",
    "si_sdr",
    "si_sdr_improvement",
    "silent",
    "spectral_snr",
    "stoi",
]

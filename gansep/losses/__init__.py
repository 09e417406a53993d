"""Losses of the search: pure functions of waveforms, one value an example, that no neighbour in the batch changes.

The article: Narayanaswamy, Thiagarajan, Anirudh and Spanias, "Unsupervised Audio Source Separation using
Generative Priors", Interspeech 2020 (arXiv 2005.13769). Every loss has its form (``variant="code"``: as the
authors' program has it, per example) and ours (``variant="default"``).
"""

from gansep.losses.continuity import frequency_continuity
from gansep.losses.exclusion import mixture_correlation, source_dissimilarity
from gansep.losses.spectral import multi_resolution_spectral

__all__ = ["frequency_continuity", "mixture_correlation", "multi_resolution_spectral", "source_dissimilarity"]

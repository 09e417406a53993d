"""Back ends: every way to take a mixture apart, behind one interface (:class:`gansep.types.Separator`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gansep.backends.gan_prior import GanPrior
from gansep.library import load_prior
from gansep.types import ModelError, Separator


def _gan_prior(sources: Sequence[str], library: Path | None, device: str, **settings: Any) -> Separator:
    return GanPrior([load_prior(source, library, device) for source in sources], **settings)


BACKENDS: dict[str, Callable[..., Separator]] = {"gan-prior": _gan_prior}


def load_separator(
    backend: str = "gan-prior",
    sources: Sequence[str] = (),
    *,
    library: str | Path | None = None,
    device: str = "cpu",
    **settings: Any,
) -> Separator:
    """A separator, ready to be called with ``[B, T]`` mixtures.

    Args:
        backend: a name of :data:`BACKENDS`.
        sources: names of installed models, or model folders.
        library: a folder of models to ask first.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        settings: of the back end, as ``recipe="narayanaswamy2020"``.
    Raises:
        ModelError: unknown back end or source, or sources that cannot be combined.
    """
    if backend not in BACKENDS:
        raise ModelError(f"unknown back end {backend!r}; expected one of {', '.join(BACKENDS)}")
    return BACKENDS[backend](sources, Path(library) if library else None, device, **settings)

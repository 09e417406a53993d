"""gansep: take a recording apart with generative priors, one for each source.

Public names are looked up when they are first used (PEP 562), so that ``import gansep`` stays quick and does not
import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gansep.backends import load_separator
    from gansep.denoise import denoise_files
    from gansep.library import load_prior
    from gansep.separate import separate_file
    from gansep.training.api import train_prior
    from gansep.training.separators import train_mapping, train_mask
    from gansep.types import Estimates, GansepError, Separator

__version__ = "0.1.0"

__all__ = [
    "Estimates",
    "GansepError",
    "Separator",
    "__version__",
    "denoise_files",
    "load_prior",
    "load_separator",
    "separate_file",
    "train_mapping",
    "train_mask",
    "train_prior",
]

_HOMES = {
    "Estimates": "gansep.types",
    "GansepError": "gansep.types",
    "Separator": "gansep.types",
    "denoise_files": "gansep.denoise",
    "load_prior": "gansep.library",
    "load_separator": "gansep.backends",
    "separate_file": "gansep.separate",
    "train_mapping": "gansep.training.separators",
    "train_mask": "gansep.training.separators",
    "train_prior": "gansep.training.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | _HOMES)

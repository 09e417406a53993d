"""Recordings that the metrics are checked on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gansep.audio import read

CLIPS = Path(__file__).resolve().parent.parent / "clips"


@pytest.fixture(scope="session")
def clips() -> Tensor:
    """Digits, drums and piano, one second at 16 kHz each, ``[3, T]``."""
    return torch.stack([read(CLIPS / f"{name}.flac")[0][0] for name in ("digits", "drums", "piano")])

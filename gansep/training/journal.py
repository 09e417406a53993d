"""What a training leaves for people: sounds and spectrograms of its samples, and TensorBoard logs where installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from gansep.audio import write
from gansep.plots import can_plot, save_samples


class Journal:
    """Writes to a training's folder at every checkpoint.

    Args:
        folder: ``samples/`` and ``logs/`` are made in it.
        sample_rate: of the samples, in Hz.
    """

    def __init__(self, folder: Path, sample_rate: int) -> None:
        self.folder, self.sample_rate = folder, sample_rate
        self._writer: Any = None
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "logs"))

    def write(self, step: int, losses: Mapping[str, float], samples: Tensor) -> None:
        """Log a step's losses and keep what ``samples [B, T]`` sound and look like."""
        samples = samples / samples.abs().max().clamp_min(1.0)  # a network may go beyond full scale
        target = self.folder / "samples"
        target.mkdir(parents=True, exist_ok=True)
        write(target / f"step-{step:06d}.wav", 0.9 * samples.reshape(1, -1), self.sample_rate, "PCM_16")
        if can_plot():
            save_samples(target / f"step-{step:06d}.png", samples, self.sample_rate, f"samples after {step} steps")
        if self._writer is not None:
            for name, value in losses.items():
                self._writer.add_scalar(f"loss/{name}", value, step)
            self._writer.add_audio("samples", samples.reshape(1, -1), step, self.sample_rate)
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

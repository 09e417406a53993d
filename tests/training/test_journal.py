"""What a training leaves for people: sounds that are the samples, pictures, and logs that TensorBoard reads."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gansep.audio import read
from gansep.training.journal import Journal

SAMPLES = 0.5 * torch.rand(3, 4096, generator=torch.Generator().manual_seed(0))


def test_sounds_pictures_and_logs(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "training", 16000)
    for step, loss in ((100, 3.0), (200, 1.5)):
        journal.write(step, {"spectral": loss}, SAMPLES)
    journal.close()
    made = sorted(path.name for path in (tmp_path / "training" / "samples").iterdir())
    assert made == ["step-000100.png", "step-000100.wav", "step-000200.png", "step-000200.wav"]
    wave, rate = read(tmp_path / "training" / "samples" / "step-000100.wav")
    assert rate == 16000
    torch.testing.assert_close(wave, 0.9 * SAMPLES.reshape(1, -1), atol=1e-4, rtol=0)  # one after the other
    picture = (tmp_path / "training" / "samples" / "step-000200.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    events = EventAccumulator(str(tmp_path / "training" / "logs")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/spectral")] == [(100, 3.0), (200, 1.5)]
    assert [event.step for event in events.Audio("samples")] == [100, 200]


def test_without_the_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def missing(name: str, *rest: Any) -> Any:
        return None if name in ("matplotlib", "tensorboard") else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", missing)
    journal = Journal(tmp_path, 16000)
    journal.write(7, {"spectral": 1.0}, SAMPLES)
    journal.close()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["samples", "step-000007.wav"]

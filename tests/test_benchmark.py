"""What ``scripts/benchmark.py`` adds up: whose memory it counts, its long files, its verdict, the rows it may draw."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from gansep.research.tables import Line

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).resolve().parents[1] / "scripts" / "benchmark.py"))
PAIRS = ("digits-drums", "digits-piano", "drums-piano")


def test_memory_is_that_of_the_command_not_of_the_caller(capfd: pytest.CaptureFixture[str]) -> None:
    held = torch.ones(50_000_000)  # 0.19 GiB here, beside torch itself
    _, small = SCRIPT["measured"]([sys.executable, "-c", "pass"])
    wall, large = SCRIPT["measured"]([sys.executable, "-c", "import time; b = b'x' * 2**28; time.sleep(0.3)"])
    assert small < 0.1 < 4 * len(held) / 2**30
    assert large - small == pytest.approx(0.25, abs=0.02)
    assert wall >= 0.3
    with pytest.raises(SystemExit, match="exit code 3, expected 0, of: "):
        SCRIPT["measured"]([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_recording_is_repeated_to_the_sample(tmp_path: Path) -> None:
    steps = np.random.default_rng(0).integers(-(2**15), 2**15, (1000, 2), dtype=np.int16)
    soundfile.write(tmp_path / "short.wav", steps, 8000)
    for seconds, frames in ((0.3, 2400), (0.25, 2000), (0.01, 80)):
        long = SCRIPT["lengthen"](tmp_path / "short.wav", seconds, tmp_path / "long.wav")
        samples, rate = soundfile.read(long, dtype="int16")
        assert rate == 8000
        assert np.array_equal(samples, np.tile(steps, (3, 1))[:frames])


def test_growth_is_judged_from_a_minute_up() -> None:
    def said(power: float, memory: float, lengths: tuple[float, ...] = (1, 60, 600, 3600)) -> str:
        times = [(x, 99.0 if x < 60 else 0.05 * x**power) for x in lengths]
        return SCRIPT["growth"](times, [(x, 9.0 if x < 60 else x**memory) for x in lengths])

    flat = "memory is flat, largest / smallest 1.00"
    assert said(1, 0) == f"from 60 s up time is linear, slope 1.00; {flat}"
    assert said(1.5, 0) == f"from 60 s up time is more than linear, slope 1.50; {flat}"
    assert said(0.5, 0) == f"from 60 s up time is less than linear (start-up), slope 0.50; {flat}"
    assert said(1, 0.5).endswith("memory is not flat, largest / smallest 7.75")  # 60 ** 0.5
    assert said(1, 0, (1, 10, 60)) == "two lengths from 60 s up are needed to say how time and memory grow"


def test_rows_are_drawn_by_their_means_over_the_pairs() -> None:
    def line(task: str, row: str, mean: float, cost: float) -> Line:
        return Line(task, "wild", row, 2, mean, mean, mean, mean, 0, 0, cost, 1.0, False, {}, 0, 0, 0, 1)

    lines = [line(task, "nmf", gain, cost) for task, gain, cost in zip(PAIRS, (1, 2, 6), (0.1, 0.2, 0.6), strict=True)]
    lines += [line("digits-drums-piano", "nmf", 90, 90), line("digits-drums", "mask", 5, 0.5)]
    points = SCRIPT["of_pairs"](lines)
    assert points["nmf"] == pytest.approx((0.3, 3.0))
    assert np.isnan(points["mask"]).all()


def test_counts_for_rows_may_have_options(monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(*words: str) -> Any:
        monkeypatch.setattr("sys.argv", ["benchmark.py", *words])
        return SCRIPT["parse"]()

    args = parsed("quality", "--data", "data", "--n-for", "gan-prior:listen=0=3", "nmf=2")
    assert dict(args.n_for) == {"gan-prior:listen=0": 3, "nmf": 2}
    assert parsed("--threads", "4", "length").threads == parsed("length", "--threads", "4").threads == 4
    assert parsed("--minutes", "10").run is SCRIPT["commands"]

"""What must not grow with the length of a recording: memory, and the windows read ahead of the separator."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from torch import Tensor

from gansep.audio import AudioSource
from gansep.planning import Request
from gansep.results import Layout
from gansep.separate import separate_files

MakePrior = Callable[..., Path]
MakeFile = Callable[..., Path]
ROOT = Path(__file__).resolve().parent.parent
BOTH = ["tone", "hiss"]
pytestmark = pytest.mark.usefixtures("nothing_packaged")

MEMORY = """
import resource, sys
import torch
from pathlib import Path
from gansep import planning, separate
from gansep.results import Layout
from gansep.types import Estimates

class Halves:
    def __init__(self, priors, recipe=None):
        self.sources, self.sample_rate, self.segment = tuple(p.name for p in priors), 16000, 16384
    def __call__(self, mixture):
        return Estimates(torch.stack([mixture / 2] * len(self.sources), 1), self.sources)

separate.GanPrior = planning.GanPrior = Halves
library, *files = sys.argv[1:]
peaks = []
for number, file in enumerate(files):
    wanted = dict(sources=["tone", "hiss"], library=library, raw=True, quality="fast")
    separate.separate_file(file, f"{library}-{number}", **wanted)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(*peaks)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="units of ru_maxrss")
def test_memory_does_not_grow_with_length(tmp_path: Path, make_prior: MakePrior) -> None:
    """Five minutes are 50 MiB of samples and three results of as much; picture and all, they need little of that."""
    for name in BOTH:
        make_prior(tmp_path / "library", name)
    block = np.random.default_rng(0).integers(-9999, 9999, (22_050, 2), dtype=np.int16)
    for name, seconds in (("short.wav", 40), ("long.wav", 300)):
        with soundfile.SoundFile(tmp_path / name, "w", 22_050, 2, "PCM_16") as file:
            for _ in range(seconds):
                file.write(block)
    command = [sys.executable, "-c", MEMORY, *(str(tmp_path / name) for name in ("library", "short.wav", "long.wav"))]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    short, long = map(float, done.stdout.split())
    assert long - short < 40  # MiB


def test_windows_are_not_collected(sound: MakeFile, tmp_path: Path, fast: dict[str, Any]) -> None:
    """A recording is read as it is separated: never more windows ahead than a batch."""
    path = sound("mix.wav", 16_384 * 12)
    ahead: list[int] = []
    taken, done = [0], [0]
    windows = AudioSource.windows

    def counting(self: Any, segment: int, hop: int) -> Iterator[Tensor]:
        for window in windows(self, segment, hop):
            taken[0] += 1
            ahead.append(taken[0] - done[0])
            yield window

    def finished(number: int, _: int) -> None:
        done[0] = number

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AudioSource, "windows", counting)
        separate_files([path], Request(sources=BOTH, batch=3, **fast), Layout(tmp_path, picture=False), finished)
    assert taken[0] == 23
    assert max(ahead) <= 3

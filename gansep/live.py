"""One source kept of a recording while it is played: a pipe's samples through a causal network, block by block."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.audio.streaming import PipeFormat, Read, StreamingResampler, blocks, encode
from gansep.backends import Wanted, make_separator, parse_backend
from gansep.backends.mask import Masks
from gansep.denoise import Denoising
from gansep.library import find_separator
from gansep.nets.precision import pick_device
from gansep.types import AudioError, GansepError


def live_separator(how: Denoising) -> Masks:
    """The causal masks that are wanted.

    Raises:
        ModelError: no such model. GansepError: a back end that is not ``mask``.
    """
    if parse_backend(how.backend)[0] != "mask":
        raise GansepError(f"a stream needs --backend mask, got {how.backend}")
    model = how.model or str(find_separator("mask", how.wanted, how.library, causal=True).folder)
    wanted = Wanted(tuple(how.wanted), library=how.library, device=str(pick_device(how.device)))
    separator = make_separator(how.backend, wanted, model=model)
    assert isinstance(separator, Masks)
    return separator


class LiveDenoiser:
    """One source kept of a recording that comes block by block, each as soon as the network can say.

    ::

        block [C, n] -> to the network's rate -> MaskStream -> back -> mixed with the recording as it was then

    Args:
        separator: a causal one. sample_rate: of the recording, in Hz. channels: of the recording.
        how: what is kept, and at which strength; whether ``raw`` or not, it is the network's own sound.
    Raises:
        ModelError: a network that hears what comes after. GansepError: it has no such source.
    """

    def __init__(self, separator: Masks, sample_rate: int, channels: int, how: Denoising) -> None:
        assert separator.sample_rate
        self.how, self.kept, self.rate = how, how.kept(separator.sources), separator.sample_rate
        self.stream = separator.stream()
        self.device = next(separator.network.parameters()).device
        self._forth = StreamingResampler(sample_rate, self.rate, channels)
        self._back = StreamingResampler(self.rate, sample_rate, channels)
        self._waiting = torch.zeros(channels, 0)  # of the recording, what no answer is there for

    @property
    def latency(self) -> float:
        """Seconds that output lags input by at most, however fast the machine is."""
        return self.stream.latency / self.rate + self._forth.latency + self._back.latency

    def push(self, block: Tensor) -> Tensor:
        """What is ready. Shape: ``[C, n]``, ``n`` from 0 up, to ``[C, m]``."""
        self._waiting = torch.cat([self._waiting, block], -1)
        return self._mixed(self._back.push(self._separated(self._forth.push(block))))

    def finish(self) -> Tensor:
        """The rest, so that as many samples are out as came in. Shape: returns ``[C, m]``."""
        last = self._forth.finish()
        # Silence after the end: a transform's last samples are in one frame only, at its faint edge, and not reliable.
        last = F.pad(last, (0, self.stream.latency))
        waves = [self._back.push(self._separated(last)), self._back.push(self.stream.finish()[self.kept].cpu())]
        wave = torch.cat([*waves, self._back.finish()], -1)[:, : self._waiting.shape[-1]]
        return self._mixed(F.pad(wave, (0, self._waiting.shape[-1] - wave.shape[-1])))

    def _separated(self, wave: Tensor) -> Tensor:
        return self.stream.push(wave.to(self.device))[self.kept].cpu()

    def _mixed(self, kept: Tensor) -> Tensor:
        size = kept.shape[-1]
        then, self._waiting = self._waiting[:, :size], self._waiting[:, size:].clone()
        return self.how.mixed(then, kept)


@dataclass
class Streamed:
    """What came of a stream.

    Attributes:
        samples: a channel. clipped: of them all, past full scale. seconds: of computing.
    """

    samples: int = 0
    clipped: int = 0
    seconds: float = 0.0


def denoise_stream(read: Read, write: Callable[[bytes], Any], form: PipeFormat, live: LiveDenoiser) -> Streamed:
    """Samples of a pipe through a denoiser, each block written as soon as it is ready.

    Args:
        read: gives at most so many bytes of what is there, none at the end. write: takes bytes on.
        form: of both. live: for recordings of this rate and these channels.
    Raises:
        AudioError: no sound, or sound that is cut short or not finite, all before which is written; or samples too
            large to compute with, of whose block nothing is.
    """
    said, problem = Streamed(), None

    def heard() -> Iterator[Tensor]:
        nonlocal problem
        try:
            yield from blocks(read, form)
        except AudioError as error:
            problem = error

    def pass_on(step: Callable[[], Tensor]) -> None:
        began = time.perf_counter()
        wave = step()
        if not wave.isfinite().all():
            raise AudioError(
                "stdin: its samples are too large to compute with; scale it to full scale 1; "
                "what came before is written"
            )
        data, clipped = encode(wave, form)
        said.seconds += time.perf_counter() - began
        said.clipped += clipped
        if data:
            write(data)

    for block in heard():
        said.samples += block.shape[-1]
        pass_on(partial(live.push, block))
    if said.samples:
        pass_on(live.finish)
    if problem or not said.samples:
        raise problem or AudioError("stdin: it ended before the first sample, expected sound; check what is piped in")
    return said

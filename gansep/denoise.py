"""One source kept of each recording, speech without the noise: files to files of the same form.

They go the way of :mod:`gansep.separate`: windows in common batches, masks at a recording's own rate, sources told
apart by place. What differs is that one file comes out, called as the one that went in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from gansep.audio import StemWriter, open_audio, shared_gain
from gansep.backends import parse_backend
from gansep.library import Card
from gansep.library.separation import SEPARATORS
from gansep.pipeline import Track, separate_tracks
from gansep.planning import Failures, Planned, Request, expand, plan
from gansep.results import FORMATS
from gansep.types import AudioError, GansepError, OutputError

SOURCES = ("speech", "noise")  # unless other sources or a model are named; the first one is kept


@dataclass(frozen=True)
class Denoising:
    """What is kept, of which sources, and in which form it is written.

    Attributes:
        keep: the source; unless given the first of ``sources``, or of a model's own (``speech`` where it has it).
        strength: share of the rest that is taken away, in [0, 1].
        sources: that the model must have; :data:`SOURCES` unless they or a model are given.
        backend: ``mask``, ``mapping`` or ``autoencoder``.
        model: by name or folder, instead of the one with these sources; also as an option of the back end,
            ``mask:model=NAME``.
        format: ``wav`` or ``flac``; the input's own if it is one of them, else wav, unless given.
        float32: 32-bit float samples (wav) instead of 24-bit integers. overwrite: whether existing files are replaced.
        raw: the network's own sound instead of shares of the recording, the same on every channel and nothing above the
            network's band; of files only, as a stream always is the network's own.
        same_masks: one mask for all channels, instead of telling sources apart by where they are, too; of files only.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``. library: folder of models. batch: windows at a time.
    """

    keep: str | None = None
    strength: float = 1.0
    sources: Sequence[str] | None = None
    backend: str = "mask"
    model: str | None = None
    format: str | None = None
    float32: bool = False
    overwrite: bool = False
    raw: bool = False
    same_masks: bool = False
    device: str = "auto"
    library: Path | None = None
    batch: int = 16

    def __post_init__(self) -> None:
        if isinstance(self.sources, str):  # "speech,noise", as on the command line
            object.__setattr__(self, "sources", [name.strip() for name in self.sources.split(",")])
        if parse_backend(self.backend)[0] not in SEPARATORS:
            raise GansepError(f"denoising needs --backend {' or '.join(SEPARATORS)}, got {self.backend}")
        self._move_model()
        if not 0 <= self.strength <= 1:
            raise GansepError(f"strength must be in [0, 1], got {self.strength}")
        if self.format not in (None, *FORMATS):
            raise GansepError(f"unknown format {self.format!r}; expected one of {', '.join(FORMATS)}")
        if self.float32 and self.format == "flac":
            raise GansepError("flac has no float samples; use --format wav with --float32")

    def _move_model(self) -> None:
        """Make the option ``model`` of the back end the model."""
        name, options = parse_backend(self.backend)
        if "model" not in options:
            return
        model = str(options.pop("model"))
        if self.model not in (None, model):
            raise GansepError(f"--model {self.model} and --backend {self.backend} name two models; name one of them")
        rest = ",".join(f"{key}={value}" for key, value in options.items())
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "backend", f"{name}:{rest}" if rest else name)

    @property
    def wanted(self) -> Sequence[str]:
        """Names of sources that a model must have; none if a model's own will do."""
        return self.sources or (() if self.model else SOURCES)

    @property
    def subtype(self) -> str:
        return "FLOAT" if self.float32 else "PCM_24"

    def request(self) -> Request:
        """The same for :func:`gansep.planning.plan`."""
        return Request(
            sources=self.wanted or None,
            backend=self.backend,
            model=self.model,
            raw=self.raw,
            same_masks=self.same_masks,
            device=self.device,
            library=self.library,
            batch=self.batch,
        )

    def kept(self, names: Sequence[str]) -> int:
        """Number of the source to keep among those a model separates.

        Raises:
            GansepError: it has no such source.
        """
        keep = self.keep or (self.wanted or [name for name in (SOURCES[0], *names) if name in names])[0]
        if keep not in names:
            raise GansepError(f"cannot keep {keep!r}, the model separates {', '.join(names)}; name one with --keep")
        return list(names).index(keep)

    def mixed(self, mixture: Tensor, kept: Tensor) -> Tensor:
        """The recording with the rest as faint as wanted."""
        return (1 - self.strength) * mixture + self.strength * kept

    def place(self, path: Path) -> Path:
        """A file's name with the ending of what is written."""
        suffix = path.suffix.lower()[1:]
        ours = self.format or (suffix if suffix in FORMATS and not self.float32 else "wav")
        return path if suffix == ours else path.with_suffix(f".{ours}")


@dataclass(frozen=True)
class Denoised:
    """What was written for one input: the file, and the gain at which nothing clips in it."""

    input: Path
    output: Path
    gain: float


@dataclass
class Outcome:
    """What came of a call: files written, ``(input, error)`` for what failed, and the card of the model."""

    done: list[Denoised] = field(default_factory=list)
    failed: Failures = field(default_factory=list)
    card: Card | None = None


def denoise_files(
    inputs: Sequence[str | Path],
    out: str | Path = "denoised",
    how: Denoising | None = None,
    *,
    on_window: Callable[[int, int], None] | None = None,
    **wanted: Any,
) -> Outcome:
    """Write one source of each recording, of the same length, rate and channels.

    Args:
        inputs: files, and folders, which are searched; what lies deeper in a folder does so below ``out``.
        out: folder of the results.
        on_window: told ``(windows done, windows in all)``.
        how: settings. wanted: or fields of them, as ``keep="noise"`` or ``strength=0.8``.
    Raises:
        ModelError: no such model. AudioError: no inputs. GansepError: settings that cannot be.
    """
    how, out = replace(how or Denoising(), **wanted), Path(out)
    places = {path: out / place for path, place in _places(inputs, how, skip=out).items()}
    plans, failed = plan(list(places), how.request(), skip=out)
    outcome = Outcome(failed=failed, card=next(iter(getattr(plans[0].separator, "cards", ())), None) if plans else None)
    above = {folder for planned in plans for folder in places[planned.path].parents}
    made = [folder for folder in sorted(above, key=lambda folder: -len(folder.parts)) if not folder.exists()]
    try:
        if plans:
            _Work(how, plans, places, outcome, on_window).run()
    finally:
        for folder in made:
            with suppress(OSError):  # unless there is a result in it
                folder.rmdir()
    return outcome


def _places(inputs: Sequence[str | Path], how: Denoising, skip: Path) -> dict[Path, Path]:
    """Input files and where each goes below the folder of the results, every one to a place of its own."""
    inside: dict[Path, Path] = {}
    for item in map(Path, inputs):
        for path in expand([item], skip):
            place = Path(path.name) if path == item else path.relative_to(item)
            inside.setdefault(path, path if path.is_dir() else how.place(place))  # a folder without sound fails later
    natural, taken = set(inside.values()), set[Path]()
    for path, place in inside.items():
        free, number = place, 2
        while free in taken or (free in natural and free != place):
            free, number = place.with_stem(f"{place.stem}-{number}"), number + 1
        taken.add(free)
        inside[path] = free
    return inside


class _Work:
    """A call under way: recordings that go through one separator, and what has been done."""

    def __init__(
        self,
        how: Denoising,
        plans: Sequence[Planned],
        places: dict[Path, Path],
        outcome: Outcome,
        on_window: Callable[[int, int], None] | None,
    ) -> None:
        self.how, self.plans, self.places, self.outcome, self.on_window = how, plans, places, outcome, on_window
        self.separator = plans[0].separator
        self.kept = how.kept(self.separator.sources)
        self.inputs = {_identity(path) for path in places if path.exists()}
        self.total, self.windows = sum(planned.windows for planned in plans), 0
        self.jobs: dict[int, _Job] = {}

    def run(self) -> None:
        try:
            separate_tracks(self._tracks(), self.separator, self.how.request().settings(self.separator), self._finish)
        finally:
            for job in self.jobs.values():
                job.close()

    def _tracks(self) -> Iterator[Track]:
        for planned in self.plans:
            try:
                job = self._job(planned.path, self.places[planned.path])
            except GansepError as error:
                self.outcome.failed.append((planned.path, error))
                continue
            self.jobs[id(job.track)] = job
            job.track.on_estimates = self._count
            job.track.on_error = partial(self._give_up, job)
            yield job.track

    def _job(self, path: Path, target: Path) -> _Job:
        if target.exists() and _identity(target) in self.inputs:
            raise OutputError(f"{target}: it is itself an input, and no input is written over; use -o")
        if target.exists() and not self.how.overwrite:
            raise OutputError(f"{target} exists already; use --overwrite to replace it or -o for another folder")
        return _Job(path, target, self.how, self.kept)

    def _finish(self, track: Track) -> None:
        job = self.jobs[id(track)]
        self.outcome.done.append(job.finish())
        del self.jobs[id(track)]

    def _count(self, *_: object) -> None:
        self.windows += 1
        if self.on_window:
            self.on_window(self.windows, self.total)

    def _give_up(self, job: _Job, error: GansepError) -> None:
        job.close()
        self.outcome.failed.append((job.path, error))


class _Job:
    """One input under way: its open file, and its result under construction."""

    def __init__(self, path: Path, target: Path, how: Denoising, kept: int) -> None:
        self.path, self.target, self.how, self.kept = path, target, how, kept
        self.audio = open_audio(path)
        info = self.audio.info
        try:
            self.format = target.suffix.lower()[1:]
            if self.format == "flac" and info.channels > 8:
                raise OutputError(f"{path}: flac holds at most 8 channels, got {info.channels}; use --format wav")
            self.writer = StemWriter(target.parent, info.sample_rate, info.channels)
        except GansepError:
            self.audio.close()
            raise
        self.track = Track(self.audio.windows, info.sample_rate, info.frames, self._add)

    def _add(self, stems: Tensor, mixture: Tensor) -> None:
        wave = self.how.mixed(mixture, stems[self.kept])
        if not wave.isfinite().all():
            raise AudioError(f"{self.path}: its samples are too large to compute with; scale it to full scale 1")
        self.writer.append(wave)

    def finish(self) -> Denoised:
        """Encode at the gain that nothing clips at, move to its place, and close."""
        gain = shared_gain([self.writer.peak], self.how.subtype)
        try:
            self.writer.finish(self.target, gain, self.format, self.how.subtype)
        finally:
            self.close()
        return Denoised(self.path, self.target, gain)

    def close(self) -> None:
        self.audio.close()
        self.writer.discard()


def _identity(path: Path) -> tuple[int, int]:
    """What a file is, whatever it is called."""
    about = path.stat()
    return about.st_dev, about.st_ino

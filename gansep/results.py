"""One result on its way to disk: stems and residual as they come, then the report and the picture, then its place.

Everything is written to a hidden folder inside the output folder and moved when whole, so that an interruption or
a full disk leaves what was there before.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gansep.audio import AudioInfo, StemWriter, open_audio, shared_gain
from gansep.plots import can_plot, save_separation, spectrogram
from gansep.types import AudioError, GansepError, OutputError

TEMPLATE = "{mix}/{source}.{ext}"
FORMATS = ("wav", "flac")


@dataclass(frozen=True)
class Layout:
    """Where results go and in which form.

    Attributes:
        out: folder. template: path of a stem in it, with ``{mix}``, ``{source}`` and ``{ext}``.
        format: ``wav`` or ``flac``. float32: 32-bit float samples instead of 24-bit integers (wav).
        overwrite: whether existing stems are replaced.
        picture: whether a picture is drawn (where matplotlib is installed).
    """

    out: Path = Path("separated")
    template: str = TEMPLATE
    format: str = "wav"
    float32: bool = False
    overwrite: bool = False
    picture: bool = True

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise GansepError(f"unknown format {self.format!r}; expected one of {', '.join(FORMATS)}")
        if self.float32 and self.format != "wav":
            raise GansepError(f"{self.format} has no float samples; use --format wav with --float32")
        parts = Path(self.template).parts
        try:
            same = self.path("a", "b") in (self.path("c", "b"), self.path("a", "d"))
        except (LookupError, TypeError, ValueError, AttributeError):  # all that str.format can say
            same = True
        if same or ".." in parts or Path(self.template).is_absolute():
            raise GansepError(
                f"the file name {self.template!r} must be a relative path with {{mix}} and {{source}}, "
                f"as {TEMPLATE!r}; {{ext}} may stand in it too"
            )

    @property
    def subtype(self) -> str:
        return "FLOAT" if self.float32 else "PCM_24"

    def path(self, mix: str, source: str, ext: str | None = None) -> Path:
        """Place of one file, relative to ``out``; it ends in ``ext`` (the format's unless given) in any template."""
        place = Path(self.template.format(mix=mix, source=source, ext=ext or self.format))
        ending = f".{ext or self.format}"
        if place.suffix == ending:
            return place
        return place.with_name(place.name.removesuffix(f".{self.format}") + ending)


@dataclass(frozen=True)
class Separation:
    """What was written for one input.

    Attributes:
        input: the mixture. stems: by source. residual: what no stem holds. report: separation.json as a dictionary.
        picture: the PNG, if one was drawn.
    """

    input: Path
    stems: Mapping[str, Path]
    residual: Path
    report: Mapping[str, Any]
    picture: Path | None = None


class Result:
    """Stems of one recording under construction; use as a context manager, whatever is not finished vanishes.

    Args:
        input: the mixture's file. info: what :func:`gansep.audio.probe` said of it.
        name: stands for ``{mix}``. sources: names of the stems.
        layout: where and how to write.
    Raises:
        OutputError: a folder that cannot be written, or results that exist already.
    """

    def __init__(self, input: Path, info: AudioInfo, name: str, sources: Sequence[str], layout: Layout) -> None:
        self.input, self.info, self.name, self.sources, self.layout = input, info, name, tuple(sources), layout
        self._refuse_existing()
        if layout.format == "flac" and info.channels > 8:
            raise OutputError(f"{input}: flac holds at most 8 channels, got {info.channels}; use --format wav")
        try:
            layout.out.mkdir(parents=True, exist_ok=True)
            self._stage = Path(tempfile.mkdtemp(prefix=".gansep-", dir=layout.out))
        except OSError as error:
            raise OutputError(
                f"cannot write to {layout.out} ({error.strerror}); choose another folder with -o"
            ) from error
        self.energy = dict.fromkeys((*self.sources, "residual"), 0.0)  # of each stem so far
        self._writers: dict[str, StemWriter] = {}
        try:
            for name in (*self.sources, "residual"):
                self._writers[name] = StemWriter(self._stage, info.sample_rate, info.channels)
        except BaseException:
            self.discard()
            raise

    def __enter__(self) -> Result:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    @property
    def peak(self) -> float:
        """Largest absolute sample of all stems so far."""
        return max(writer.peak for writer in self._writers.values())

    def _refuse_existing(self) -> None:
        layout = self.layout
        places = [layout.path(self.name, source) for source in (*self.sources, "residual")]
        places += [layout.path(self.name, "separation", ext) for ext in ("json", "png")]
        for target in (layout.out / place for place in places):
            if target.exists() and not layout.overwrite:
                raise OutputError(f"{target} exists already; use --overwrite to replace it or -o for another folder")

    def add(self, stems: Tensor, mixture: Tensor) -> None:
        """Append the next samples: ``[S, C, n]`` and ``[C, n]``; the residual is what is left of the mixture."""
        parts = [*stems, mixture - stems.sum(0)]
        if not all(part.isfinite().all() for part in parts):
            raise AudioError(f"{self.input}: its samples are too large to compute with; scale it to full scale 1")
        for (source, writer), stem in zip(self._writers.items(), parts, strict=True):
            self.energy[source] += float(stem.double().square().sum())
            writer.append(stem)

    def finish(self, report: Mapping[str, Any], losses: Mapping[str, Sequence[float]] | None = None) -> Separation:
        """Encode all with the one gain that nothing clips at, add report and picture, and move them to their place.

        Raises:
            OutputError: a full disk, or a place that cannot be written; what was there before stays.
        """
        try:
            return self._finish(report, losses)
        except OSError as error:
            raise OutputError(
                f"{self.layout.out}: the results cannot be written ({error.strerror}); "
                "check free space and permissions there, or choose another folder with -o"
            ) from error
        finally:
            self.discard()

    def _finish(self, report: Mapping[str, Any], losses: Mapping[str, Sequence[float]] | None) -> Separation:
        layout = self.layout
        gain = shared_gain((writer.peak for writer in self._writers.values()), layout.subtype)
        staged: dict[str, Path] = {}
        for source, writer in self._writers.items():
            staged[source] = self._staged(layout.path(self.name, source))
            writer.finish(staged[source], gain, layout.format, layout.subtype)
        places = {source: layout.path(self.name, source) for source in staged}
        json_place = layout.path(self.name, "separation", "json")
        files = {source: Path(os.path.relpath(place, json_place.parent)).as_posix() for source, place in places.items()}
        full = {"output_gain": gain, "files": files, **report}
        self._staged(json_place).write_text(json.dumps(full, indent=2) + "\n", encoding="utf-8")
        moves = [*places.values(), json_place]
        picture = None
        if layout.picture and can_plot():
            picture = layout.path(self.name, "separation", "png")
            self._draw(self._staged(picture), staged, losses)
            moves.append(picture)
        self._move(moves)
        at = {source: layout.out / place for source, place in places.items()}
        residual = at.pop("residual")
        return Separation(self.input, at, residual, full, layout.out / picture if picture else None)

    def _staged(self, place: Path) -> Path:
        """Where a file waits until all are whole; its folder is there."""
        path = self._stage / "tree" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _move(self, places: Sequence[Path]) -> None:
        """Put all in their places; whether that can be is found out before the first one goes."""
        try:
            for target in (self.layout.out / place for place in places):
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.is_dir():
                    raise IsADirectoryError(errno.EISDIR, f"{target} is a folder")
            for place in places:
                os.replace(self._staged(place), self.layout.out / place)
        except OSError:
            for folder in (folder for place in places for folder in place.parents[:-1]):
                with suppress(OSError):  # unless something is in it
                    (self.layout.out / folder).rmdir()
            raise

    def _draw(self, path: Path, staged: Mapping[str, Path], losses: Mapping[str, Sequence[float]] | None) -> None:
        images = {}
        for title, file in {f"mixture: {self.input.name}": self.input, **staged}.items():
            with open_audio(file) as audio:
                images[title] = spectrogram(audio.windows, audio.info.frames, audio.info.sample_rate)
        save_separation(path, images, self.info.frames / self.info.sample_rate, self.info.sample_rate, losses)

    def discard(self) -> None:
        """Remove whatever is not in its place yet."""
        for writer in self._writers.values():
            writer.discard()
        shutil.rmtree(self._stage, ignore_errors=True)

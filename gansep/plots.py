"""Pictures: log-mel spectrograms side by side, and how the losses fell. Needs the ``plots`` extra (matplotlib)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from gansep.dsp.mel import log_mel
from gansep.types import OutputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

FLOOR_DB = -80.0
COLUMNS = 1600  # widest picture worth drawing; longer recordings are thinned by their maxima
BLOCK = 800  # frames transformed at a time, about 13 s

Blocks = Callable[[int, int], Iterable[Tensor]]


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def spectrogram(audio: Blocks, frames: int, sample_rate: int) -> np.ndarray:
    """Log-mel spectrogram in dB of full scale, at most 1600 columns.

    Long recordings are drawn block by block, so that memory does not grow; columns that share a pixel show their
    maximum. Blocks overlap by the window, and the frames that a cut goes through are left out.

    Args:
        audio: gives windows ``[C, segment]`` for a segment and a hop in samples, as ``AudioSource.windows`` does.
        frames: samples of the recording. sample_rate: Hz.
    Shape: returns ``[64, N]``.
    """
    hop = max(16, round(0.016 * sample_rate))  # a quarter of a window of 64 ms
    stride = max(1, -(-frames // (hop * COLUMNS)))
    block = max(1, BLOCK // stride) * stride if stride > 1 else -(-frames // hop)  # frames of a block
    columns = []
    for number, window in enumerate(audio((block + 4) * hop, block * hop)):
        mono = window.mean(0)[: frames - number * block * hop]
        image = log_mel(mono, sample_rate, 4 * hop, hop, 64, FLOOR_DB).numpy()
        image = image[:, 2 : block + 2] if stride > 1 else image
        image = np.pad(image, ((0, 0), (0, -image.shape[1] % stride)), mode="edge") if image.size else image
        columns.append(image.reshape(64, -1, stride).max(-1))
    return np.concatenate(columns, 1)


def save_separation(
    path: Path,
    pictures: Mapping[str, np.ndarray],
    seconds: float,
    sample_rate: int,
    losses: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """A picture of a separation: one spectrogram per name in one colour scale, and the loss curve below.

    Args:
        path: PNG to write, whole or not at all.
        pictures: ``[64, N]`` in dB, from :func:`spectrogram`.
        seconds: duration. sample_rate: Hz, for the frequency axis.
        losses: weighted terms and ``total`` by step; left out where a method has no search.
    """
    from matplotlib.figure import Figure

    curves = {name: values for name, values in (losses or {}).items() if len(values) > 1}
    rows = len(pictures) + bool(curves)
    figure = Figure(figsize=(9, 1.9 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    top = max(float(image.max()) for image in pictures.values())
    meshes = []
    for axis, (name, image) in zip(axes, pictures.items(), strict=False):
        meshes.append(_draw(axis, image, seconds, sample_rate, top))
        axis.set_title(name, loc="left", fontsize=10)
    axes[len(pictures) - 1].set_xlabel("time (s)")
    figure.colorbar(meshes[0], ax=list(axes[: len(pictures)]), label="dB of full scale", fraction=0.02)
    if curves:
        _draw_curves(axes[-1], curves)
    save(figure, path)


def save_samples(path: Path, waves: Tensor, sample_rate: int, title: str) -> None:
    """A row of spectrograms, one for each of ``waves [B, T]``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.7 * len(waves), 2.6), layout="constrained")
    axes = figure.subplots(1, len(waves), squeeze=False)[0]
    images = [spectrogram(lambda *_, wave=wave: [wave[None]], len(wave), sample_rate) for wave in waves]
    top = max(float(image.max()) for image in images)
    for axis, image in zip(axes, images, strict=True):
        _draw(axis, image, waves.shape[1] / sample_rate, sample_rate, top)
        axis.set_ylabel("")
        axis.tick_params(labelleft=axis is axes[0])
    figure.suptitle(title, fontsize=10)
    save(figure, path)


def save_spectrograms(path: Path, waves: Mapping[str, Tensor], sample_rate: int, columns: int | None = None) -> None:
    """Spectrograms side by side in one colour scale, as a noisy sound, its target and its reconstruction.

    Args:
        path: PNG to write, whole or not at all.
        waves: ``[T]`` each, by the title it gets. sample_rate: Hz.
        columns: pictures a row; all of them unless given.
    """
    from matplotlib.figure import Figure

    columns = columns or len(waves)
    rows = -(-len(waves) // columns)
    figure = Figure(figsize=(2.9 * columns + 1, 2.3 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    images = [spectrogram(lambda *_, wave=wave: [wave[None]], len(wave), sample_rate) for wave in waves.values()]
    top = max(float(image.max()) for image in images)
    meshes = []
    for number, (axis, (title, wave), image) in enumerate(zip(axes.flat, waves.items(), images, strict=False)):
        meshes.append(_draw(axis, image, len(wave) / sample_rate, sample_rate, top))
        axis.set_title(title, loc="left", fontsize=10)
        axis.tick_params(labelleft=number % columns == 0)
        if number + columns >= len(waves):  # nothing below it
            axis.set_xlabel("time (s)")
    for axis in axes.flat[len(waves) :]:
        axis.set_axis_off()
    figure.colorbar(meshes[0], ax=axes, label="dB of full scale", fraction=0.02, aspect=20 * rows, pad=0.01)
    save(figure, path)


def _draw(axis: Axes, image: np.ndarray, seconds: float, sample_rate: int, top: float) -> AxesImage:
    mesh = axis.imshow(
        image,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=FLOOR_DB,
        vmax=max(top, FLOOR_DB + 10),
        extent=(0, seconds, 0, 64),
    )
    frequencies = [f for f in (250, 1000, 4000, 16000) if f < sample_rate / 2]
    axis.set_yticks([64 * _mel(f) / _mel(sample_rate / 2) for f in frequencies])
    axis.set_yticklabels([f"{f // 1000} kHz" if f >= 1000 else f"{f} Hz" for f in frequencies], fontsize=8)
    axis.tick_params(labelsize=8)
    return mesh


def _mel(frequency: float) -> float:
    """Slaney's mel scale, as librosa's filters use: linear to 1 kHz, logarithmic above."""
    return 3 * frequency / 200 if frequency < 1000 else 15 + 27 * float(np.log(frequency / 1000) / np.log(6.4))


def _draw_curves(axis: Axes, curves: Mapping[str, Sequence[float]]) -> None:
    for name, values in curves.items():
        (line,) = axis.plot(values, label=name, linewidth=1.0)
        if name == "total":
            line.set(color="black", linewidth=1.6)
    axis.set_title("loss (mean over windows)", loc="left", fontsize=10)
    axis.set_xlabel("step")
    axis.legend(fontsize=8, ncols=len(curves), loc="center right")
    axis.tick_params(labelsize=8)


def save(figure: Figure, path: Path, dpi: int = 110) -> None:
    """Write a PNG, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            figure.savefig(temporary, dpi=dpi, format="png")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: it cannot be written ({error.strerror}); choose another place") from error

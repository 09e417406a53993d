"""Figures of a comparison: gain by task, quality against cost, and how a search's loss terms fell.

Needs the ``plots`` extra (matplotlib). Colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gansep.plots import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6a00", "#5b5b5b")
LINES = ("-", "--", ":", "-.")
INK, SOFT = "#1c2126", "#8a949c"
DPI = 150
APART = 2.0  # pixels between labels

Interval = tuple[str, float, float, float]


def save_bars(path: Path, tasks: Mapping[str, Sequence[Interval]], title: str = "", unit: str = "dB") -> None:
    """Horizontal bars with intervals, a panel a task, the rows of all in one order (that of their first appearance).

    Args:
        path: PNG to write, whole or not at all.
        tasks: ``(row, mean, low, high)`` by task; a row that a task lacks, or that is NaN, has no bar.
        title: above all panels. unit: of the values.
    Raises:
        ValueError: no task has a row. OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    rows = list(dict.fromkeys(line[0] for lines in tasks.values() for line in lines))
    if not rows:
        raise ValueError(f"expected at least one row to draw, got none in {len(tasks)} tasks")
    columns = min(len(tasks), 4)
    panels = -(-len(tasks) // columns)
    width = max(2.3, 0.5 + 0.075 * max(map(len, tasks)))  # titles of panels stay apart
    size = (0.8 + 0.075 * max(map(len, rows)) + width * columns, 0.5 + panels * (0.75 + 0.24 * len(rows)))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(panels, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, (task, lines) in zip(axes, tasks.items(), strict=False):
        _draw_bars(axis, rows, lines)
        axis.set_title(task, loc="left", fontsize=9)
    for axis in axes[len(tasks) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(tasks) - columns) : len(tasks)]:
        axis.set_xlabel(unit, fontsize=9)
        axis.tick_params(labelbottom=True)
    if title:
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    save(figure, path, DPI)


def _draw_bars(axis: Axes, rows: Sequence[str], lines: Sequence[Interval]) -> None:
    known = [line for line in lines if math.isfinite(line[1])]
    at = [rows.index(line[0]) for line in known]
    means = np.array([line[1] for line in known])
    axis.barh(at, means, height=0.62, color=COLOURS[0], alpha=0.75, linewidth=0)
    for place, (_, _, low, high) in zip(at, known, strict=True):
        if math.isfinite(low) and math.isfinite(high):
            axis.plot([low, high], [place, place], color=INK, linewidth=1.3, solid_capstyle="butt")
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.set_yticks(range(len(rows)), rows)
    axis.set_ylim(len(rows) - 0.4, -0.6)  # the first row on top
    _plain(axis, grid="x")
    axis.tick_params(axis="y", length=0)


def save_cost(path: Path, points: Sequence[tuple[str, float, float]], title: str = "") -> None:
    """Quality against cost, a labelled point a row; labels are placed so that they hide no point and no other label.

    Args:
        path: PNG to write, whole or not at all.
        points: ``(row, seconds for a second of audio, dB)``; those without a finite place are left out.
        title: above.
    Raises:
        ValueError: no point has a place. OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    known = [one for one in points if math.isfinite(one[2]) and math.isfinite(one[1]) and one[1] > 0]
    if not known:
        raise ValueError(f"expected points with a cost above 0 and a finite quality, got none among {len(points)}")
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axis = figure.subplots()
    axis.set_xscale("log")
    x, y = [one[1] for one in known], [one[2] for one in known]
    axis.scatter(x, y, s=28, color=COLOURS[0], edgecolors="white", linewidths=0.6, zorder=3)
    axis.margins(x=0.14, y=0.12)
    if max(x) / min(x) < 10:
        axis.set_xlim(min(x) / 4, max(x) * 4)  # a log axis needs a decade to have labels
    axis.set_xlabel("seconds of computing for a second of audio", fontsize=9)
    axis.set_ylabel("SI-SDR improvement, dB", fontsize=9)
    _plain(axis, grid="both")
    if title:
        axis.set_title(title, loc="left", fontsize=10)
    _label(figure, axis, known)
    save(figure, path, DPI)


def _label(figure: Figure, axis: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Put every label at the nearest place around its point where it covers nothing, with a thin line if it is far."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    figure.dpi = DPI  # places are in pixels of the picture that is saved
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_layout_engine("none")
    places = axis.transData.transform([(x, y) for _, x, y in points])
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in places]
    frame = axis.get_window_extent()
    for (name, x, y), _ in sorted(zip(points, places, strict=True), key=lambda one: -one[1][1]):
        label = axis.annotate(name, (x, y), xytext=(0, 0), textcoords="offset points", fontsize=8, color=INK)
        box = _settle(label, canvas, frame, taken)
        taken.append(box)


def _settle(label: Annotation, canvas: FigureCanvasAgg, frame: Bbox, taken: Sequence[Bbox]) -> Bbox:
    """Move a label to the first free place, or else to where it covers least."""
    best: tuple[float, tuple[float, float, str, str]] | None = None
    for place in _around():
        _move(label, place)
        box = label.get_window_extent(canvas.get_renderer()).padded(APART)
        covered = sum(_overlap(box, other) for other in taken)
        covered += box.width * box.height - _overlap(box, frame)  # what is outside the axes
        if best is None or covered < best[0]:
            best = covered, place
        if covered <= 1e-6:
            break
    assert best is not None
    _move(label, best[1])
    if math.hypot(*best[1][:2]) > 14:
        label.axes.annotate(  # type: ignore[union-attr]
            "",
            label.xy,
            xytext=best[1][:2],
            textcoords="offset points",
            arrowprops={"arrowstyle": "-", "color": SOFT, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4},
        )
    return label.get_window_extent(canvas.get_renderer()).padded(APART)


def _around() -> Iterator[tuple[float, float, str, str]]:
    """Offsets in points and alignments, near ones first, right of the point before left of it."""
    for radius in (6.0, 10.0, 16.0, 24.0, 34.0, 46.0, 60.0):
        for angle in (0, 45, -45, 90, -90, 180, 135, -135, 20, -20, 160, -160):
            dx, dy = radius * math.cos(math.radians(angle)), radius * math.sin(math.radians(angle))
            side = "center" if abs(dx) < 1e-6 else "left" if dx > 0 else "right"
            level = "center" if abs(dy) < radius / 2 else "bottom" if dy > 0 else "top"
            yield dx, dy, side, level


def _move(label: Annotation, place: tuple[float, float, str, str]) -> None:
    label.set_position(place[:2])
    label.set(horizontalalignment=place[2], verticalalignment=place[3])


def _overlap(one: Bbox, other: Bbox) -> float:
    """Area that two boxes share, in square pixels."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)


def save_loss_curves(path: Path, curves: Mapping[str, Sequence[float]], title: str = "") -> None:
    """The weighted terms of a search's loss by step, and their total if it is given as ``total``.

    The axis is logarithmic, and linear around zero where a term is negative.

    Args:
        path: PNG to write, whole or not at all.
        curves: values by step, by term.
        title: above.
    Raises:
        ValueError: no term has values. OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    known = {name: np.asarray(values, dtype=float) for name, values in curves.items() if len(values)}
    if not known:
        raise ValueError(f"expected the values of at least one term, got {len(curves)} without any")
    sizes = np.abs(np.concatenate(list(known.values())))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axis = figure.subplots()
    terms = [name for name in known if name != "total"]
    for number, name in enumerate(terms):
        line = LINES[number // len(COLOURS) % len(LINES)]
        axis.plot(known[name], line, color=COLOURS[number % len(COLOURS)], linewidth=1.3, label=name)
    if "total" in known:
        axis.plot(known["total"], color=INK, linewidth=2.0, label="total", zorder=1, alpha=0.55)
    if len(sizes):
        if any((values < 0).any() for values in known.values()):
            axis.set_yscale("symlog", linthresh=float(max(sizes.min(), 1e-4 * sizes.max())))
        else:
            axis.set_yscale("log")
            axis.set_ylim(bottom=max(float(sizes.min()) / 1.5, 1e-8 * float(sizes.max())))
    axis.set_xlabel("step", fontsize=9)
    axis.set_ylabel("weighted loss", fontsize=9)
    _plain(axis, grid="y")
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    if title:
        axis.set_title(title, loc="left", fontsize=10)
    save(figure, path, DPI)


def _plain(axis: Axes, grid: str) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=grid, color="#dfe3e7", linewidth=0.7)  # pyright: ignore[reportArgumentType]
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8)

"""Figures of a comparison: whole PNG files, nothing clipped, labels apart, values where they belong."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gansep.research.plots import save_bars, save_cost, save_loss_curves
from gansep.types import OutputError

pytest.importorskip("matplotlib")
from matplotlib import image
from matplotlib.figure import Figure
from matplotlib.text import Text

ROWS = ["gan-prior", "gan-prior-fast", "nmf", "a-method-with-a-very-long-name:option=1", "mixture"]
TASKS = {
    task: [(row, 4.0 * i - 6, 4.0 * i - 8, 4.0 * i - 5) for i, row in enumerate(ROWS[: 5 - shift])]
    for shift, task in enumerate(["digits-drums", "drums-piano", "a-task-with-a-very-long-name+of-three-sources"])
}
CURVES = {"ms": np.geomspace(20, 3, 50).tolist(), "td": [1e-3] * 50, "total": np.geomspace(20.5, 3.2, 50).tolist()}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved, to look at what is in them."""
    kept: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *arguments: object, **options: object) -> None:
        kept.append(self)
        save(self, *arguments, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Figure, "savefig", keep)
    return kept


def is_whole(path: Path) -> bool:
    """A PNG whose border is background: nothing runs into it."""
    pixels = image.imread(path)[..., :3]
    return bool(min(edge.min() for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])) == 1)


def test_bars_are_where_the_means_are_in_one_order(tmp_path: Path, figures: list[Figure]) -> None:
    save_bars(tmp_path / "bars.png", TASKS, "Gain with 95 % intervals")
    assert is_whole(tmp_path / "bars.png")
    panels = [axis for axis in figures[0].axes if axis.get_visible()]
    assert [axis.get_title(loc="left") for axis in panels] == list(TASKS)
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ROWS
    for axis, lines in zip(panels, TASKS.values(), strict=True):
        bars = [(bar.get_y() + bar.get_height() / 2, bar.get_width()) for bar in axis.patches]  # pyright: ignore
        assert np.allclose(bars, [(i, line[1]) for i, line in enumerate(lines)])
        assert axis.transData.transform((0, 0))[1] > axis.transData.transform((0, 1))[1]  # the first row on top
        intervals = [np.asarray(line.get_xdata()).tolist() for line in axis.lines[: len(lines)]]
        assert intervals == [[low, high] for _, _, low, high in lines]
    texts = [text for axis in panels for text in axis.get_children() if isinstance(text, Text) and text.get_text()]
    titles = [text.get_window_extent() for text in texts if text.get_text() in TASKS]
    assert len(titles) == 3
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(titles))


def test_rows_without_a_figure_keep_their_place(tmp_path: Path, figures: list[Figure]) -> None:
    lines = [("a", math.nan, math.nan, math.nan), ("b", 3.0, math.nan, math.nan), ("c", -1.0, -2.0, 0.0)]
    save_bars(tmp_path / "bars.png", {"task": lines})
    (axis,) = figures[0].axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b", "c"]
    assert [bar.get_width() for bar in axis.patches] == [3.0, -1.0]  # pyright: ignore
    with pytest.raises(ValueError, match="at least one row"):
        save_bars(tmp_path / "none.png", {"task": []})


def test_labels_of_points_cover_nothing(tmp_path: Path, figures: list[Figure]) -> None:
    """Twenty points, some on top of each other: labels do not meet, hide no point and stay within the axes."""
    random = np.random.default_rng(0)
    points = [(f"some-method-{i}", float(10 ** random.normal(-1, 1)), float(random.normal(5, 5))) for i in range(16)]
    points += [(f"together-{i}", 1.0, 5.0 + 0.05 * i) for i in range(4)]
    save_cost(tmp_path / "cost.png", points)
    assert is_whole(tmp_path / "cost.png")
    (axis,) = figures[0].axes
    labels = [text for text in axis.texts if text.get_text()]
    assert sorted(text.get_text() for text in labels) == sorted(name for name, _, _ in points)
    boxes = [text.get_window_extent() for text in labels]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    frame = axis.get_window_extent()
    assert all(frame.contains(*corner) for box in boxes for corner in box.corners())
    places = axis.transData.transform([(x, y) for _, x, y in points])
    assert not any(box.contains(*place) for box in boxes for place in places)


def test_points_without_a_place_are_left_out(tmp_path: Path, figures: list[Figure]) -> None:
    save_cost(tmp_path / "cost.png", [("a", 0.1, 3.0), ("b", 0.0, 3.0), ("c", 0.1, math.nan)])
    assert [text.get_text() for text in figures[0].axes[0].texts] == ["a"]
    assert len(figures[0].axes[0].get_xticks()) > 1
    with pytest.raises(ValueError, match="above 0"):
        save_cost(tmp_path / "none.png", [("b", 0.0, 3.0)])


def test_loss_curves_hold_the_terms(tmp_path: Path, figures: list[Figure]) -> None:
    save_loss_curves(tmp_path / "loss.png", CURVES, "mixture 0")
    assert is_whole(tmp_path / "loss.png")
    (axis,) = figures[0].axes
    assert axis.get_yscale() == "log"
    drawn = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in axis.lines}
    assert drawn == CURVES
    low, high = axis.get_ylim()
    assert low < 1e-3
    assert high > 20.5


def test_negative_terms_are_drawn_too(tmp_path: Path, figures: list[Figure]) -> None:
    save_loss_curves(tmp_path / "loss.png", {"a": [3.0, -2.0], "b": [0.0, 0.0], "empty": []})
    (axis,) = figures[0].axes
    assert axis.get_yscale() == "symlog"
    assert axis.get_ylim()[0] < -2
    save_loss_curves(tmp_path / "zero.png", {"b": [0.0, 0.0]})
    with pytest.raises(ValueError, match="at least one term"):
        save_loss_curves(tmp_path / "none.png", {"empty": []})


@pytest.mark.parametrize(
    "save",
    [
        lambda path: save_bars(path, TASKS),
        lambda path: save_cost(path, [("a", 1.0, 1.0)]),
        lambda path: save_loss_curves(path, CURVES),
    ],
)
def test_files_are_whole_or_absent(save: Callable[[Path], None], tmp_path: Path) -> None:
    save(tmp_path / "new" / "figure.png")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["figure.png"]
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match=r"folder\.png"):
        save(tmp_path / "folder.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png", "new"]

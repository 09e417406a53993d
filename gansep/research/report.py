"""A page to listen to: one HTML file with players, spectrograms, masks, figures and sortable tables.

The file holds all it shows and asks the network for nothing, which its own content policy makes sure of. Sounds are
16-bit FLAC; all of an example get one gain, so that levels compare and nothing clips. Pictures are log-mel
spectrograms in one dB scale an example, and masks: the share ``|stem| / |mixture|`` of every mel band and frame.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from gansep.metrics import FIGURES
from gansep.plots import FLOOR_DB
from gansep.research import embed
from gansep.research.embed import Sound
from gansep.types import DataError, OutputError

RANGE_DB = 70.0  # of an example's pictures, below the loudest point
DENSITY = 1.5  # pixels of a figure for one of the page, so that it is sharp and its text small
FIRST = "si_sdr_improvement"  # shown first, and what rows are sorted by
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
MISSING, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
NEGATIVE = re.compile(r"(?<![\w)-])-(?=\.?\d)")


@dataclass(frozen=True)
class Answer:
    """What one row made of an example.

    Attributes:
        row: its name. stems: by source.
        metrics: figures by source and metric, as :func:`gansep.metrics.measure` calls them; NaN where there is none.
        note: anything to know about it, as what it was told or what it cost.
    """

    row: str
    stems: Mapping[str, Sound]
    metrics: Mapping[str, Mapping[str, float]]
    note: str = ""


@dataclass(frozen=True)
class Example:
    """A mixture, its true sources where they are known, and the answers."""

    title: str
    mixture: Sound
    references: Mapping[str, Sound]
    answers: Sequence[Answer]


@dataclass(frozen=True)
class Table:
    """Cells in rows; NaN is shown as a dash."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    caption: str = ""


def write_page(
    path: Path,
    title: str,
    *,
    intro: Sequence[str] = (),
    tables: Sequence[Table] = (),
    figures: Mapping[str, Path | bytes] | None = None,
    examples: Iterable[Example] = (),
) -> None:
    """Write the page, whole or not at all; one example is held at a time.

    Args:
        path: HTML file. title: of the page. intro: paragraphs of plain text.
        tables: shown first. figures: PNG files or their bytes, by caption. examples: to listen to.
    Raises:
        ValueError: sounds that are empty or not finite, two answers of a row, table rows of another length, or
            figures that are no PNG.
        DataError: a figure that cannot be read.
        OutputError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = temporary.open("w", encoding="utf-8", newline="\n")
        with file:
            for part in _page(title, intro, tables, figures or {}, examples):  # its errors are not the file's
                with _writing(path):
                    file.write(part)
            with _writing(path):
                file.flush()
        with _writing(path):
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: it cannot be written ({error.strerror}); choose another place") from error


def _page(
    title: str,
    intro: Sequence[str],
    tables: Sequence[Table],
    figures: Mapping[str, Path | bytes],
    examples: Iterable[Example],
) -> Iterator[str]:
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n:root {{ --heat: {embed.gradient(embed.HEAT)}; "
        f"--share: {embed.gradient(embed.SHARE)}; }}\n"
        f"{_asset('page.css')}</style>\n</head>\n<body>\n<main>\n<header>\n<h1>{escape(title)}</h1>\n"
    )
    yield "".join(f"<p>{escape(text)}</p>\n" for text in intro) + "</header>\n"
    yield from (_table(table, f"table-{number}") for number, table in enumerate(tables, 1))
    yield from (_figure(caption, image) for caption, image in figures.items())
    used: dict[str, None] = {}
    for number, example in enumerate(examples, 1):
        used |= dict.fromkeys(name for one in example.answers for each in one.metrics.values() for name in each)
        yield _example(example, number)
    yield _glossary(used)
    yield f"</main>\n<script>\n{_asset('page.js')}</script>\n</body>\n</html>\n"


def _asset(name: str) -> str:
    return files("gansep.research").joinpath(name).read_text(encoding="utf-8")


def _table(table: Table, name: str) -> str:
    for row in table.rows:
        if len(row) != len(table.head):
            raise ValueError(f"table {table.title!r}: expected {len(table.head)} cells in every row, got {len(row)}")
    head = "".join(f'<th scope="col" data-sort>{escape(text)}</th>' for text in table.head)
    columns = [_column(column) for column in zip(*table.rows, strict=True)]
    rows = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in zip(*columns, strict=True))
    caption = f"<p>{escape(table.caption)}</p>\n" if table.caption else ""
    return (
        f'<section id="{name}">\n<h2>{escape(table.title)}</h2>\n{caption}<div class="scroll" tabindex="0" '
        f'role="region" aria-label="{escape(table.title)}">\n<table class="plain">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n</section>\n"
    )


def _column(cells: Sequence[str | float]) -> list[str]:
    """Cells of a column, with as many decimals as its largest number needs."""
    numbers = [abs(cell) for cell in cells if not isinstance(cell, str) and math.isfinite(cell)]
    most = max(numbers, default=0.0)
    whole = all(float(number).is_integer() for number in numbers)
    places = 0 if whole or most >= 1000 else 1 if most >= 10 else 2 if most >= 0.1 else 4
    return [
        f"<td>{escape(NEGATIVE.sub(MINUS, cell))}</td>"
        if isinstance(cell, str)
        else f'<td data-value="{_value(cell)}">{_minus(f"{cell:z.{places}f}") if math.isfinite(cell) else MISSING}</td>'
        for cell in cells
    ]


def _figure(caption: str, image: Path | bytes) -> str:
    if isinstance(image, Path):
        try:
            image = image.read_bytes()
        except OSError as error:
            raise DataError(f"{image}: the figure cannot be read ({error.strerror})") from error
    if not image.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"figure {caption!r}: expected a PNG, got {len(image)} bytes of something else")
    text = escape(caption)
    width = max(1, round(int.from_bytes(image[16:20], "big") / DENSITY))  # IHDR comes first, and its width
    picture = f'<img alt="{text}" width="{width}" src="{embed.data_uri("image/png", image)}">'
    return f'<figure class="paper">{picture}<figcaption>{text}</figcaption></figure>\n'


def _example(example: Example, number: int) -> str:
    sounds = {"mixture": example.mixture} | {f"reference {name}": one for name, one in example.references.items()}
    given = len(sounds)
    sounds |= {f"{one.row}, {name}": sound for one in example.answers for name, sound in one.stems.items()}
    if len({one.row for one in example.answers}) < len(example.answers):
        raise ValueError(f"{example.title}: expected one answer a row, got {', '.join(a.row for a in example.answers)}")
    gain, loudest = embed.common_gain(sounds, example.title)
    images = {name: embed.image_of(sound, gain) for name, sound in sounds.items()}
    high = max(FLOOR_DB + 10, *(float(image.max()) for image in images.values()))
    low = max(FLOOR_DB, high - RANGE_DB)
    cells = {}
    for name, sound in sounds.items():
        pictures = {"spectrogram": embed.heat_map(images[name], low, high)}
        if name != "mixture" and embed.alike(sound, example.mixture):
            pictures["mask"] = embed.share_map(images[name], images["mixture"], FLOOR_DB)
        cells[name] = embed.player(name, sound, gain, pictures)
    top = "".join(f'<div class="one"><h3>{escape(name)}</h3>{cells[name]}</div>\n' for name in list(sounds)[:given])
    return (
        f'<section class="example" id="example-{number}" data-gain="{gain!r}">\n<h2>{escape(example.title)}</h2>\n'
        f'<div class="tools">{_bar("heat", f"{low:.0f}", f"{high:.0f} dB of full scale")}'
        f"{_bar('share', '0', '1 of the mixture, hatched where it is silent')}"
        f"<p>All sounds are played with the same gain, {_minus(f'{20 * math.log10(gain):+.1f}')} dB "
        f"(loudest: {escape(loudest)}).</p></div>\n"
        f'<div class="given">\n{top}</div>\n{_grid(example, cells)}</section>\n'
    )


def _bar(kind: str, low: str, high: str) -> str:
    return f'<div class="bar {kind}"><span>{_minus(low)}</span><i></i><span>{_minus(high)}</span></div>'


def _grid(example: Example, cells: Mapping[str, str]) -> str:
    """Rows of answers, columns of sources; nothing where there are no answers."""
    if not example.answers:
        return ""
    names = dict.fromkeys([*example.references, *(name for one in example.answers for name in one.stems)])
    known = dict.fromkeys(name for one in example.answers for each in one.metrics.values() for name in each)
    order = sorted(known, key=lambda name: name != FIRST)
    sort = " data-sort" if order else ""
    heads = "".join(f'<th scope="col"{sort}>{escape(name)}</th>' for name in names)
    mean = '<th scope="col" class="mean" data-sort>mean</th>' if order else ""
    said = (
        f'<p class="said">Columns of sources sort by {escape(_title(order[0]))}; mean is its mean over sources.</p>\n'
        if order
        else ""
    )
    rows = "".join(_row(one, list(names), order, cells) for one in example.answers)
    return (
        f'{said}<table class="grid" style="--n:{min(len(names), 3)}">\n'
        f'<thead><tr><th scope="col" data-sort>method</th>{mean}{heads}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table>\n"
    )


def _row(answer: Answer, names: Sequence[str], order: Sequence[str], cells: Mapping[str, str]) -> str:
    note = f"<small>{escape(answer.note)}</small>" if answer.note else ""
    parts = [f'<tr><th scope="row" data-value="{escape(answer.row)}">{escape(answer.row)}{note}</th>']
    if order:
        values = [answer.metrics.get(name, {}).get(order[0], math.nan) for name in names]
        finite = [value for value in values if math.isfinite(value)]
        mean = sum(finite) / len(finite) if finite else math.nan
        parts.append(f'<td class="mean" data-value="{_value(mean)}">{_number(order[0], mean)}</td>')
    for name in names:
        figures = answer.metrics.get(name, {})
        value = figures.get(order[0], math.nan) if order else math.nan
        shown = "".join(
            f"<div><dt>{escape(_title(metric))}</dt><dd>{_number(metric, figures[metric])}</dd></div>"
            for metric in order
            if metric in figures
        )
        content = cells.get(f"{answer.row}, {name}", f'<div class="none">{MISSING}</div>') + (
            f"<dl>{shown}</dl>" if shown else ""
        )
        parts.append(f'<td data-value="{_value(value)}"><div class="cell">{content}</div></td>')
    return "\n".join(parts) + "</tr>\n"


def _glossary(metrics: Iterable[str]) -> str:
    known = [FIGURES[name] for name in metrics if name in FIGURES]
    lines = "".join(
        f"<div><dt>{escape(one.title)}</dt><dd>{escape(one.meaning)}; {escape(one.unit)}, "
        f"{'higher' if one.higher_is_better else 'lower'} is better</dd></div>\n"
        for one in known
    )
    return (
        f'<section id="figures">\n<h2>Figures</h2>\n<dl class="glossary">\n{lines}</dl>\n</section>\n' if known else ""
    )


def _title(metric: str) -> str:
    return FIGURES[metric].title if metric in FIGURES else metric.replace("_", " ")


def _number(metric: str, value: float) -> str:
    if not math.isfinite(value):
        return MISSING
    in_decibels = metric in FIGURES and FIGURES[metric].unit == "dB"
    return _minus(f"{value:z.1f}" if in_decibels else f"{value:.3g}")


def _value(number: float) -> str:
    """For sorting; empty where there is none, which comes last."""
    return f"{number:.6g}" if math.isfinite(number) else ""


def _minus(text: str) -> str:
    return text.replace("-", MINUS)

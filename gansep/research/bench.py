"""A comparison from recordings to a folder of results: records, tables, figures and the page to listen to."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from gansep import __version__
from gansep.audio import read
from gansep.library import is_writable
from gansep.plots import can_plot
from gansep.research.compare import Comparison, compare, heard, in_order
from gansep.research.protocol import Mixture, mix
from gansep.research.records import Record, write_csv, write_json, write_text
from gansep.research.report import Answer, Example, Sound, Table, write_page
from gansep.research.rows import Row
from gansep.research.running import Runner, Stems
from gansep.research.tables import HEAD, Line, by_task, cells, markdown, overview, summarise
from gansep.types import GansepError, ModelError, OutputError

Say = Callable[[int, int, str], None]

ABOUT = (
    "Mean over sources and mixtures; intervals are 95 % bootstrap intervals of the mean, resampled by what belongs "
    "together (speakers, kits, pieces)."
)
STAR = "* no names: its stems were matched to the sources as they fit best."
SHOWN = ("si_sdr_improvement", "si_sdr", "sir", "spectral_snr", "log_spectral_distance")  # under a player


def bench(
    wanted: Comparison, runner: Runner, folder: Path, against: str = "nmf", on_progress: Say = lambda *_: None
) -> tuple[list[Line], list[str]]:
    """Run a comparison (or what is left of it) and write everything.

    Writes ``results.csv``, ``results.json``, ``summary.md``, ``index.html`` and, where matplotlib is installed,
    ``improvement.png`` and ``cost.png``.

    Returns:
        The lines of the tables, and notes.
    Raises:
        GansepError: nothing could run, or the folder cannot be written.
    """
    _refuse_unwritable(folder)
    records, skipped = compare(wanted, runner, folder, on_progress)
    lines = summarise(records, against=against, seed=wanted.seed)
    notes = [*_used(records), *skipped]
    if any(line.permuted for line in lines):
        notes.insert(0, STAR)
    about = {
        "gansep": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "split": wanted.split,
        "seed": wanted.seed,
        "rows": {row.name: row.backend + (" raw" if row.raw else "") for row in wanted.rows},
        "notes": notes,
    }
    write_csv(folder / "results.csv", records)
    write_json(folder / "results.json", records, about)
    write_text(folder / "summary.md", markdown(lines, against, notes))
    tables = [Table(condition, *table, caption=ABOUT) for condition, table in overview(lines).items()]
    tables += [
        Table(f"{condition}, {task}", [name.format(against=against) for name in HEAD], [cells(one) for one in group])
        for (condition, task), group in by_task(lines).items()
    ]
    title = "Comparison of " + ", ".join(wanted.tasks)
    intro = ["SI-SDR improvement over the mixture in dB. " + ABOUT, *notes]
    write_page(
        folder / "index.html",
        title,
        intro=intro,
        tables=tables,
        figures=_figures(folder, lines),
        examples=_examples(wanted, folder, records),
    )
    return lines, notes


def _refuse_unwritable(folder: Path) -> None:
    if not is_writable(folder):
        raise OutputError(f"{folder}: the results cannot be written there; name another folder with -o")


def _used(records: Sequence[Record]) -> list[str]:
    """Which models each row used, a line a row."""
    used: dict[str, dict[str, None]] = {}
    for record in records:
        used.setdefault(record.row, {}).update(dict.fromkeys(record.models))
    return [f"{row}: " + ", ".join(models) for row, models in used.items() if models]


def _figures(folder: Path, lines: Sequence[Line]) -> dict[str, Path]:
    if not can_plot():
        return {}
    from gansep.research.plots import save_bars, save_cost

    figures = {}
    conditions = dict.fromkeys(line.condition for line in lines)
    for condition in conditions:
        chosen = [line for line in lines if line.condition == condition]
        panels: dict[str, list[tuple[str, float, float, float]]] = {}
        for line in chosen:
            panels.setdefault(line.task, []).append((line.row, line.mean, line.low, line.high))
        path = folder / f"improvement-{condition}.png"
        save_bars(path, panels, f"SI-SDR improvement, {condition}", "dB")
        figures[f"Mean SI-SDR improvement with 95 % interval, {condition}"] = path
    save_cost(folder / "cost.png", _cost(lines))
    return figures | {"Quality against cost, mean over tasks and conditions": folder / "cost.png"}


def _cost(lines: Sequence[Line]) -> list[tuple[str, float, float]]:
    """Row, seconds per second and mean improvement, over what every row has in common."""
    rows: dict[str, list[Line]] = {}
    for line in lines:
        rows.setdefault(line.row, []).append(line)
    most = max(len(found) for found in rows.values())
    return [
        (row, sum(one.seconds_per_second for one in found) / most, sum(one.mean for one in found) / most)
        for row, found in rows.items()
        if len(found) == most
    ]


def _examples(wanted: Comparison, folder: Path, records: Sequence[Record]) -> Iterator[Example]:
    """The mixtures whose stems were kept."""
    found = {(record.mixture, record.row): record for record in records}
    for condition in wanted.conditions:
        for sources in wanted.tasks.values():
            pools = [wanted.pools[name] for name in sources]
            for example in mix(pools, condition, wanted.split, range(min(wanted.listen, wanted.n)), wanted.seed):
                yield _shown(example, folder, wanted.rows, found)


def _shown(example: Mixture, folder: Path, rows: Sequence[Row], found: Mapping[tuple[str, str], Record]) -> Example:
    answers = []
    for row in rows:
        record = found.get((example.name, row.name))
        stems = heard(folder, example, row.name)
        if record is None or not stems:
            continue
        metrics = {source: {name: one[name] for name in SHOWN if name in one} for source, one in record.metrics.items()}
        note = f"{record.seconds_per_second:.2g} s per second" + (", best permutation" if record.permuted else "")
        sounds = {name: Sound(wave, example.sample_rate) for name, wave in stems.items()}
        answers.append(Answer(row.name, sounds, metrics, note))
    references = dict(zip(example.sources, example.references, strict=True))
    return Example(
        example.name,
        Sound(example.mixture, example.sample_rate),
        {name: Sound(wave, example.sample_rate) for name, wave in references.items()},
        answers,
    )


def audition(
    file: Path,
    rows: Sequence[Row],
    runner: Runner,
    folder: Path,
    *,
    k: int | None = None,
    sources: Sequence[str] | None = None,
    on_progress: Say = lambda *_: None,
) -> list[str]:
    """The same page for a recording nobody has the sources of: what every row makes of it, without figures.

    Args:
        file: the recording. rows: those that need true sources are left out.
        k: number of sources, which the priors choose. sources: or their names.
    Returns:
        Notes: rows that could not run, and why.
    Raises:
        GansepError: bad input, or no row could run.
    """
    _refuse_unwritable(folder)
    wave, rate = read(file)
    names = tuple(sources or runner.choose(wave, rate, k or 2))
    example = Mixture(file.name, names, wave[None].expand(len(names), -1, -1) / len(names), rate, file.name)
    answers, notes = [], [f"Sources: {', '.join(names)}" + ("" if sources else ", chosen among the installed priors.")]
    rows = [row for row in rows if not (row.bound or row.blind)]
    anchor: Mixture | None = None  # the first answer whose stems have the names
    for number, row in enumerate(rows):
        on_progress(number, len(rows), row.name)
        try:
            (stems,), cost = runner(row, [example])
        except ModelError as error:
            notes.append(f"{row.name} left out: {error}")
            continue
        runner.forget()
        note = f"{cost.seconds_per_second:.2g} s per second"
        if set(stems.sources) == set(names):
            anchor = anchor or Mixture(file.name, stems.sources, stems.waves, rate, "")
        elif anchor is not None:  # beside the named stem that each is most like
            stems = Stems(in_order(stems, anchor)[0], anchor.sources)
            note += ", no names"
        shown = {name: Sound(stem, rate) for name, stem in zip(stems.sources, stems.waves, strict=True)}
        answers.append(Answer(row.name, shown, {}, note))
    if not answers:
        raise GansepError("no back end could run: " + "; ".join(notes[1:]))
    on_progress(len(rows), len(rows), "page")
    write_page(
        folder / "index.html",
        f"What each back end makes of {file.name}",
        intro=notes,
        tables=[],
        figures={},
        examples=[Example(file.name, Sound(wave, rate), {}, answers)],
    )
    return notes

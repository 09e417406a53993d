"""Every row on the same mixtures: separate, measure, record; what is on record already is not done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from gansep.audio import read, write
from gansep.metrics import Projector, best_permutation, measure
from gansep.research.protocol import CONDITIONS, Mixture, mix
from gansep.research.records import Log, Record
from gansep.research.rows import Row
from gansep.research.running import Cost, Runner, Stems
from gansep.research.sources import Pool
from gansep.types import GansepError, ModelError

TOGETHER = 32.0  # seconds of mixtures that are separated by all rows before they are measured
SOUNDS = "sounds"


@dataclass(frozen=True)
class Comparison:
    """What is compared on what.

    Attributes:
        pools: recordings of each source. tasks: names of the sources mixed.
        rows: ways to separate. conditions: of :data:`gansep.research.protocol.CONDITIONS`.
        n: mixtures of a task and condition. limits: fewer for a row, a condition or a ``row/condition``.
        split, seed: of the mixtures. listen: mixtures of each task and condition whose stems are kept to listen to.
    """

    pools: Mapping[str, Pool]
    tasks: Mapping[str, Sequence[str]]
    rows: Sequence[Row]
    conditions: Sequence[str] = CONDITIONS
    n: int = 40
    limits: Mapping[str, int] = field(default_factory=dict)
    split: str = "valid"
    seed: int = 0
    listen: int = 1

    def count(self, row: Row, condition: str) -> int:
        names = (row.name, condition, f"{row.name}/{condition}")
        return min(self.n, *(self.limits.get(name, self.n) for name in names))

    def blocks(self) -> Iterator[tuple[str, str, range]]:
        """Task, condition and numbers of the mixtures that are handled together."""
        for condition in self.conditions:
            size = max(1, int(TOGETHER / {"paper": 1.024, "wild": 1.536, "sequence": 8.0}[condition]))
            most = max(self.count(row, condition) for row in self.rows)
            for task in self.tasks:
                for first in range(0, most, size):
                    yield task, condition, range(first, min(first + size, most))

    def total(self) -> int:
        """Mixtures times rows."""
        return len(self.tasks) * sum(self.count(row, condition) for row in self.rows for condition in self.conditions)


def compare(
    wanted: Comparison,
    runner: Runner,
    folder: Path,
    on_progress: Callable[[int, int, str], None] = lambda *_: None,
) -> tuple[list[Record], list[str]]:
    """Run a comparison, or what is left of it.

    Args:
        wanted: what. runner: with which models. folder: of the results; records in it are continued.
        on_progress: told ``(done, total, what)``.
    Returns:
        All records of the comparison, and a line for each row that could not run.
    Raises:
        GansepError: no row could run, or the folder cannot be written.
    """
    log = Log(folder)
    known = log.known
    ours: set[tuple[str, str, str, str]] = set()
    skipped: dict[str, str] = {}
    done = 0
    for task, condition, numbers in wanted.blocks():
        pools = [wanted.pools[name] for name in wanted.tasks[task]]
        examples = list(mix(pools, condition, wanted.split, numbers, wanted.seed))
        hashes = [example.sha256 for example in examples]
        made: list[_Done] = []
        for row in wanted.rows:
            mine = [i for i, number in enumerate(numbers) if number < wanted.count(row, condition)]
            try:
                models = runner.models(row, examples[0].sources)
                key = " ".join([row.backend, *(["raw"] if row.raw else []), *models])
                ids = {i: (examples[i].name, hashes[i], row.name, key) for i in mine}
                ours |= set(ids.values())
                todo = [i for i in mine if ids[i] not in known]
                if todo:
                    on_progress(done, wanted.total(), f"{task}, {condition}: {row.name}")
                    stems, cost = runner(row, [examples[i] for i in todo])
                    made.append(_Done(row, key, models, cost, dict(zip(todo, stems, strict=True))))
            except ModelError as error:
                skipped.setdefault(row.name, f"{row.name} left out for {task}: {error}")
            done += len(mine)
        runner.forget()
        for i, example in enumerate(examples):
            answers = [(one, one.stems[i]) for one in made if i in one.stems]
            keep = folder / SOUNDS if numbers[i] < wanted.listen else None
            log.add(_measured(example, hashes[i], task, condition, answers, keep))
        on_progress(done, wanted.total(), f"{task}, {condition}")
    records = [record for record in log.records if record.identity in ours]
    if not records:
        raise GansepError("no back end could run: " + "; ".join(skipped.values()))
    return records, list(skipped.values())


@dataclass(frozen=True)
class _Done:
    """What a row made of a block: stems by the mixture's place in it, and what a record says of how."""

    row: Row
    key: str
    models: Sequence[str]
    cost: Cost
    stems: Mapping[int, Stems]


def _measured(
    example: Mixture,
    sha256: str,
    task: str,
    condition: str,
    answers: Sequence[tuple[_Done, Stems]],
    keep: Path | None,
) -> Iterator[Record]:
    """Figures of every row for one mixture; its stems are written to ``keep`` first, if that is given."""
    if not answers:
        return
    projector = Projector(example.references.double())
    for done, stems in answers:
        waves, permuted = in_order(stems, example)
        if keep is not None:
            for source, wave in zip(example.sources, waves, strict=True):
                write(keep / example.name / done.row.name / f"{source}.wav", wave, example.sample_rate, "FLOAT")
        figures = measure(waves, example.references, example.mixture, projector=projector)
        metrics = {
            source: {name: float(values[i]) for name, values in figures.items()}
            for i, source in enumerate(example.sources)
        }
        yield Record(
            example.name,
            sha256,
            task,
            condition,
            example.group,
            done.row.name,
            done.key,
            metrics,
            permuted,
            round(done.cost.seconds_per_second, 5),
            round(done.cost.peak_gib, 4),
            done.models,
        )


def in_order(stems: Stems, example: Mixture) -> tuple[Tensor, bool]:
    """Stems ``[S, C, T]`` in the order of the references: by name, or else as they fit best (then True).

    A source that got no stem is silent; stems beyond the number of sources are left out.
    """
    if set(example.sources) == set(stems.sources):
        return torch.stack([stems.waves[stems.sources.index(name)] for name in example.sources]), False
    waves = stems.waves
    missing = max(0, len(example.sources) - len(waves))
    waves = torch.cat([waves, waves.new_zeros(missing, *waves.shape[1:])])
    order = best_permutation(waves.flatten(1), example.references.flatten(1))
    return waves[order], True


def heard(folder: Path, example: Mixture, row: str) -> dict[str, Tensor]:
    """Stems that were kept of a mixture, by source; none if the row did not run on it."""
    place = folder / SOUNDS / example.name / row
    if not place.is_dir():
        return {}
    return {name: read(place / f"{name}.wav")[0] for name in example.sources}

"""Comparisons on real clips: resumed without doing anything twice, the same as in one go, stems in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gansep.research.compare import Comparison, compare, heard, in_order
from gansep.research.protocol import Mixture, mix
from gansep.research.records import LOG, Log
from gansep.research.rows import Row, parse_rows
from gansep.research.running import Runner, Stems
from gansep.research.sources import pools_of
from gansep.types import GansepError

CLIPS = Path(__file__).resolve().parent.parent / "clips"
ROWS = parse_rows(["mixture", "silence", "oracle-wiener", "time-cut"])


@pytest.fixture
def wanted(tmp_path: Path) -> Comparison:
    for name in ("digits", "drums"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.flac").write_bytes((CLIPS / f"{name}.flac").read_bytes())
    pools = pools_of([tmp_path / "digits", tmp_path / "drums"])
    return Comparison(pools, {"digits-drums": ("digits", "drums")}, ROWS, ("wild",), n=3, limits={"time-cut": 1})


def test_known_rows(wanted: Comparison, tmp_path: Path) -> None:
    told = []
    records, notes = compare(wanted, Runner(), tmp_path / "out", lambda done, total, what: told.append((done, total)))
    assert notes == []
    by_row = {row.name: [record for record in records if record.row == row.name] for row in ROWS}
    assert {name: len(found) for name, found in by_row.items()} == {
        "mixture": 3,
        "silence": 3,
        "oracle-wiener": 3,
        "time-cut": 1,
    }
    assert all(abs(record.mean("si_sdr_improvement")) < 1e-6 for record in by_row["mixture"])
    assert all(record.mean("si_sdr_improvement") > 8 for record in by_row["oracle-wiener"])
    assert not by_row["oracle-wiener"][0].permuted
    assert by_row["time-cut"][0].permuted
    assert told[-1] == (10, 10)


def test_a_killed_run_goes_on(wanted: Comparison, tmp_path: Path) -> None:
    whole, _ = compare(wanted, Runner(), tmp_path / "whole")
    part = replace(wanted, n=1)
    compare(part, Runner(), tmp_path / "part")
    log = tmp_path / "part" / LOG
    log.write_bytes(log.read_bytes()[:-20])  # killed while it wrote
    before = {record.identity for record in Log(tmp_path / "part").records}
    called: list[tuple[str, list[str]]] = []

    class Counting(Runner):
        def __call__(self, row, examples):
            called.append((row.name, [example.name[-3:] for example in examples]))
            return super().__call__(row, examples)

    records, _ = compare(wanted, Counting(), tmp_path / "part")
    assert len(before) == 3
    lost = ({row.name for row in ROWS} - {identity[2] for identity in before}).pop()
    for row, numbers in called:
        assert numbers == (["000", "001", "002"] if row == lost else ["001", "002"])[: 1 if row == "time-cut" else 3]
    key = lambda record: (record.row, record.mixture)  # noqa: E731
    for one, other in zip(sorted(whole, key=key), sorted(records, key=key), strict=True):
        assert one.identity == other.identity
        assert one.metrics == other.metrics
    called.clear()
    compare(wanted, Counting(), tmp_path / "part")
    assert called == []


def test_other_mixtures_are_other_results(wanted: Comparison, tmp_path: Path) -> None:
    first, _ = compare(wanted, Runner(), tmp_path / "out")
    second, _ = compare(replace(wanted, seed=1), Runner(), tmp_path / "out")
    assert len(first) == len(second)
    assert not {one.identity for one in first} & {one.identity for one in second}


def test_stems_to_listen_to(wanted: Comparison, tmp_path: Path) -> None:
    compare(replace(wanted, listen=1), Runner(), tmp_path / "out")
    example, other = mix(list(wanted.pools.values()), "wild", "valid", [0, 1])
    stems = heard(tmp_path / "out", example, "mixture")
    assert list(stems) == ["digits", "drums"]
    for wave in stems.values():
        torch.testing.assert_close(wave, example.mixture)
    assert heard(tmp_path / "out", other, "mixture") == {}


def test_rows_that_cannot_run_are_left_out(wanted: Comparison, tmp_path: Path, nothing_packaged: None) -> None:
    rows = parse_rows(["gan-prior", "mixture"])
    records, notes = compare(replace(wanted, rows=rows, n=1), Runner(), tmp_path / "out")
    assert {record.row for record in records} == {"mixture"}
    assert len(notes) == 1
    assert notes[0].startswith("gan-prior left out for digits-drums: no gan model 'digits'")
    with pytest.raises(GansepError, match="no back end could run: gan-prior left out"):
        compare(replace(wanted, rows=rows[:1], n=1), Runner(), tmp_path / "none")


def test_order() -> None:
    references = torch.randn(2, 1, 4000, generator=torch.Generator().manual_seed(0))
    example = Mixture("x", ("a", "b"), references, 16000, "g")
    swapped = references.flip(0)
    waves, permuted = in_order(Stems(swapped, ("b", "a")), example)
    assert torch.equal(waves, references)
    assert not permuted
    for names, stems in (
        (("component-1", "component-2"), swapped),
        (("a", "c"), swapped),  # one of the names is wrong
        (("c", "d", "e"), torch.cat([swapped[:1], torch.randn(1, 1, 4000), swapped[1:]])),
    ):
        waves, permuted = in_order(Stems(stems, names), example)
        assert torch.equal(waves, references)
        assert permuted
    waves, permuted = in_order(Stems(references[1:], ("c",)), example)
    assert torch.equal(waves, torch.cat([torch.zeros(1, 1, 4000), references[1:]]))


def test_records_name_the_models_and_their_raw_sound_is_another_result(
    tmp_path: Path, tiny_library: Path, sound: Callable[..., Path]
) -> None:
    for name in ("tone", "hiss"):
        (tmp_path / name).mkdir()
        sound(f"{name}.wav", 12_000).rename(tmp_path / name / "one.wav")
    rows = [Row("refined", "gan-prior:quality=fast"), Row("raw", "gan-prior:quality=fast", raw=True)]
    pools = pools_of([tmp_path / "tone", tmp_path / "hiss"])
    wanted = Comparison(pools, {"tone-hiss": ("tone", "hiss")}, rows, ("paper",), n=1)
    (refined, raw), _ = compare(wanted, Runner(tiny_library), tmp_path / "out")
    assert [model.split()[0] for model in refined.models] == ["gan/tone", "gan/hiss"]
    assert raw.models == refined.models
    assert raw.key != refined.key
    assert raw.mean("si_sdr") < refined.mean("si_sdr")

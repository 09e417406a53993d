"""Results on disk: what is written is read again, half a line is forgiven, and readers get plain CSV and JSON."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from gansep.research.records import LOG, Log, Record, write_csv, write_json
from gansep.types import DataError, OutputError

FIGURES = {"digits": {"si_sdr": 3.25, "sir": math.nan}, "drums": {"si_sdr": 5.75, "sir": 9.0}}
RECORD = Record(
    "a-b-wild-000", "f00d", "a-b", "wild", "x+y", "nmf", "nmf nmf/a 12", FIGURES, False, 0.25, 1.5, ["nmf/a 12"]
)


def test_round_trip(tmp_path: Path) -> None:
    other = replace(RECORD, mixture="a-b-wild-001")
    Log(tmp_path / "out").add([RECORD, other])
    Log(tmp_path / "out").add([replace(RECORD, row="pca")])
    again = Log(tmp_path / "out")
    assert [record.identity for record in again.records] == [
        RECORD.identity,
        other.identity,
        replace(RECORD, row="pca").identity,
    ]
    first = again.records[0]
    assert math.isnan(first.metrics["digits"]["sir"])
    assert replace(first, metrics=RECORD.metrics) == RECORD
    assert RECORD.identity in again.known


def test_means_leave_silent_references_out() -> None:
    assert RECORD.mean("si_sdr") == 4.5
    assert RECORD.mean("sir") == 9.0
    assert math.isnan(RECORD.mean("unheard of"))


def test_a_killed_run_leaves_half_a_line(tmp_path: Path) -> None:
    Log(tmp_path).add([RECORD])
    whole = (tmp_path / LOG).read_bytes()
    (tmp_path / LOG).write_bytes(whole + whole[: len(whole) // 2])
    log = Log(tmp_path)
    assert len(log.records) == 1
    log.add([replace(RECORD, row="pca")])
    assert [record.row for record in Log(tmp_path).records] == ["nmf", "pca"]


def test_a_foreign_file(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text('{"hello": 1}\n')
    with pytest.raises(DataError, match=r"results.jsonl: line 1 is no result .*; remove the file or name another"):
        Log(tmp_path)


def test_for_readers(tmp_path: Path) -> None:
    write_csv(tmp_path / "r.csv", [RECORD])
    with (tmp_path / "r.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["source"], row["row"], row["si_sdr"], row["sir"]) for row in rows] == [
        ("digits", "nmf", "3.2500", ""),
        ("drums", "nmf", "5.7500", "9.0000"),
    ]
    write_json(tmp_path / "r.json", [RECORD], {"seed": 0})
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["about"] == {"seed": 0}
    assert content["results"][0]["metrics"] == {
        "digits": {"si_sdr": 3.25, "sir": None},
        "drums": {"si_sdr": 5.75, "sir": 9.0},
    }


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        Log(tmp_path / "file" / "out").add([RECORD])
    with pytest.raises(OutputError, match="choose another folder with -o"):
        write_csv(tmp_path / "file" / "out" / "r.csv", [RECORD])

"""Tables of records whose means, intervals and differences are known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gansep.research.records import Record
from gansep.research.tables import HEAD, by_task, cells, markdown, overview, summarise


def record(row: str, number: int, values: tuple[float, float], seconds: float = 0.5) -> Record:
    metrics = {
        source: {"si_sdr_improvement": value, "spectral_snr": 2 * value, "sir": math.nan}
        for source, value in zip(("a", "b"), values, strict=True)
    }
    name, group = f"a-b-wild-{number}", f"group {number // 2}"
    return Record(name, "", "a-b", "wild", group, row, row, metrics, row == "pca", seconds, 0.1 * number)


RECORDS = [record("nmf", i, (float(i), i + 2.0)) for i in range(4)]  # means 1, 2, 3, 4
RECORDS += [record("pca", i, (i + 3.0, i + 5.0), 20.0) for i in range(3)]  # three dB ahead


def test_known_figures() -> None:
    nmf, pca = summarise(RECORDS)
    assert (nmf.row, nmf.n, nmf.mean, nmf.median) == ("nmf", 4, 2.5, 2.5)
    assert (nmf.low, nmf.high) == (1.5, 3.5)  # two groups, whose means they are
    assert nmf.by_source == {"a": 1.5, "b": 3.5}
    assert (nmf.spectral_snr, nmf.seconds_per_second, nmf.permuted) == (5.0, 0.5, False)
    assert nmf.peak_gib == pytest.approx(0.3)
    assert math.isnan(nmf.sir)
    assert math.isnan(nmf.ahead)
    assert (pca.ahead, pca.ahead_low, pca.ahead_high) == (3.0, 3.0, 3.0)  # over the mixtures both have
    assert pca.p == 0.5  # two groups have four signs, two of which are as far from zero
    assert pca.permuted


def test_a_row_to_compare_with_that_is_not_there() -> None:
    assert all(math.isnan(line.ahead) for line in summarise(RECORDS, against="gan-prior"))


def test_text() -> None:
    lines = summarise(RECORDS)
    assert [line.row for line in by_task(lines)["wild", "a-b"]] == ["pca", "nmf"]  # the best first
    first = cells(lines[1])
    assert len(first) == len(HEAD)
    assert first[:4] == ["pca *", "3", "5.0 [4.5, 6.0]", "5.0"]
    assert first[6] == "20"
    assert first[8] == "+3.0 [+3.0, +3.0]"
    text = markdown(lines, "nmf", ["a note"])
    assert "### wild, a-b" in text
    assert "ahead of nmf [95 %]" in text
    assert text.endswith("- a note\n")
    detail = text[text.index("###") :]
    assert all(line.count("|") == len(HEAD) + 1 for line in detail.splitlines() if line.startswith("|"))


def test_overview() -> None:
    """Every task a column; a row that lacks one has no mean and comes last."""
    other = [replace(one, task="a-c") for one in RECORDS if one.row == "nmf"]
    ((head, rows),) = overview(summarise([*RECORDS, *other])).values()
    assert head == ["row", "a-b", "a-c", "mean", "s/s"]
    assert rows == [
        ["nmf", "2.5 [1.5, 3.5]", "2.5 [1.5, 3.5]", "2.5", "0.500"],
        ["pca *", "5.0 [4.5, 6.0]", "-", "-", "20"],
    ]

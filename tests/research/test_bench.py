"""A comparison's folder: every file is there, the page holds what was measured, and a recording gets one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from gansep.audio import write
from gansep.research.bench import STAR, audition, bench
from gansep.research.compare import Comparison
from gansep.research.rows import parse_rows
from gansep.research.running import Runner
from gansep.research.sources import pools_of
from gansep.types import GansepError, OutputError

CLIPS = Path(__file__).resolve().parent.parent / "clips"


@pytest.fixture
def wanted(tmp_path: Path) -> Comparison:
    folders = []
    for name in ("drums", "piano"):
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        (folders[-1] / "one.flac").write_bytes((CLIPS / f"{name}.flac").read_bytes())
    rows = parse_rows(["mixture", "time-cut", "oracle-wiener"])
    return Comparison(pools_of(folders), {"drums-piano": ("drums", "piano")}, rows, ("paper",), n=2)


def test_everything_is_written(wanted: Comparison, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines, notes = bench(wanted, Runner(), out, against="mixture")
    assert [line.row for line in lines] == ["mixture", "time-cut", "oracle-wiener"]
    assert STAR in notes
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * 2
    assert {row["source"] for row in rows} == {"drums", "piano"}
    content = json.loads((out / "results.json").read_text())
    assert content["about"]["rows"]["oracle-wiener"] == "oracle"
    by_csv = [float(row["si_sdr"]) for row in rows if row["row"] == "oracle-wiener"]
    by_json = [
        one["si_sdr"]
        for record in content["results"]
        if record["row"] == "oracle-wiener"
        for one in record["metrics"].values()
    ]
    assert by_csv == pytest.approx(by_json, abs=1e-4)
    assert "| oracle-wiener |" in (out / "summary.md").read_text()
    page = (out / "index.html").read_text()
    for said in ("oracle-wiener", "drums-piano-paper-000", "data:audio/"):
        assert said in page
    assert (out / "improvement-paper.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "cost.png").read_bytes().startswith(b"\x89PNG")


def test_a_recording_of_a_user(tmp_path: Path, tiny_library: Path) -> None:
    mix = tmp_path / "my <song>.wav"
    write(mix, 0.1 * torch.randn(2, 30_000, generator=torch.Generator().manual_seed(0)), 22_050)
    rows = parse_rows(["gan-prior-fast", "gan-prior-k", "fastica", "nmf", "oracle-wiener"])
    notes = audition(mix, rows, Runner(tiny_library), tmp_path / "out", sources=["hiss", "tone"])
    assert notes[0] == "Sources: hiss, tone"
    assert any(note.startswith("nmf left out: no nmf model 'hiss'") for note in notes)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "my &lt;song&gt;.wav" in page
    assert "fastica" in page
    assert "component-1" not in page  # its stems stand beside the named ones they are most like
    assert "oracle" not in page  # nobody knows the true sources
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="name another folder with -o"):
        audition(mix, rows, Runner(tiny_library), tmp_path / "file" / "out", sources=["hiss", "tone"])
    with pytest.raises(GansepError, match="no back end could run"):
        audition(mix, parse_rows(["nmf"]), Runner(tiny_library), tmp_path / "none", sources=["hiss", "tone"])

"""``gansep priors``: the list, a card and the check, against the folders themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gansep.cli import main
from gansep.library import Card, read_card, save_model
from gansep.library import search as search_module

MakePrior = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def nothing_packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_packaged", lambda: tmp_path / "packaged")


def test_list_as_table(tiny_library: Path, capsys: Capture) -> None:
    assert main(["priors", "--library", str(tiny_library)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "kind", "sources", "origin", "segment", "rate", "licence", "folder", "note"]
    folders = [str(tiny_library / "gan" / name) for name in ("hiss", "tone")]
    for line, name, folder in zip(lines[1:], ("hiss", "tone"), folders, strict=True):
        expected = [name, "gan", name, "--library", "16384", "samples", "16000", "Hz", "CC0-1.0", folder]
        assert line.split() == expected


def test_list_as_json_shows_origin_and_shadows(
    tiny_library: Path, tmp_path: Path, make_prior: MakePrior, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    make_prior(tmp_path / "env", "tone", seed=7)
    monkeypatch.setenv("GANSEP_LIBRARY", str(tmp_path / "env"))
    assert main(["priors", "list", "--json", "--library", str(tiny_library)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["origin"], row["shadowed"]) for row in rows] == [
        ("hiss", "--library", False),
        ("tone", "--library", False),
        ("tone", "$GANSEP_LIBRARY", True),
    ]
    assert rows[0]["segment"] == 16384
    assert (rows[0]["sources"], rows[0]["causal"]) == (["hiss"], False)
    assert rows[0]["folder"] == str(tiny_library / "gan" / "hiss")


def test_empty_and_broken(tmp_path: Path, make_prior: MakePrior, capsys: Capture) -> None:
    library = tmp_path / "library"
    library.mkdir()
    assert main(["priors", "--library", str(library)]) == 0
    assert "train-prior" in capsys.readouterr().out
    (make_prior(library, "tone") / "card.json").write_text("{")
    assert main(["priors", "--library", str(library)]) == 0
    assert "broken" in capsys.readouterr().out
    assert main(["priors", "--json", "--library", str(library)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["sources"], row["causal"], row["rate"]) == (None, None, None)


def test_networks_show_their_sources_and_whether_they_hear_ahead(tmp_path: Path, capsys: Capture) -> None:
    for name, causal in (("live", True), ("whole", False)):
        card = Card(name, {"causal": causal}, 8000, None, ("speech", "noise"), kind="mask")
        save_model(tmp_path / "mask" / name, {"weight": torch.zeros(1)}, card)
    assert main(["priors", "--library", str(tmp_path)]) == 0
    live, whole = (line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert live[:3] == ["live", "mask", "speech,noise"] and live[-1] == "causal"
    assert whole[:3] == ["whole", "mask", "speech,noise"] and "causal" not in whole
    assert main(["priors", "--json", "--library", str(tmp_path)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["sources"], row["causal"]) for row in rows] == [
        (["speech", "noise"], True),
        (["speech", "noise"], False),
    ]


def test_list_takes_no_names(capsys: Capture) -> None:
    assert main(["priors", "list", "tone"]) == 2
    assert "priors show" in capsys.readouterr().err
    assert main(["priors", "show"]) == 2
    assert "needs the name" in capsys.readouterr().err


def test_show(tiny_library: Path, tmp_path: Path, capsys: Capture) -> None:
    card = read_card(tiny_library / "gan" / "tone")
    assert main(["priors", "show", "tone", "--library", str(tiny_library)]) == 0
    said = capsys.readouterr().out
    for part in ("gan/tone", card.sha256, "CC0-1.0", "random weights", "2 points", "step 2, spectral 1.5"):
        assert part in said
    answer = tmp_path / "card.json"
    assert main(["priors", "show", "tone", "--json", "-o", str(answer), "--library", str(tiny_library)]) == 0
    (shown,) = json.loads(answer.read_text())
    assert shown["sha256"] == card.sha256
    assert shown["origin"] == "--library"
    assert len(shown["curve"]) == 2


def test_verify(tmp_path: Path, make_prior: MakePrior, capsys: Capture) -> None:
    make_prior(tmp_path, "tone")
    weights = make_prior(tmp_path, "hiss") / "weights.safetensors"
    library = ["--library", str(tmp_path)]
    assert main(["priors", "verify", *library]) == 0
    assert capsys.readouterr().out == "gan/hiss: ok\ngan/tone: ok\n"
    weights.write_bytes(weights.read_bytes()[:-4])
    assert main(["priors", "verify", *library]) == 1
    said = capsys.readouterr().out
    assert "gan/hiss: " in said
    assert "damaged or changed" in said
    assert "gan/tone: ok" in said
    assert main(["priors", "verify", "tone", *library]) == 0
    assert main(["priors", "verify", "hiss", "--json", *library]) == 1
    assert "damaged" in json.loads(capsys.readouterr().out.split("\n", 1)[1])[0]["problems"][0]

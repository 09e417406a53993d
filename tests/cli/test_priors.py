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


def test_show_counts_many_numbers(tmp_path: Path, capsys: Capture) -> None:
    """Those of a network's own config, and of one inside it; the JSON has them all."""
    mean = [0.5 * number - 3 for number in range(513)]
    config = {"mean": mean, "gains": list(range(8)), "listener": {"std": mean, "depth": 2}, "classes": ["a"] * 9}
    save_model(tmp_path / "mask" / "m", {"w": torch.zeros(1)}, Card("m", config, 8000, None, ("a", "b"), kind="mask"))
    assert main(["priors", "show", "mask/m", "--library", str(tmp_path)]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("config"))
    many, few, names = "[513 numbers, -3 to 253]", "0, 1, 2, 3, 4, 5, 6, 7", ", ".join("a" * 9)
    assert line.split(maxsplit=1)[1] == f"mean {many}, gains {few}, listener (std {many}, depth 2), classes {names}"
    assert main(["priors", "show", "mask/m", "--json", "--library", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)[0]["config"] == config


def test_priors_that_no_search_can_follow_are_marked(tmp_path: Path, capsys: Capture) -> None:
    for kind, domain in (("vae", "magnitude"), ("vae", "waveform"), ("autoencoder", "magnitude")):
        card = Card(domain, {"domain": domain}, 8000, 16384, (domain,), kind=kind)
        save_model(tmp_path / kind / domain, {"weight": torch.zeros(1)}, card)
    assert main(["priors", "--json", "--library", str(tmp_path)]) == 0
    notes = {f"{row['kind']}/{row['name']}": row["note"] for row in json.loads(capsys.readouterr().out)}
    assert notes == {"vae/magnitude": "synthesis only", "vae/waveform": "", "autoencoder/magnitude": ""}


@pytest.mark.parametrize("width", [110, 400])
def test_the_table_fits_a_terminal(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    names = tuple(f"speaker{number}" for number in range(30))
    save_model(tmp_path / "mask" / "m", {"w": torch.zeros(1)}, Card("m", {}, 8000, None, names, kind="mask"))
    list_them = ["priors", "--library", str(tmp_path)]
    assert main(list_them) == 0
    whole = capsys.readouterr().out
    assert ",".join(names) in whole and str(tmp_path) in whole
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(list_them) == 0
    (_, line) = capsys.readouterr().out.splitlines()
    assert width - 10 < len(line) <= width and ("…" in line) and line.endswith("mask/m")
    assert main([*list_them, "-o", str(tmp_path / "list.txt")]) == 0
    assert (tmp_path / "list.txt").read_text() == whole


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

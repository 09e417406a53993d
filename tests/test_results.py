"""A result on its way to disk: file names, the shared gain, and nothing lost or left behind when it fails."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gansep.audio import AudioInfo, StemWriter, read, write
from gansep.results import Layout, Result, Separation
from gansep.types import GansepError, OutputError

RATE = 16000


def noise(channels: int = 1, length: int = 3000, seed: int = 0) -> Tensor:
    return 0.4 * torch.randn(channels, length, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    return write(tmp_path / "mix.wav", noise(), RATE, "FLOAT")


def begin(mixture: Path, layout: Layout) -> Result:
    wave, rate = read(mixture)
    return Result(mixture, AudioInfo(rate, len(wave), wave.shape[1], "WAV", "FLOAT"), "mix", ("tone", "hiss"), layout)


def save(mixture: Path, layout: Layout, scale: float = 1.0) -> Separation:
    """Stems that are 0.5 and 0.2 of the mixture, written in two parts."""
    wave = read(mixture)[0] * scale
    with begin(mixture, layout) as result:
        for part in wave.split(2000, -1):
            result.add(torch.stack([0.5 * part, 0.2 * part]), part)
        return result.finish({"note": None}, {"total": [3.0, 2.0, 1.0]})


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may pass ``size`` bytes: writing more fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_stems_and_what_is_left(mixture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = save(mixture, Layout(out, float32=True, picture=False))
    assert sorted(tree(out)) == ["mix/hiss.wav", "mix/residual.wav", "mix/separation.json", "mix/tone.wav"]
    wave = read(mixture)[0]
    for path, share in ((done.stems["tone"], 0.5), (done.stems["hiss"], 0.2), (done.residual, 0.3)):
        torch.testing.assert_close(read(path)[0], share * wave, atol=1e-6, rtol=0)
    assert done.picture is None
    report = json.loads((out / "mix" / "separation.json").read_text())
    assert report == done.report
    assert report["output_gain"] == 1.0
    assert report["files"] == {"tone": "tone.wav", "hiss": "hiss.wav", "residual": "residual.wav"}
    assert not list(out.glob(".gansep-*"))


@pytest.mark.parametrize(("float32", "clips"), [(False, True), (True, False)])
def test_one_gain_for_all_where_pcm_would_clip(mixture: Path, tmp_path: Path, float32: bool, clips: bool) -> None:
    done = save(mixture, Layout(tmp_path / "out", float32=float32, picture=False), scale=5.0)
    gain = done.report["output_gain"]
    loudest = 0.5 * 5 * float(read(mixture)[0].abs().max())
    assert loudest > 1
    assert gain == (pytest.approx(1 / loudest, rel=1e-5) if clips else 1.0)
    total = sum(read(path)[0] for path in (*done.stems.values(), done.residual))
    torch.testing.assert_close(total, 5 * gain * read(mixture)[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("template", "stem", "report"),
    [
        ("{mix}/{source}.{ext}", "mix/tone.wav", "mix/separation.json"),
        ("{mix}-{source}.{ext}", "mix-tone.wav", "mix-separation.json"),
        ("{source}/{mix}.{ext}", "tone/mix.wav", "separation/mix.json"),
        ("{ext}/{source}-{mix}.{ext}", "wav/tone-mix.wav", "json/separation-mix.json"),
        ("{mix}/{source}.wav", "mix/tone.wav", "mix/separation.json"),
        ("{mix}/{source}", "mix/tone.wav", "mix/separation.json"),
        ("{mix}.{source}", "mix.tone.wav", "mix.separation.json"),
    ],
)
def test_templates(mixture: Path, tmp_path: Path, template: str, stem: str, report: str) -> None:
    out = tmp_path / "out"
    done = save(mixture, Layout(out, template))
    assert done.stems["tone"] == out / stem
    assert done.picture == out / report.replace("json", "png")
    assert len(tree(out)) == 5
    assert json.loads((out / report).read_text())["output_gain"] == 1.0
    assert not list(out.glob(".gansep-*"))


@pytest.mark.parametrize(
    "template",
    [
        "{mix}.{ext}",
        "{source}.{ext}",
        "",
        "stem.wav",
        "../{mix}/{source}.wav",
        "/tmp/{mix}/{source}.wav",
        "{mix}/{source}/{stem}.wav",
        "{mix}/{source}/{",
        "{mix}/{source}/{}",
        "{mix.name}/{source}",
        "{mix[a]}/{source}",
    ],
)
def test_bad_templates(template: str) -> None:
    with pytest.raises(GansepError, match=r"must be a relative path with \{mix\} and \{source\}"):
        Layout(template=template)


def test_bad_formats() -> None:
    with pytest.raises(GansepError, match="unknown format 'mp3'"):
        Layout(format="mp3")
    with pytest.raises(GansepError, match="flac has no float samples"):
        Layout(format="flac", float32=True)


@pytest.mark.parametrize("there", ["mix/hiss.wav", "mix/residual.wav", "mix/separation.json", "mix/separation.png"])
def test_existing_results_are_refused_or_replaced(mixture: Path, tmp_path: Path, there: str) -> None:
    out = tmp_path / "out"
    (out / there).parent.mkdir(parents=True)
    (out / there).write_bytes(b"precious")
    with pytest.raises(OutputError, match=f"{there} exists already; use --overwrite"):
        begin(mixture, Layout(out))
    assert tree(out) == {there: b"precious"}
    save(mixture, Layout(out, overwrite=True))
    assert len(tree(out)) == 5
    assert (out / there).read_bytes() != b"precious"


def test_a_result_that_is_not_finished_vanishes(mixture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt), begin(mixture, Layout(out)) as result:
        result.add(noise(2)[:, None], noise(1))
        assert len(list(out.glob(".gansep-*"))) == 1
        raise KeyboardInterrupt
    assert list(out.iterdir()) == []


def test_output_folder_is_a_file(mixture: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"cannot write to .*out"):
        begin(mixture, Layout(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"precious"


@pytest.mark.parametrize("place", ["mix", "mix/tone.wav/keep", "mix/separation.png/keep"])
def test_something_else_in_the_place_of_a_result(mixture: Path, tmp_path: Path, place: str) -> None:
    out = tmp_path / "out"
    (out / place).parent.mkdir(parents=True)
    (out / place).write_bytes(b"precious")
    with pytest.raises(OutputError, match="cannot be written"):
        save(mixture, Layout(out, overwrite=True))
    assert tree(out) == {place: b"precious"}  # not even the stems that had nothing in their way
    assert not list(out.glob(".gansep-*"))


@pytest.mark.parametrize("size", [0, 1000, 20_000])
def test_full_disk(mixture: Path, tmp_path: Path, size: int) -> None:
    """No room for a header, for the stems, or for the picture after them."""
    out = tmp_path / "out"
    save(mixture, Layout(out))
    before = tree(out)
    with largest_file(size), pytest.raises(OutputError, match="cannot be written") as caught:
        save(mixture, Layout(out, overwrite=True), scale=0.5)
    assert "\n" not in str(caught.value)
    assert tree(out) == before
    assert not list(out.glob(".gansep-*"))


@pytest.mark.parametrize("channels", [8, 9])
def test_flac_holds_eight_channels(tmp_path: Path, channels: int) -> None:
    """More are refused before anything is made, let alone separated."""
    mixture, layout = (
        write(tmp_path / "mix.wav", noise(channels), RATE, "FLOAT"),
        Layout(tmp_path / "out", format="flac"),
    )
    if channels == 8:
        assert read(save(mixture, layout).residual)[0].shape == (8, 3000)
    else:
        with pytest.raises(OutputError, match=r"mix.wav: flac holds at most 8 channels, got 9; use --format wav"):
            begin(mixture, layout)
        assert not layout.out.exists()
        assert read(save(mixture, Layout(layout.out)).residual)[0].shape == (9, 3000)


def test_a_stem_that_cannot_begin_leaves_no_folder(
    mixture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    create: Callable[..., None] = StemWriter.__init__

    def third_fails(self: StemWriter, *arguments: object) -> None:
        begun.append(1)
        if len(begun) == 3:
            raise OutputError("no room")
        create(self, *arguments)

    monkeypatch.setattr(StemWriter, "__init__", third_fails)
    with pytest.raises(OutputError, match="no room"):
        begin(mixture, Layout(tmp_path / "out"))
    assert os.listdir(tmp_path / "out") == []

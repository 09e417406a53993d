"""Files in, results out: the sum of stems, what is shared between files, the report, what is left when it ends."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

import gansep
from gansep import library, planning
from gansep.audio import read
from gansep.backends.choice import Choice
from gansep.backends.gan_prior import GanPrior, recipe_for
from gansep.library import prior as prior_module
from gansep.library import read_card
from gansep.planning import OVERLAPS, Request
from gansep.refine import Refinement
from gansep.results import Layout, Separation
from gansep.separate import separate_file, separate_files
from gansep.types import Estimates, GansepError, OutputError

MakePrior = Callable[..., Path]
MakeFile = Callable[..., Path]
BOTH = ["tone", "hiss"]
pytestmark = pytest.mark.usefixtures("nothing_packaged")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Models loaded, and the number of windows of each call of the separator."""
    heard: dict[str, list[Any]] = {"loaded": [], "windows": []}
    load, call = prior_module.load_prior, GanPrior.__call__

    def counting_load(reference: Any, *arguments: Any, **named: Any) -> Any:
        prior = load(reference, *arguments, **named)
        heard["loaded"].append(prior.name)
        return prior

    def counting_call(self: GanPrior, mixture: Tensor) -> Estimates:
        heard["windows"].append(len(mixture))
        return call(self, mixture)

    for place in (library, prior_module):  # by name, and all that are installed
        monkeypatch.setattr(place, "load_prior", counting_load)
    monkeypatch.setattr(GanPrior, "__call__", counting_call)
    return heard


def total(done: Separation) -> Tensor:
    return sum((read(path)[0] for path in (*done.stems.values(), done.residual)), torch.zeros(()))


def check_sum(done: Separation, path: Path) -> None:
    """Stems and residual are the mixture, to the sample, at its rate, times the one gain."""
    mixture, rate = read(path)
    for stem in (*done.stems.values(), done.residual):
        wave, own_rate = read(stem)
        assert (wave.shape, own_rate) == (mixture.shape, rate)
        whole = done.report["output_gain"] == 1 < mixture.max()  # louder than PCM can be
        assert soundfile.info(stem).subtype == ("FLOAT" if whole else "PCM_24")
    torch.testing.assert_close(total(done), done.report["output_gain"] * mixture, atol=1e-4, rtol=0)


# -- the sum -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "channels", "subtype", "frames"),
    [
        (8000, 1, "PCM_16", 20_001),
        (22050, 2, "PCM_24", 30_000),
        (44100, 8, "PCM_16", 50_001),
        (44100, 2, "FLOAT", 45_159),  # a window, less a sample
        (96000, 1, "PCM_24", 98_305),  # a window and a sample
        (16000, 2, "PCM_U8", 16_384),
        (16000, 1, "PCM_32", 1),
        (44100, 2, "PCM_16", 1),
        (96000, 1, "FLOAT", 2),
        (8000, 8, "PCM_16", 37),
    ],
)
@pytest.mark.parametrize("raw", [False, True])
def test_stems_and_residual_are_the_mixture(
    sound: MakeFile,
    tmp_path: Path,
    fast: dict[str, Any],
    rate: int,
    channels: int,
    subtype: str,
    frames: int,
    raw: bool,
) -> None:
    path = sound("mix.wav", frames, rate, channels, subtype=subtype)
    done = separate_file(path, tmp_path / "out", sources=BOTH, raw=raw, layout=Layout(picture=frames == 1), **fast)
    check_sum(done, path)
    assert list(done.stems) == BOTH
    assert done.report["frames"] == frames
    assert done.report["channels"] == channels
    assert (done.picture is not None) == (frames == 1)


@pytest.mark.parametrize("float32", [False, True])
def test_peaks_above_one_share_a_gain(sound: MakeFile, tmp_path: Path, fast: dict[str, Any], float32: bool) -> None:
    path = sound("loud.wav", 20_000, 44100, 2, peak=5.0, subtype="FLOAT")
    done = separate_file(path, tmp_path / "out", sources=BOTH, layout=Layout(float32=float32, picture=False), **fast)
    check_sum(done, path)
    highest = max(float(read(stem)[0].abs().max()) for stem in (*done.stems.values(), done.residual))
    if float32:
        assert done.report["output_gain"] == 1.0
        assert highest > 1
    else:
        assert 0.2 < done.report["output_gain"] < 1
        assert highest == pytest.approx(1.0, abs=1e-6)  # as loud as fits


def test_flac(sound: MakeFile, tmp_path: Path, fast: dict[str, Any]) -> None:
    path = sound("mix.wav", 5000, 44100, 2)
    done = separate_file(path, tmp_path, sources=BOTH, layout=Layout(format="flac", picture=False), **fast)
    assert done.stems["tone"] == tmp_path / "mix" / "tone.flac"
    assert soundfile.info(done.residual).format == "FLAC"
    check_sum(done, path)


def test_raw_is_what_the_generators_play(sound: MakeFile, tmp_path: Path, fast: dict[str, Any]) -> None:
    """One window at the prior's own rate: the stems are the separator's waveforms, in both channels."""
    path = sound("mix.wav", 16384, 16000, 2)
    done = separate_file(path, tmp_path, sources=BOTH, raw=True, layout=Layout(float32=True, picture=False), **fast)
    separator = gansep.load_separator(sources=BOTH, library=fast["library"], recipe=recipe_for(quality="fast"))
    waves = separator(read(path)[0].mean(0, keepdim=True)).waves[0]
    for source, wave in zip(BOTH, waves, strict=True):
        torch.testing.assert_close(read(done.stems[source])[0], wave.expand(2, -1), atol=1e-5, rtol=1e-4)


def test_masks_keep_what_raw_does_not(sound: MakeFile, tmp_path: Path, fast: dict[str, Any]) -> None:
    """The default gives the sources all of the mixture; raw leaves most of it to the residual of these priors."""
    path = sound("mix.wav", 16384)
    left = {}
    for raw in (False, True):
        layout = Layout(float32=True, picture=False)
        done = separate_file(path, tmp_path / str(raw), sources=BOTH, raw=raw, layout=layout, **fast)
        left[raw] = float(read(done.residual)[0].square().mean() / read(path)[0].square().mean())
    assert left[False] < 1e-6
    assert left[True] > 0.1


def test_silence(sound: MakeFile, tmp_path: Path, fast: dict[str, Any]) -> None:
    path = sound("zeros.wav", 20_000, 44100, 2, peak=0.0)
    for wanted in ({"k": 2}, {"sources": BOTH}, {"sources": BOTH, "raw": True}):
        done = separate_file(path, tmp_path / "out", layout=Layout(overwrite=True), **wanted, **fast)
        assert done.report["note"] == "the input is silent, and so are the stems"
        assert done.report["explained"] is None
        for stem in (*done.stems.values(), done.residual):
            wave = read(stem)[0]
            assert wave.shape == (2, 20_000)
            assert wave.abs().max() == 0


@pytest.mark.parametrize(
    ("frames", "peak"),
    [(1, 0.001), (200_000, 0.0001), (30, 0.0001)],
)
def test_quiet_is_not_silent(sound: MakeFile, tmp_path: Path, fast: dict[str, Any], frames: int, peak: float) -> None:
    """Neither a quiet long recording nor a short one, whatever its mean power over a window is."""
    path = sound("quiet.wav", frames, peak=peak, subtype="FLOAT")
    done = separate_file(path, tmp_path, sources=BOTH, layout=Layout(picture=False), **fast)
    assert done.report["note"] is None
    assert 0 <= done.report["explained"] <= 1


def test_sound_above_the_priors_band_is_not_silent(tmp_path: Path, fast: dict[str, Any]) -> None:
    path = tmp_path / "whistle.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 15_000 * np.arange(44_100) / 44_100), 44_100)
    done = separate_file(path, tmp_path / "out", sources=BOTH, layout=Layout(picture=False), **fast)
    check_sum(done, path)
    assert done.report["note"] is None


# -- many files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [{"sources": BOTH}, {"k": 2}])
def test_files_share_models_and_batches(
    sound: MakeFile, tmp_path: Path, fast: dict[str, Any], calls: dict[str, list[Any]], wanted: dict[str, Any]
) -> None:
    files = [sound(f"{number}.wav", 16_384 + 8192 * (number % 2), seed=3) for number in range(6)]
    told: list[tuple[int, int]] = []
    monitor = lambda done, whole: told.append((done, whole))  # noqa: E731
    layout = Layout(tmp_path / "out", picture=False)
    outcome = separate_files(files, Request(**wanted, **fast, batch=4), layout, monitor)
    assert sorted(calls["loaded"]) == sorted(BOTH)
    assert [done.input for done in outcome.done] == files
    assert outcome.failed == []
    separating = calls["windows"][2 * len(files) * ("k" in wanted) :]  # a choice asks both priors about each file
    assert separating == [4, 4, 1]  # 3 files of one window, 3 of two
    assert told == [(number, 9) for number in range(1, 10)]
    for done, path in zip(outcome.done, files, strict=True):
        check_sum(done, path)


def test_a_file_does_not_depend_on_its_company(sound: MakeFile, tmp_path: Path, fast: dict[str, Any]) -> None:
    files = [sound(f"{number}.wav", 20_000, seed=number) for number in range(3)]
    together = separate_files(files, Request(sources=BOTH, **fast), Layout(tmp_path / "a", picture=False)).done[1]
    alone = separate_file(files[1], tmp_path / "b", sources=BOTH, layout=Layout(picture=False), **fast)
    for source in BOTH:
        torch.testing.assert_close(read(together.stems[source])[0], read(alone.stems[source])[0], atol=1e-4, rtol=0)


def test_same_seed_same_bytes(sound: MakeFile, tmp_path: Path, tiny_library: Path) -> None:
    path = sound("mix.wav", 9000, 22050, 2)
    wanted: dict[str, Any] = {"sources": BOTH, "steps": 1, "restarts": 3, "library": tiny_library, "raw": True}
    contents = []
    for number, seed in enumerate((5, 5, 6)):
        out = tmp_path / str(number)
        done = separate_file(path, out, seed=seed, layout=Layout(picture=False, float32=True), **wanted)
        contents.append([stem.read_bytes() for stem in (*done.stems.values(), done.residual)])
        assert done.report["settings"]["recipe"]["seed"] == seed
    assert contents[0] == contents[1]


def test_two_inputs_of_one_name(sound: MakeFile, tmp_path: Path, fast: dict[str, Any]) -> None:
    files = [sound("a/mix.wav", seed=1), sound("b/mix.wav", seed=2)]
    outcome = separate_files(files, Request(sources=BOTH, **fast), Layout(tmp_path / "out", picture=False))
    assert [done.residual.parent.name for done in outcome.done] == ["mix", "mix-2"]
    for done, path in zip(outcome.done, files, strict=True):
        check_sum(done, path)


# -- the report --------------------------------------------------------------------------------------------------------


def test_report(sound: MakeFile, tmp_path: Path, fast: dict[str, Any]) -> None:
    path = sound("mix.flac", 20_000, 22050, 2)
    done = separate_file(path, tmp_path, k=2, seed=7, **fast)
    report = done.report
    assert report["input"] == "mix.flac"
    assert report["input_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (report["sample_rate"], report["channels"], report["frames"]) == (22050, 2, 20_000)
    assert set(report["sources"]) == set(BOTH) == set(report["scores"])
    for name, source in report["sources"].items():
        assert source["model"] == f"gan/{name}"
        assert source["sha256"] == read_card(fast["library"] / "gan" / name).sha256
        assert source["confidence"] is None  # both installed priors are needed, none was left out
    assert sum(source["share_of_power"] for source in report["sources"].values()) == pytest.approx(1, abs=1e-3)
    assert report["versions"] == {
        "gansep": gansep.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    assert report["settings"]["recipe"]["seed"] == 7
    assert report["settings"]["refinement"] == asdict(Refinement())
    assert report["settings"]["overlap"] == OVERLAPS[report["settings"]["quality"]]
    assert report["settings"]["recipe"]["settings"]["steps"] == 0
    assert report["seconds"] > 0
    assert done.picture == tmp_path / "mix" / "separation.png"
    content = done.picture.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(content) > 20_000


def test_how_sure_it_is_of_a_window(sound: MakeFile, tmp_path: Path, fast: dict[str, Any]) -> None:
    """One window at the priors' rate: the energies that the separator expects to be right and wrong, in dB."""
    path = sound("mix.wav", 16_384)
    report = separate_file(path, tmp_path / "out", sources=BOTH, layout=Layout(picture=False), **fast).report
    separator = gansep.load_separator(sources=BOTH, library=fast["library"], recipe=recipe_for(quality="fast"))
    stats = separator(read(path)[0]).stats
    expected = (10 * (stats["sure"] / stats["unsure"]).log10())[0].tolist()
    assert expected[0] != pytest.approx(expected[1], abs=0.2)
    for name, decibels in zip(BOTH, expected, strict=True):
        assert report["windows"]["expected_si_sdr_db"][name] == [pytest.approx(decibels, abs=0.06)]
        assert report["sources"][name]["expected_si_sdr_db"] == pytest.approx(decibels, abs=0.06)
    assert report["windows"]["seconds"] == report["windows"]["hop_seconds"] * 2 == 1.024
    assert report["windows"]["failed"] == ([0] if stats["failed"].item() else [])


def test_windows_are_told_apart(
    sound: MakeFile, tmp_path: Path, fast: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files of 5 and 2 windows in batches of 4, every one with energies of its own; the second one is lost."""
    right, call, count = torch.tensor([1e5, 1.0, 10.0, 1e-9, 100.0, 1.0, 10.0]), GanPrior.__call__, [0]

    def told(self: GanPrior, mixture: Tensor) -> Estimates:
        found, number = call(self, mixture), count[0] + torch.arange(len(mixture))
        count[0] += len(mixture)
        sure = torch.stack([right[number], torch.full((len(number),), 4.0)], 1)
        energies = {"sure": sure, "unsure": torch.ones_like(sure), "failed": number == 1}
        return replace(found, stats=dict(found.stats) | energies)

    monkeypatch.setattr(GanPrior, "__call__", told)
    files = [sound("a.wav", 3 * 44_100, 44_100), sound("b.wav", 24_000)]
    request = Request(sources=BOTH, batch=4, **fast)
    first, second = (one.report for one in separate_files(files, request, Layout(tmp_path / "out", picture=False)).done)
    assert first["windows"] == {
        "seconds": 1.024,
        "hop_seconds": 0.512,
        "expected_si_sdr_db": {"tone": [50.0, 0.0, 10.0, -30.0, 20.0], "hiss": [6.0] * 5},
        "failed": [1],
    }
    assert second["windows"]["expected_si_sdr_db"] == {"tone": [0.0, 10.0], "hiss": [6.0, 6.0]}
    assert second["windows"]["failed"] == []
    expected = [one["sources"][name]["expected_si_sdr_db"] for one in (first, second) for name in BOTH]
    assert expected == [43.0, 6.0, 7.4, 6.0]  # 10 log10(100111 / 5), of 11 / 2


def test_of_silence_and_of_other_back_ends_nothing_is_expected(
    sound: MakeFile, tmp_path: Path, fast: dict[str, Any]
) -> None:
    silent = separate_file(sound("zeros.wav", peak=0.0), tmp_path / "a", sources=BOTH, **fast)
    other = separate_file(sound("mix.wav"), tmp_path / "b", k=2, backend="time-cut")
    for done in (silent, other):
        assert done.report["windows"] is None
        assert [source["expected_si_sdr_db"] for source in done.report["sources"].values()] == [None, None]


def test_max_seconds_ends_the_search(sound: MakeFile, tmp_path: Path, tiny_library: Path) -> None:
    done = separate_file(
        sound("mix.wav", 16_384), tmp_path, sources=BOTH, steps=100_000, max_seconds=0.3, library=tiny_library
    )
    assert done.report["seconds"] < 60
    assert done.report["settings"]["recipe"]["settings"]["seconds"] == pytest.approx(0.3)


def test_max_seconds_is_shared_out_over_groups(
    sound: MakeFile, tmp_path: Path, fast: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By windows, then by calls of the separator: 40 s are 10 s for one window, 30 s for three in two batches."""
    chosen = iter((0, 1))
    monkeypatch.setattr(planning, "choose", lambda priors, *_: Choice((priors[next(chosen)],), {}, {"tone": 1.0}))
    files = [sound("short.wav", 16_384), sound("long.wav", 32_768)]
    request = Request(k=1, max_seconds=40.0, batch=2, **fast)
    done = separate_files(files, request, Layout(tmp_path / "out", picture=False)).done
    assert [list(one.stems) for one in done] == [["hiss"], ["tone"]]
    assert [one.report["settings"]["recipe"]["settings"]["seconds"] for one in done] == [10.0, 15.0]


# -- output that cannot be, and interruption ---------------------------------------------------------------------------


def test_existing_results_are_kept(sound: MakeFile, tmp_path: Path, fast: dict[str, Any]) -> None:
    files = [sound("a.wav", seed=1), sound("b.wav", seed=2)]
    out = tmp_path / "out"
    layout = Layout(out, picture=False)
    first = separate_file(files[0], out, sources=BOTH, layout=layout, **fast)
    before = {file: file.read_bytes() for file in first.residual.parent.iterdir()}
    outcome = separate_files(files, Request(sources=BOTH, raw=True, **fast), layout)
    assert [done.input.name for done in outcome.done] == ["b.wav"]
    ((path, error),) = outcome.failed
    assert path == files[0]
    assert isinstance(error, OutputError)
    assert "exists already; use --overwrite" in str(error)
    assert {file: file.read_bytes() for file in first.residual.parent.iterdir()} == before
    again = separate_file(files[0], out, sources=BOTH, raw=True, layout=Layout(overwrite=True, picture=False), **fast)
    assert again.residual.read_bytes() != before[first.residual]
    check_sum(again, files[0])
    assert sorted(folder.name for folder in out.iterdir()) == ["a", "b"]


def test_output_folder_that_cannot_be(sound: MakeFile, tmp_path: Path, fast: dict[str, Any]) -> None:
    (tmp_path / "file").write_bytes(b"precious")
    with pytest.raises(OutputError, match="cannot write to"):
        separate_file(sound("mix.wav"), tmp_path / "file" / "out", sources=BOTH, **fast)
    assert (tmp_path / "file").read_bytes() == b"precious"


def test_ctrl_c_in_the_second_file(
    sound: MakeFile, tmp_path: Path, fast: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [sound("first.wav", 9000), sound("second.wav", 16_000 * 10)]
    call, count = GanPrior.__call__, [0]

    def interrupted(self: GanPrior, mixture: Tensor) -> Estimates:
        count[0] += 1
        if count[0] == 2:
            raise KeyboardInterrupt
        return call(self, mixture)

    monkeypatch.setattr(GanPrior, "__call__", interrupted)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        separate_files(files, Request(sources=BOTH, batch=4, **fast), Layout(out))
    assert [folder.name for folder in out.iterdir()] == ["first"]
    assert len(list((out / "first").iterdir())) == 5
    total = sum(read(out / "first" / f"{name}.wav")[0] for name in (*BOTH, "residual"))
    torch.testing.assert_close(total, read(files[0])[0], atol=1e-4, rtol=0)


# -- other back ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["nmf:iterations=5", "fastica", "time-cut", "silence"])
def test_other_back_ends(sound: MakeFile, tmp_path: Path, backend: str) -> None:
    """Stems and residual are the mixture, whoever made them; what has no models names none and is not sure."""
    path = sound("mix.wav", 30_000, 22_050, 2)
    done = separate_file(path, tmp_path / "out", k=2, backend=backend, layout=Layout(picture=False))
    check_sum(done, path)
    assert list(done.stems) == ["component-1", "component-2"]
    assert done.report["settings"]["backend"] == backend
    assert done.report["sources"]["component-1"]["model"] is None
    assert done.report["explained"] is None


def test_oracle(sound: MakeFile, tmp_path: Path) -> None:
    """The true sources are files; what a long recording's masks let through is them, not the other."""
    low = (np.sin(2 * np.pi * 300 * np.arange(250_000) / 16_000) * 0.3).astype(np.float32)
    high = (np.sin(2 * np.pi * 3_000 * np.arange(250_000) / 16_000) * 0.3).astype(np.float32)
    for name, wave in (("low", low), ("high", high), ("mix", low + high)):
        soundfile.write(tmp_path / f"{name}.wav", wave, 16_000, "FLOAT")
    files = [tmp_path / "low.wav", tmp_path / "high.wav"]
    wanted: dict[str, Any] = {"backend": "oracle", "layout": Layout(picture=False)}
    done = separate_file(tmp_path / "mix.wav", tmp_path / "out", references=files, **wanted)
    check_sum(done, tmp_path / "mix.wav")
    for name, truth in (("low", low), ("high", high)):
        error = read(done.stems[name])[0][0] - torch.from_numpy(truth)
        assert error.square().sum() < 1e-3 * float((truth**2).sum())
    with pytest.raises(GansepError, match=r"needs the true sources, as --references"):
        separate_file(tmp_path / "mix.wav", tmp_path / "none", **wanted)
    with pytest.raises(GansepError, match=r"references must fit their mixture"):
        separate_file(sound("short.wav"), tmp_path / "none", references=files, **wanted)
    with pytest.raises(GansepError, match=r"--references are for --backend oracle"):
        separate_file(tmp_path / "mix.wav", tmp_path / "none", references=files, k=2)


def test_what_only_the_search_knows(sound: MakeFile, tmp_path: Path) -> None:
    for wrong, said in (
        ({"steps": 3}, "--steps: of the search only, not of --backend pca"),
        ({"quality": "fast"}, "--quality: of the search only"),
        ({"sources": ["a", "b"], "k": None}, "pca cannot know sources by name"),
    ):
        with pytest.raises(GansepError, match=said):
            separate_file(sound("mix.wav"), tmp_path, **({"k": 2, "backend": "pca"} | wrong))


def test_options_of_the_search(sound: MakeFile, tmp_path: Path, tiny_library: Path) -> None:
    """Said with the back end or as flags, they are the same."""
    path, how = sound("mix.wav"), {"sources": BOTH, "library": tiny_library, "layout": Layout(picture=False)}
    with_flags = separate_file(path, tmp_path / "a", steps=2, seed=1, **how)
    with_text = separate_file(path, tmp_path / "b", backend="gan-prior:steps=2,seed=1", **how)
    for source in BOTH:
        assert with_flags.stems[source].read_bytes() == with_text.stems[source].read_bytes()
    with pytest.raises(GansepError, match="gan-prior has no such option"):
        separate_file(path, tmp_path / "c", backend="gan-prior:speed=2", **how)

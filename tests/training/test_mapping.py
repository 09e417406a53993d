"""What mappings learn: each loss against its formula, that they do learn, and from folders to a card and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from gansep.dsp.stft import stft
from gansep.library import load_separation, read_card
from gansep.nets.mapping import SpectralMapping, WaveformConfig, WaveformMapping
from gansep.nets.spectral import FEATURES, Memory, NetConfig
from gansep.training.data import Augmentation, load_clips
from gansep.training.loop import Progress
from gansep.training.mapping import SPECTRAL_LOSSES, WAVEFORM_LOSSES, SpectralMappingTask, WaveformMappingTask
from gansep.training.mixing import Mixing, draw_parts
from gansep.training.separators import LEVEL, LEVEL_OF_WAVES, SeparatorSettings, train_mapping, with_statistics
from gansep.training.session import Paths
from gansep.training.supervised import SupervisedTraining
from gansep.types import DataError, GansepError, ModelError, OutputError

RATE = 8000
CONFIG = NetConfig(2, "tfconv", 16, 2, 128, 64, RATE)
DROPPED = replace(CONFIG, network="dnn", dropout=0.0, edges="drop")
WAVES = WaveformConfig(2, 8, 3, sample_rate=RATE)
LENGTH = 2000
DOMAINS: dict[str, NetConfig | WaveformConfig] = {"spectral": CONFIG, "waveform": WAVES}
PLAIN = Augmentation(again=0.0, speed=0.0, tilt_db=0.0)


class Fixed(nn.Module):
    """A trunk that answers the same whatever it hears."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, heard: Tensor, _: Memory | None) -> Tensor:
        return self.answer


class Shares(WaveformMapping):
    """Sources that are constant shares of the mixture."""

    def __init__(self, *shares: float) -> None:
        super().__init__(WAVES)
        self.shares = torch.tensor(shares)[:, None]

    def forward(self, mixture: Tensor) -> Tensor:
        return self.shares * mixture[:, None]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spectral(loss: str = "mae", config: NetConfig = CONFIG) -> SpectralMappingTask:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SpectralMappingTask(SpectralMapping(config), loss)


def waveform(loss: str = "snr", config: WaveformConfig = WAVES) -> WaveformMappingTask:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return WaveformMappingTask(WaveformMapping(config), loss)


def answering(loss: str, magnitudes: Tensor, config: NetConfig = CONFIG, off: float = 0.0) -> SpectralMappingTask:
    """A task whose network answers with these magnitudes, but for an error in its answer."""
    task = spectral(loss, config)
    task.network.net.trunk = Fixed(task.network.targets(magnitudes) + off)
    return task


def loss_of(task: SpectralMappingTask | WaveformMappingTask, parts: Tensor) -> float:
    losses = task.losses(parts)
    assert list(losses) == [task.loss]
    return float(losses[task.loss].detach())


# Losses of spectra


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize("loss", SPECTRAL_LOSSES)
def test_the_true_magnitudes_cost_nothing(loss: str, kind: str) -> None:
    parts, config = noise(3, 2, LENGTH), replace(CONFIG, feature=kind, mean=(0.3,) * 65, std=(2.0,) * 65)
    magnitudes = stft(parts, 128, 64).abs()
    assert loss_of(answering(loss, magnitudes, config), parts) < 1e-4
    assert loss_of(answering(loss, magnitudes.flip(1), config), parts) > 0.01


@pytest.mark.parametrize(("loss", "expected"), [("mae", 0.7), ("mse", 0.49), ("rmse", 0.7)])
def test_errors_of_features_are_in_their_deviations(loss: str, expected: float) -> None:
    parts = noise(3, 2, LENGTH)
    config = replace(CONFIG, std=(2.0,) * 65)
    magnitudes = stft(parts, 128, 64).abs()
    assert loss_of(answering(loss, magnitudes, config, off=0.7), parts) == pytest.approx(expected, rel=1e-4)


def test_errors_of_magnitudes_are_in_means_of_the_mixture_s() -> None:
    parts = noise(3, 2, LENGTH)
    spectra = stft(parts, 128, 64)
    other = stft(noise(3, 2, LENGTH, seed=1), 128, 64).abs()
    error = (other - spectra.abs()).abs().mean((1, 2, 3)) / spectra.sum(1).abs().mean((1, 2))
    for level in (1.0, 10.0):
        got = loss_of(answering("signal", level * other), level * parts)
        assert got == pytest.approx(float(error.mean()), rel=1e-3)


def test_dropped_frames_are_not_judged() -> None:
    parts = noise(2, 2, LENGTH)
    magnitudes = stft(parts, 128, 64).abs()[..., 2:-2]
    wrong = magnitudes.clone()
    wrong[..., 0] += 3  # the first that is
    for loss in SPECTRAL_LOSSES:
        assert loss_of(answering(loss, magnitudes, DROPPED), parts) < 1e-4
        assert loss_of(answering(loss, wrong, DROPPED), parts) > 1e-2


def test_separate_gives_every_source_its_magnitude_and_the_mixture_s_phase() -> None:
    shares = torch.tensor([0.3, 0.7])[:, None]
    parts = shares * noise(3, 1, 1280)  # of one phase, so that nothing is lost
    magnitudes = stft(parts, 128, 64).abs()
    torch.testing.assert_close(answering("mae", magnitudes).separate(parts.sum(1)), parts, atol=1e-5, rtol=0)
    silence = answering("mae", magnitudes).separate(torch.zeros(3, 1280))
    assert silence.abs().max() == 0  # where there is no phase there is no sound
    edges = spectral(config=DROPPED)
    edges.network.eval()
    assert edges.separate(parts.sum(1)).shape == (3, 2, 1280)


# Losses of waveforms


@pytest.mark.parametrize("level", [1.0, 1e-2])
def test_errors_of_waveforms_are_relative_to_the_mixture(level: float) -> None:
    mixture = noise(1, 1, LENGTH)
    parts, off = level * torch.tensor([0.3, 0.7])[:, None] * mixture, (0.2, 0.4)
    network = Shares(0.5, 0.3)
    expected = {
        "snr": sum(10 * log10(d**2 + 1e-3) for d in off) / 2,
        "mse": sum(d**2 for d in off) / 2,
        "mae": sum(off) / 2 * float(mixture.abs().mean() / mixture.square().mean().sqrt()),
    }
    assert set(expected) == set(WAVEFORM_LOSSES)
    for loss, value in expected.items():
        assert loss_of(WaveformMappingTask(network, loss), parts) == pytest.approx(value, rel=1e-4)
        best = loss_of(WaveformMappingTask(Shares(0.3, 0.7), loss), parts)
        assert best == pytest.approx(-30 if loss == "snr" else 0, abs=1e-3)


def test_a_waveform_mapping_separates_by_what_it_answers() -> None:
    mixture, task = noise(2, 1001), waveform()
    torch.testing.assert_close(task.separate(mixture), task.network(mixture))


# Both


def awkward() -> Tensor:
    """Mixtures of two: as usual, with one absent, of nothing, of what cancels, of very little."""
    parts = noise(5, 2, 700)
    parts[1, 0] = 0
    parts[2] = 0
    parts[3, 1] = -parts[3, 0]
    parts[4] *= 1e-6
    return parts


TASKS: list[Callable[[], SpectralMappingTask | WaveformMappingTask]] = [
    *(
        lambda loss=loss, kind=kind: spectral(loss, replace(CONFIG, feature=kind))
        for loss in SPECTRAL_LOSSES
        for kind in FEATURES
    ),
    *(lambda loss=loss: spectral(loss, DROPPED) for loss in SPECTRAL_LOSSES),
    *(lambda loss=loss: waveform(loss) for loss in WAVEFORM_LOSSES),
]


@pytest.mark.parametrize("make", TASKS)
def test_losses_and_gradients_are_finite(make: Callable[[], SpectralMappingTask | WaveformMappingTask]) -> None:
    task = make()
    weights = dict(task.network.named_parameters())
    for parts in (awkward(), *awkward().split(1)[1:4]):
        value = task.losses(parts)[task.loss]
        assert value.isfinite()
        for name, slope in zip(weights, torch.autograd.grad(value, list(weights.values())), strict=True):
            assert slope.isfinite().all(), name
    slopes = torch.autograd.grad(task.losses(noise(4, 2, 700))[task.loss], list(weights.values()))
    assert all(slope.abs().max() > 0 for slope in slopes)


def test_a_task_says_what_it_is() -> None:
    tasks = [spectral(), spectral("mse"), spectral(config=DROPPED), waveform(), waveform("mae")]
    tasks.append(waveform(config=replace(WAVES, width=4)))
    assert len({repr(task) for task in tasks}) == 6
    assert repr(spectral()) == repr(spectral()) == f"SpectralMappingTask('mae', {CONFIG!r})"
    assert repr(waveform()) == repr(waveform()) == f"WaveformMappingTask('snr', {WAVES!r})"


def test_unknown_losses() -> None:
    with pytest.raises(GansepError) as error:
        spectral("snr")
    assert str(error.value) == "spectral mappings cannot be learned by 'snr'; expected one of mae, mse, rmse, signal"
    with pytest.raises(GansepError) as error:
        waveform("rmse")
    assert str(error.value) == "waveform mappings cannot be learned by 'rmse'; expected one of snr, mae, mse"


# Learning


def tones(folder: Path, frequencies: list[float]) -> Path:
    folder.mkdir(parents=True)
    for number, frequency in enumerate(frequencies):
        wave = np.sin(2 * np.pi * frequency * np.arange(RATE) / RATE)
        soundfile.write(folder / f"{number}.wav", 0.5 * wave, RATE)
    return folder


def hiss(folder: Path, seed: int) -> Path:
    folder.mkdir(parents=True)
    soundfile.write(folder / "1.wav", np.random.default_rng(seed).uniform(-0.5, 0.5, 6 * RATE), RATE)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Tones from 100 to 400 Hz, and noise."""
    folder = tmp_path_factory.mktemp("data")
    return [tones(folder / "tone", np.linspace(100, 400, 25).tolist()), hiss(folder / "hiss", 0)]


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Other tones and other noise."""
    folder = tmp_path_factory.mktemp("others")
    return [tones(folder / "tone", [133, 171, 236, 255, 308, 371]), hiss(folder / "hiss", 1)]


@pytest.mark.parametrize("domain", DOMAINS)
def test_it_learns(data: list[Path], held_out: list[Path], domain: str) -> None:
    """On held-out mixtures the stems are nearer to the sources than the mixture is, and than silence is."""
    clips, others = ([load_clips([one], RATE) for one in folders] for folders in (data, held_out))
    mixing = Mixing(seconds=0.25, gain_db=3.0, absent=0.0)
    heard = with_statistics(CONFIG, clips, SeparatorSettings(mixing=mixing, augment=PLAIN))
    task = spectral(config=heard) if domain == "spectral" else waveform()
    training = SupervisedTraining(task, clips, mixing, PLAIN, 8, 0.01, 0, 120)
    for number in range(120):
        training.step(number)
    parts = draw_parts(others, 16, mixing, torch.Generator().manual_seed(5), PLAIN)
    mixture = parts.sum(1)
    error = (training.separate(mixture) - parts).square().mean()
    assert error < 0.5 * (mixture[:, None] - parts).square().mean()
    assert error < 0.5 * parts.square().mean()


# From folders to a card and back


@pytest.fixture
def settings(tmp_path: Path) -> SeparatorSettings:
    (tmp_path / "library").mkdir()
    mixing = Mixing(seconds=0.25)
    return SeparatorSettings("", 4, None, 2, 4, mixing=mixing, seed=3, library=tmp_path / "library")


def stop_at(step: int) -> Callable[[Progress | str], None]:
    def stop(event: Progress | str) -> None:
        if isinstance(event, Progress) and event.step == step:
            raise InterruptedError

    return stop


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


@pytest.mark.parametrize(("domain", "loss", "level"), [("spectral", "mae", LEVEL), ("waveform", "snr", LEVEL_OF_WAVES)])
def test_a_mapping_and_its_card(
    data: list[Path], held_out: list[Path], settings: SeparatorSettings, domain: str, loss: str, level: str
) -> None:
    others: dict[str, Paths] = {"tone": held_out[0], "hiss": held_out[1]}
    folder = train_mapping(data, None, domain, DOMAINS[domain], settings, held_out=others)
    assert folder == settings.library / "mapping" / "tone-hiss"  # type: ignore[operator]
    card = read_card(folder)
    assert (card.kind, card.sources, card.sample_rate, card.segment) == ("mapping", ("tone", "hiss"), RATE, None)
    assert (card.config["domain"], card.config["loss"], card.level, card.seed) == (domain, loss, level, 3)
    assert [point["step"] for point in card.curve] == [2, 4]
    assert all(np.isfinite(point[loss]) for point in card.curve)
    assert np.isfinite(card.metrics["held_out_si_sdr_improvement"])
    sizes = {name: value for name, value in card.config.items() if name not in ("domain", "loss")}
    network = load_separation("mapping", ("hiss", "tone"), library=settings.library).network
    if domain == "waveform":
        assert WaveformConfig(**sizes) == network.config == WAVES
        return
    clips = [load_clips([one], RATE) for one in data]
    assert NetConfig(**sizes) == network.config == with_statistics(CONFIG, clips, settings)
    assert len(set(network.config.mean)) > 30  # type: ignore[union-attr,arg-type]  # it has heard something


@pytest.mark.parametrize("domain", DOMAINS)
def test_resumed_is_as_uninterrupted(
    data: list[Path], settings: SeparatorSettings, tmp_path: Path, domain: str
) -> None:
    config = DOMAINS[domain]
    whole = train_mapping(data, None, domain, config, settings, out=tmp_path / "whole")
    with pytest.raises(InterruptedError):
        train_mapping(data, None, domain, config, settings, out=tmp_path / "parts", on_event=stop_at(3))
    lines: list[Progress | str] = []
    parts = train_mapping(
        data, None, domain, config, settings, out=tmp_path / "parts", resume=True, on_event=lines.append
    )
    assert "resumed from step 2" in lines
    assert weights(parts) == weights(whole)
    assert [dict(point) for point in read_card(parts).curve] == [dict(point) for point in read_card(whole).curve]


@pytest.mark.parametrize("domain", DOMAINS)
def test_resume_refuses_another_loss(
    data: list[Path], settings: SeparatorSettings, tmp_path: Path, domain: str
) -> None:
    out = train_mapping(data, None, domain, DOMAINS[domain], replace(settings, steps=1), out=tmp_path / "out")
    before = weights(out)
    with pytest.raises(ModelError, match="made with other settings"):
        other = replace(settings, loss="mse")
        train_mapping(data, None, domain, DOMAINS[domain], other, out=out, resume=True)
    assert weights(out) == before


def test_as_many_sources_as_folders(data: list[Path], settings: SeparatorSettings, tmp_path: Path) -> None:
    """Whatever the configuration says of them, and by the names that are given."""
    tone, noises = data
    three = {"low": tone, "hiss": noises, "high": tone}
    for domain, config in DOMAINS.items():
        folder = train_mapping(three, "three", domain, config, replace(settings, steps=1), out=tmp_path / domain)
        card = read_card(folder)
        assert (card.name, card.sources, card.config["outputs"]) == ("three", ("low", "hiss", "high"), 3)


@pytest.mark.parametrize("domain", DOMAINS)
def test_init_from(data: list[Path], settings: SeparatorSettings, tmp_path: Path, domain: str) -> None:
    """After one small step the weights are near those it began with, and far from those of another seed."""
    config, one = DOMAINS[domain], replace(settings, steps=1, seed=9)
    begin = train_mapping(data, None, domain, config, one, out=tmp_path / "begin")
    again = replace(settings, steps=1, init_from=str(begin))
    begun = train_mapping(data, None, domain, config, again, out=tmp_path / "begun")
    anew = train_mapping(data, None, domain, config, replace(again, init_from=None), out=tmp_path / "anew")
    networks = [load_separation("mapping", model=folder).network for folder in (begin, begun, anew)]
    first, *others = (torch.cat([value.flatten() for value in one.parameters()]) for one in networks)
    near, far = ((other - first).abs().mean() for other in others)
    assert near < 1e-3 < 1e-2 < far
    with pytest.raises(ModelError, match="it has other"):
        wider = replace(config, width=24)
        train_mapping(data, None, domain, wider, again, out=tmp_path / "wider")


@pytest.mark.parametrize(
    ("domain", "config", "loss", "said"),
    [
        ("cepstral", None, "", "unknown domain 'cepstral'; expected one of spectral, waveform"),
        ("spectral", WAVES, "", "a spectral mapping needs a NetConfig, got a WaveformConfig"),
        ("waveform", CONFIG, "", "a waveform mapping needs a WaveformConfig, got a NetConfig"),
        (
            "spectral",
            None,
            "snr",
            "spectral mappings cannot be learned by 'snr'; expected one of mae, mse, rmse, signal",
        ),
        ("waveform", None, "signal", "waveform mappings cannot be learned by 'signal'; expected one of snr, mae, mse"),
    ],
)
def test_refused_before_anything_is_heard(
    settings: SeparatorSettings, tmp_path: Path, domain: str, config: Any, loss: str, said: str
) -> None:
    with pytest.raises(GansepError) as error:
        train_mapping([tmp_path / "missing"], None, domain, config, replace(settings, loss=loss))
    assert str(error.value) == said


def test_bad_input_leaves_nothing(data: list[Path], settings: SeparatorSettings, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    for folders, said in (
        (data[:1], "mixtures need at least two sources, got tone"),
        ([data[0], data[0]], "two sources are called tone"),
        ([data[0], tmp_path / "missing"], "no such file or folder"),
    ):
        with pytest.raises(DataError, match=said):
            train_mapping(folders, settings=settings, out=out)
    with pytest.raises(ModelError, match="no mapping model 'nobody'"):
        train_mapping(data, None, "waveform", WAVES, replace(settings, init_from="nobody"), out=out)
    assert not out.parent.exists()
    there = train_mapping(data, None, "waveform", WAVES, replace(settings, steps=1), out=tmp_path / "there")
    with pytest.raises(OutputError, match="holds a model already"):
        train_mapping(data, None, "waveform", WAVES, settings, out=there)

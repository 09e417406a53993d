"""The search by priors: shapes, silence, level, recipes, restarts, and what cannot be combined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gansep.backends import load_separator
from gansep.backends.gan_prior import RECIPES, GanPrior, Recipe, explained, recipe_for
from gansep.inversion.descent import Settings
from gansep.inversion.objective import Value
from gansep.library import Card, Prior, load_prior, save_model
from gansep.metrics import si_sdr
from gansep.nets.listener import Ear, Listener
from gansep.nets.spectral import NetConfig
from gansep.nets.spectrogram import make_generator
from gansep.nets.wavegan import Encoder, PriorConfig
from gansep.refine import Refinement
from gansep.types import Estimates, ModelError, Separator

MakePrior = Callable[..., Path]
SEGMENT = 16384


@pytest.fixture(scope="module")
def priors(tiny_library: Path) -> list[Prior]:
    return [load_prior(name, tiny_library) for name in ("tone", "hiss")]


@pytest.fixture(scope="module")
def mixture() -> Tensor:
    """``[3, segment]``: three bursts of noise."""
    envelope = torch.linspace(1, 0, SEGMENT).pow(3)
    return 0.3 * envelope * torch.randn(3, SEGMENT, generator=torch.Generator().manual_seed(0))


def steps(count: int, **changes: Any) -> Recipe:
    return recipe_for(steps=count, **changes)


def test_estimates(priors: list[Prior], mixture: Tensor) -> None:
    separator = GanPrior(priors, steps(2, restarts=4))
    assert isinstance(separator, Separator)
    assert (separator.sources, separator.sample_rate, separator.segment) == (("tone", "hiss"), 16000, SEGMENT)
    estimates = separator(mixture)
    assert isinstance(estimates, Estimates)
    assert estimates.waves.shape == (3, 2, SEGMENT)
    assert estimates.waves.isfinite().all()
    assert not estimates.waves.requires_grad
    assert estimates.sources == ("tone", "hiss")
    assert all(len(value) == 3 for value in estimates.stats.values())
    assert estimates.stats["total"].shape == (3, 3)
    assert estimates.stats["gains"].shape == (3, 2)
    assert estimates.stats["fits"].shape == (3, 4)
    assert estimates.stats["start"].shape == (3,)
    assert ((estimates.stats["explained"] >= 0) & (estimates.stats["explained"] <= 1)).all()


def test_gains_are_those_of_the_waves(priors: list[Prior], mixture: Tensor) -> None:
    """Each wave is its generator's output, in [-1, 1], times the gain, so no sample is above the gain."""
    estimates = GanPrior(priors, steps(0))(mixture)
    assert (estimates.waves.abs().amax(-1) <= estimates.stats["gains"] * (1 + 1e-5)).all()
    assert (estimates.stats["gains"] > 0).all()


def test_the_search_never_ends_worse_than_it_began(priors: list[Prior], mixture: Tensor) -> None:
    none, some = GanPrior(priors, steps(0))(mixture).stats, GanPrior(priors, steps(8))(mixture).stats
    torch.testing.assert_close(some["total"][:, 0], none["total"][:, 0])
    assert (some["fits"][:, 0] <= none["fits"][:, 0] + 1e-4).all()
    assert (some["total"].amin(1) < none["total"][:, 0]).all()


def test_silence_in_silence_out(priors: list[Prior], mixture: Tensor) -> None:
    batch = torch.cat([mixture[:1], torch.zeros(1, SEGMENT)])
    estimates = GanPrior(priors, steps(1))(batch)
    assert estimates.waves[1].abs().max() == 0
    assert estimates.stats["gains"][1].abs().max() == 0
    assert estimates.waves[0].abs().max() > 0
    assert all(value.isfinite().all() for value in estimates.stats.values())


@pytest.mark.parametrize("scale", [0.25, 2.0, 2**-10])
def test_output_scales_with_the_input(priors: list[Prior], mixture: Tensor, scale: float) -> None:
    separator = GanPrior(priors, steps(1))
    here, there = separator(mixture), separator(scale * mixture)  # powers of two: no rounding that Adam could magnify
    tolerance = 1e-3 * scale * float(here.waves.abs().max())
    torch.testing.assert_close(there.waves, scale * here.waves, atol=tolerance, rtol=1e-2)
    torch.testing.assert_close(there.stats["gains"], scale * here.stats["gains"], rtol=1e-2, atol=0)


def test_windows_do_not_depend_on_each_other(priors: list[Prior], mixture: Tensor) -> None:
    separator = GanPrior(priors, steps(1))
    together, alone = separator(mixture).waves[1:2], separator(mixture[1:2]).waves
    torch.testing.assert_close(together, alone, atol=1e-3 * float(alone.abs().max()), rtol=1e-2)


def test_the_callers_mixture_and_dice_are_left_alone(priors: list[Prior], mixture: Tensor) -> None:
    before, dice = mixture.clone(), torch.get_rng_state()
    GanPrior(priors, steps(1, restarts=2))(mixture)
    assert torch.equal(mixture, before)
    assert torch.equal(torch.get_rng_state(), dice)
    assert all(not p.requires_grad and p.grad is None for prior in priors for p in prior.generator.parameters())


def test_published_recipe(priors: list[Prior], mixture: Tensor) -> None:
    """It begins with every latent at 0 and divides each generator's output by its peak."""
    recipe = RECIPES["narayanaswamy2020"]
    goal = recipe.objective
    assert (goal.spectral, goal.dissimilarity, goal.correlation, goal.continuity) == (0.3, 0.4, 0.1, 0.8)
    assert (goal.variant, goal.batch_equivalent, goal.unit_peak) == ("code", 200, True)
    assert (recipe.settings.steps, recipe.settings.rate, recipe.start) == (1000, 0.05, "zero")
    seen: list[tuple[int, Value]] = []
    separator = GanPrior(
        priors, recipe_for("narayanaswamy2020", steps=2), on_step=lambda step, value: seen.append((step, value))
    )
    estimates = separator(mixture)
    assert [step for step, _ in seen] == [1, 2]
    for number, prior in enumerate(priors):
        wave = prior.generator(torch.zeros(1, prior.latent))[0]
        for row in seen[0][1].sources[:, number]:
            torch.testing.assert_close(row, wave / wave.abs().max(), atol=2e-2, rtol=0)  # bfloat16 where it pays
    torch.testing.assert_close(estimates.waves.abs().amax(-1), torch.ones(3, 2))
    assert set(estimates.stats) >= {"spectral", "dissimilarity", "correlation", "continuity", "total"}


def test_restarts_are_the_seeds(priors: list[Prior], mixture: Tensor) -> None:
    """The first start is not random, the others are; the same seed gives the same search."""
    first, again, other = (GanPrior(priors, steps(1, restarts=3, seed=seed))(mixture) for seed in (5, 5, 6))
    assert torch.equal(first.waves, again.waves)
    assert torch.equal(first.stats["fits"], again.stats["fits"])
    torch.testing.assert_close(first.stats["fits"][:, 0], other.stats["fits"][:, 0])
    assert (first.stats["fits"][:, 1:] != other.stats["fits"][:, 1:]).all()
    assert torch.equal(first.stats["start"], first.stats["fits"].argmin(1))


def test_a_prior_without_encoder_starts_at_zero(tmp_path: Path, make_prior: MakePrior, mixture: Tensor) -> None:
    make_prior(tmp_path, "deaf", seed=1, encoder=False)
    prior = load_prior("deaf", tmp_path)
    estimates = GanPrior([prior], steps(0))(mixture)
    wave = prior.generator(torch.zeros(1, prior.latent))[0]
    for found, gain in zip(estimates.waves[:, 0], estimates.stats["gains"][:, 0], strict=True):
        torch.testing.assert_close(found, gain * wave, atol=2e-2 * float(gain), rtol=0)


def test_on_step(priors: list[Prior], mixture: Tensor) -> None:
    told: list[int] = []
    GanPrior(priors, steps(3), on_step=lambda step, _: told.append(step))(mixture)
    assert told == [1, 2, 3]


def test_explained() -> None:
    wave = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(explained(wave, wave), torch.ones(2))
    torch.testing.assert_close(explained(-0.5 * wave, wave), torch.full((2,), 0.75), atol=1e-4, rtol=0)
    assert torch.equal(explained(0 * wave, wave), torch.zeros(2))
    assert torch.equal(explained(9 * wave, wave), torch.zeros(2))


@pytest.mark.parametrize("shape", [(SEGMENT,), (1, SEGMENT - 1), (1, 1, SEGMENT)])
def test_wrong_shapes(priors: list[Prior], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected a mixture of shape \[B, 16384\]"):
        GanPrior(priors)(torch.zeros(shape))


@pytest.mark.parametrize("change", [{"sample_rate": 8000}, {"segment": 32768}])
def test_priors_that_cannot_be_combined(
    tmp_path: Path, make_prior: MakePrior, priors: list[Prior], change: dict[str, Any]
) -> None:
    make_prior(tmp_path, "odd", config=PriorConfig(dim=1, latent=16, width=16, **change))
    with pytest.raises(ModelError, match=r"cannot be combined.*tone: 16000 Hz, 16384 samples. odd: "):
        GanPrior([priors[0], load_prior("odd", tmp_path)])
    GanPrior([load_prior("odd", tmp_path)])


def make_variational(library: Path, name: str, **settings: Any) -> Prior:
    """A variational prior with random weights."""
    config = PriorConfig(dim=1, latent=4, width=16, variational=True, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = {"generator": make_generator(config), "encoder": Encoder(config)}
    weights = {f"{part}.{key}": value for part, net in networks.items() for key, value in net.state_dict().items()}
    save_model(library / name, weights, Card(name, config.to_json(), 16000, SEGMENT, (name,), "vae"))
    return load_prior(library / name)


def test_no_search_follows_a_prior_that_plays_spectra(tmp_path: Path, priors: list[Prior]) -> None:
    spectra = make_variational(tmp_path, "spectra", domain="magnitude")
    for some in ([spectra], [*priors, spectra]):
        with pytest.raises(ModelError, match=r"^spectra plays spectra, which no search can follow; give one of wave"):
            GanPrior(some)


def test_a_prior_of_classes_is_searched_with_the_one_it_is_told(tmp_path: Path, mixture: Tensor) -> None:
    prior = make_variational(tmp_path, "voices", classes=("ann", "bob"))
    search = steps(0, fallback=0)  # random weights explain next to nothing
    whole, *told = (GanPrior([one], search)(mixture).waves for one in (prior, prior.told("ann"), prior.told("bob")))
    assert prior.encoder is not None
    with torch.no_grad():
        latents = prior.space.project(prior.encoder(mixture)[0])
        for waves, which in ((whole, -1), (told[0], 0), (told[1], 1)):
            expected = prior.generator(latents, torch.full((3,), which))
            similarity = torch.cosine_similarity(waves[:, 0], expected)
            assert similarity.min() > 0.999, which
    assert (torch.cosine_similarity(whole, told[0], -1) < 0.999).all()
    improved = GanPrior([prior.told("bob")], steps(4))(mixture).stats["total"]
    assert (improved.amin(1) < improved[:, 0]).all()


# By listeners


class Says(Listener):
    """A listener with the same answer to everything: the odds ``[S, F]`` of its sources."""

    def __init__(self, odds: Tensor) -> None:
        super().__init__(NetConfig(outputs=2 * len(odds), width=16, depth=1, n_fft=256, hop=128))
        self.odds = odds

    def forward(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        count, _, frames = spectrum.shape
        return self.odds[None, :, :, None].expand(count, -1, -1, frames), torch.zeros(count, len(self.odds), frames)


class Plays(nn.Module):
    """A generator of one sound."""

    def __init__(self, wave: Tensor) -> None:
        super().__init__()
        self.wave = wave

    def forward(self, latents: Tensor) -> Tensor:
        return self.wave.expand(len(latents), -1)


class Notes(nn.Module):
    """An encoder that keeps what it has heard."""

    def forward(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        self.heard = mixture
        return torch.zeros(len(mixture), 2), torch.ones(len(mixture))


LOW = torch.arange(129) < 40  # bins below 2500 Hz
BANDS = torch.stack([torch.where(LOW, 20.0, -20.0), torch.where(LOW, -20.0, 20.0)])
NOBODY = torch.full((2, 129), -20.0)


def listening(priors: list[Prior], odds: Tensor) -> list[Prior]:
    """The priors with ears of one network."""
    network = Says(odds)
    return [replace(prior, listener=Ear(network, number)) for number, prior in enumerate(priors)]


@pytest.fixture(scope="module")
def tones() -> Tensor:
    """Tones of 500 and 5000 Hz that come and go, ``[2, segment]``."""
    time = torch.arange(SEGMENT) / 16000
    return 0.3 * torch.hann_window(SEGMENT) * (6.2831853 * torch.tensor([[500.0], [5000.0]]) * time).sin()


@pytest.fixture(scope="module")
def players(tones: Tensor) -> list[Prior]:
    """Priors that play these tones whatever their latents are."""
    config = {"segment": SEGMENT, "latent": 2, "sample_rate": 16000}
    cards = [Card(name, config, 16000, SEGMENT, (name,)) for name in ("low", "high")]
    waves = tones / tones.abs().max()
    return [Prior(card.name, card, Plays(wave), Notes()) for card, wave in zip(cards, waves, strict=True)]


def test_masks_are_what_listeners_hear(priors: list[Prior], mixture: Tensor, tones: Tensor) -> None:
    separator = GanPrior(listening(priors, BANDS), steps(9, trust=0.0))
    assert separator.refinement == Refinement(exponent=1.0)
    both = torch.cat([tones.sum(0, keepdim=True), mixture])
    found = separator(both)
    torch.testing.assert_close(found.waves.sum(1), both, atol=1e-5, rtol=0)
    assert si_sdr(found.waves[0], tones).min() > 40
    spectra = torch.fft.rfft(found.waves[1:]).abs().square()  # about 1 Hz a bin
    assert spectra[:, 0, 2700:].sum() < 1e-3 * spectra[:, 0].sum()
    assert spectra[:, 1, :2200].sum() < 1e-3 * spectra[:, 1].sum()
    assert set(found.stats) == {"sure", "unsure", "explained", "failed"}  # nothing was searched
    assert (found.stats["unsure"] < 1e-6 * found.stats["sure"]).all() and not found.stats["failed"].any()
    torch.testing.assert_close(found.stats["explained"], torch.ones(4))


def test_priors_are_heard_by_one_network_that_hears_them_all(priors: list[Prior], tones: Tensor) -> None:
    """The second prior's own knows both, the other way round; the first one's would swap them."""
    wrong, both = Says(BANDS[1:]), Says(BANDS.flip(0))
    ears = Ear(wrong, 0, ("tone",), ("t",)), Ear(both, 0, ("hiss", "tone"), ("h", "t"))
    some = [
        replace(prior, listener=ear, card=replace(prior.card, data_sha256=sha256))
        for prior, ear, sha256 in zip(priors, ears, "th", strict=True)
    ]
    separator = GanPrior(some, steps(0, trust=0.0))
    assert [(ear.network, ear.number) for ear in separator.ears] == [(both, 1), (both, 0)]
    expected = GanPrior(listening(priors, BANDS), steps(0, trust=0.0))(tones.sum(0, keepdim=True))
    torch.testing.assert_close(separator(tones.sum(0, keepdim=True)).waves, expected.waves)


def test_silence_is_heard_as_silence(priors: list[Prior], mixture: Tensor) -> None:
    for odds in (BANDS, NOBODY):
        found = GanPrior(listening(priors, odds), steps(1))(torch.cat([torch.zeros(1, SEGMENT), mixture[:1]]))
        assert (found.waves[0] == 0).all() and found.waves[1].abs().max() > 0
        assert not found.stats["failed"][0]
        assert all(value.isfinite().all() for value in found.stats.values())


def test_trust_moves_masks_towards_what_generators_play(players: list[Prior], tones: Tensor) -> None:
    """Listeners that cannot tell leave it all to the generators; those that are sure of something else do not."""
    mixture = tones.sum(0, keepdim=True)
    found = {}
    for trust in (0.0, 0.1, 1.0):
        estimates = GanPrior(listening(players, 0 * BANDS), steps(0, trust=trust))(mixture)
        torch.testing.assert_close(estimates.waves.sum(1), mixture, atol=1e-5, rtol=0)
        assert not estimates.waves.requires_grad and ("gains" in estimates.stats) == (trust > 0)
        found[trust] = float(si_sdr(estimates.waves[0], tones).min())
    assert found[0.0] < 1 and found[0.1] - found[0.0] > 3 and found[1.0] > 20 > found[0.1]
    against = GanPrior(listening(players, BANDS.flip(0)), steps(0, trust=1.0))(mixture).waves[0]
    assert si_sdr(against, tones.flip(0)).min() > 20


def test_encoders_hear_what_listeners_heard(players: list[Prior], tones: Tensor) -> None:
    mixture = 0.25 * tones.sum(0, keepdim=True)
    encoders = [prior.encoder for prior in players]
    for trust, wanted in ((1.0, tones), (None, tones.sum(0).expand(2, -1))):
        recipe = steps(0, listen=0) if trust is None else steps(0, trust=trust)
        GanPrior(listening(players, BANDS), recipe)(mixture)
        for encoder, wave in zip(encoders, wanted, strict=True):
            assert isinstance(encoder, Notes)
            expected = wave[None] / tones.sum(0).abs().max()  # at the level of a mixture whose peak is 1
            torch.testing.assert_close(encoder.heard, expected, atol=5e-3, rtol=0)


def test_without_listeners_it_is_the_search_as_before(priors: list[Prior], mixture: Tensor) -> None:
    before = GanPrior(priors, steps(1))
    deaf = [listening(priors, BANDS)[0], priors[1]]
    for some, recipe in ((listening(priors, BANDS), steps(1, listen=0)), (deaf, steps(1))):
        separator = GanPrior(some, recipe)
        assert separator.refinement == before.refinement == Refinement()
        ours, theirs = separator(mixture), before(mixture)
        assert torch.equal(ours.waves, theirs.waves) and ours.stats.keys() == theirs.stats.keys()
        assert all(torch.equal(value, theirs.stats[name]) for name, value in ours.stats.items())
    published = recipe_for("narayanaswamy2020", steps=0)
    assert "total" in GanPrior(listening(priors, BANDS), published)(mixture).stats
    assert "failed" not in GanPrior(priors, published)(mixture).stats


def test_a_window_like_nothing_they_know_is_shared_equally(priors: list[Prior], tones: Tensor) -> None:
    """All that sounds above 2500 Hz is unknown, so the second window is lost and the first is not."""
    deaf_above = torch.stack([torch.where(LOW, 20.0, -20.0), torch.full((129,), -20.0)])
    separator = GanPrior(listening(priors, deaf_above), steps(0, trust=0.0))
    found = separator(tones)
    assert found.stats["failed"].tolist() == [False, True]
    assert float(found.stats["explained"][0]) > 0.99 and float(found.stats["explained"][1]) < 0.01
    assert si_sdr(found.waves[0, 0], tones[0]) > 40 and found.waves[0, 1].abs().max() < 1e-3
    assert torch.equal(found.waves[1], (tones[1] / 2).expand(2, -1))
    lost = GanPrior(listening(priors, NOBODY), steps(0))(tones)
    assert lost.stats["failed"].all() and torch.equal(lost.waves, (tones / 2)[:, None].expand(-1, 2, -1))
    without = GanPrior(listening(priors, deaf_above), steps(0, trust=0.0, fallback=0))(tones)
    assert "failed" not in without.stats and torch.equal(without.waves[0], found.waves[0])


def test_nobody_is_sure_of_a_window_that_was_shared_equally(priors: list[Prior], mixture: Tensor) -> None:
    """Half of it is expected to be another's: right is to wrong at most as 2 to 1, also where one is less unlikely."""
    found = GanPrior(listening(priors, torch.stack([NOBODY[0], NOBODY[1] - 10])), steps(0, trust=0.0))(mixture)
    assert found.stats["failed"].all()
    assert (found.stats["sure"] <= 2.001 * found.stats["unsure"]).all()


def test_bad_settings(priors: list[Prior]) -> None:
    with pytest.raises(ModelError, match="no priors given"):
        GanPrior([])
    with pytest.raises(ValueError, match="unknown recipe 'magic'; expected one of default, narayanaswamy2020"):
        GanPrior(priors, "magic")
    with pytest.raises(ValueError, match="start must be encoder or zero"):
        Recipe(start="anywhere")
    with pytest.raises(ValueError, match="restarts must be at least 1"):
        Recipe(restarts=0)
    for trust in (-0.1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"trust must be a number from 0 up, got {trust}"):
            Recipe(trust=trust)


def test_recipes_by_name() -> None:
    assert recipe_for() == RECIPES["default"]
    assert recipe_for(quality="fast").settings.steps <= recipe_for().settings.steps
    assert recipe_for(quality="best").settings.steps >= recipe_for().settings.steps
    assert recipe_for("narayanaswamy2020", "fast") == RECIPES["narayanaswamy2020"]
    changed = recipe_for(steps=7, restarts=2, seed=3)
    settings = replace(RECIPES["default"].settings, steps=7)
    assert changed == replace(RECIPES["default"], settings=settings, restarts=2, seed=3)
    assert recipe_for(listen=0, trust=0.5, fallback=0) == replace(recipe_for(), listen=False, trust=0.5, fallback=False)
    for wrong in ({"name": "magic"}, {"quality": "magic"}, {"steps": -1}, {"restarts": -1}):
        with pytest.raises(ModelError):
            recipe_for(**wrong)  # type: ignore[arg-type]


def test_load_separator(tiny_library: Path, priors: list[Prior], mixture: Tensor) -> None:
    recipe = Recipe(settings=Settings(steps=0))
    separator = load_separator("gan-prior", ["tone", "hiss"], library=tiny_library, recipe=recipe)
    assert isinstance(separator, Separator)
    assert torch.equal(separator(mixture).waves, GanPrior(priors, recipe)(mixture).waves)
    by_path = load_separator(sources=[str(tiny_library / "gan" / "hiss")])
    assert by_path.sources == ("hiss",)
    with pytest.raises(ModelError, match="unknown back end 'magic'; expected one of gan-prior"):
        load_separator("magic", ["tone"])
    with pytest.raises(ModelError, match="no gan model 'nobody'"):
        load_separator(sources=["nobody"], library=tiny_library)
    with pytest.raises(ModelError, match="needs the names of its sources"):
        load_separator(library=tiny_library)

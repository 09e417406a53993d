"""What mask networks learn: each loss against its formula, least where the answer is the ideal one, finite always."""

from __future__ import annotations

from dataclasses import replace
from math import log, log10

import pytest
import torch
from torch import Tensor, nn

from gansep.dsp.stft import istft, stft
from gansep.metrics import si_sdr
from gansep.nets.masknet import TARGETS, MaskNet, maps
from gansep.nets.spectral import Memory, NetConfig
from gansep.training.mask import MaskTask
from gansep.types import GansepError

CONFIG = NetConfig(n_fft=64, hop=32, width=12, depth=2)
DROPPED = replace(CONFIG, network="dnn", context=2, edges="drop")
LENGTH = 2000
OF_MASKS, OF_SIGNALS = ("mse", "rmse", "mae"), ("signal", "snr", "si-sdr")
LEARNABLE = [(target, loss) for target in TARGETS for loss in OF_MASKS if target != "crm"]
LEARNABLE += [(target, "cross-entropy") for target in ("ibm", "irm")]
LEARNABLE += [(target, loss) for target in TARGETS for loss in OF_SIGNALS]


class Fixed(nn.Module):
    """A trunk that answers the same whatever it hears."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, heard: Tensor, _: Memory | None) -> Tensor:
        return self.answer.expand(len(heard), -1, heard.shape[1], -1 if self.answer.shape[-1] > 1 else heard.shape[2])


def task_of(target: str, loss: str, config: NetConfig = CONFIG, sources: int = 2) -> MaskTask:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MaskTask(MaskNet(replace(config, outputs=sources * maps(target)), target), loss)


def answering(target: str, loss: str, answer: Tensor, config: NetConfig = CONFIG) -> MaskTask:
    """A task whose network answers ``[B, S, F, N]`` (complex for complex masks), 1 where all are alike."""
    if answer.is_complex():
        answer = torch.cat([answer.real, answer.imag], 1)
    task = task_of(target, loss, config, answer.shape[1] // maps(target))
    task.network.net.trunk = Fixed(answer)
    return task


def loss_of(task: MaskTask, parts: Tensor) -> float:
    losses = task.losses(parts)
    assert list(losses) == [task.loss]
    return float(losses[task.loss].detach())


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ideal(target: str, parts: Tensor) -> Tensor:
    """What a network must answer to have the mask of the article, where no point is silent."""
    s = stft(parts, 64, 32).to(torch.complex128)
    y = s.sum(1, keepdim=True)
    n = y - s
    if target == "ibm":
        return torch.where(s.abs() >= n.abs(), 100.0, -100.0)  # a sigmoid's way to say 1 and 0
    if target == "irm":
        return (s.abs() / (s.abs().square() + n.abs().square()).sqrt()).logit()
    if target == "iam":
        return (s.abs() / y.abs()).clamp(max=2)
    share = s / y
    if target == "psm":
        return share.real.clamp(0, 1)
    if target == "orm":
        return 10 * (share.real / 20).tanh()
    return torch.complex(10 * (share.real / 20).tanh(), 10 * (share.imag / 20).tanh())


# Losses of masks


@pytest.mark.parametrize("loss", OF_MASKS)
@pytest.mark.parametrize("target", [target for target in TARGETS if target != "crm"])
def test_the_ideal_answer_costs_nothing_and_another_its_distance(target: str, loss: str) -> None:
    parts = noise(3, 2, LENGTH)
    answer = ideal(target, parts)
    assert loss_of(answering(target, loss, answer), parts) < 1e-4
    bounded = target in ("ibm", "irm")
    error = ((answer.sigmoid() - 0.5) if bounded else (answer - 0.7)).abs()
    expected = {"mse": error.square().mean(), "rmse": error.square().mean().sqrt(), "mae": error.mean()}[loss]
    other = torch.full((1, 2, 1, 1), 0.0 if bounded else 0.7).to(answer.dtype)
    assert loss_of(answering(target, loss, other), parts) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("target", ["ibm", "irm"])
def test_cross_entropy_is_least_at_the_ideal_answer(target: str) -> None:
    parts = noise(3, 2, LENGTH)
    answer = ideal(target, parts)
    m = answer.double().sigmoid().clamp(1e-12, 1 - 1e-12)
    entropy = -(m * m.log() + (1 - m) * (1 - m).log()).mean()  # 0 for binary masks
    assert loss_of(answering(target, "cross-entropy", answer), parts) == pytest.approx(float(entropy), abs=1e-5)
    unsure = torch.zeros(1, 2, 1, 1)
    assert loss_of(answering(target, "cross-entropy", unsure), parts) == pytest.approx(log(2), rel=1e-5)
    for other in (answer + 0.5, 0.5 * answer):
        if target == "irm":
            assert loss_of(answering(target, "cross-entropy", other), parts) > float(entropy) + 1e-3


def test_the_target_of_one_of_three_has_the_others_for_rest() -> None:
    parts = noise(2, 3, LENGTH)
    assert loss_of(answering("irm", "mse", ideal("irm", parts)), parts) < 1e-6
    assert loss_of(answering("irm", "mse", ideal("irm", parts).flip(1)), parts) > 1e-2


# Losses of signals: where parts are a and b times one sound, masks m are off by |m - a| and |m - b| everywhere


SHARES = (0.3, 0.7)


def constant(target: str, masks: tuple[float, float]) -> Tensor:
    """The answer that makes the same mask everywhere."""
    m = torch.tensor(masks)[None, :, None, None]
    if target in ("ibm", "irm"):
        return m.logit()
    if target in ("orm", "cirm"):
        m = 10 * (m / 20).tanh()
    if target == "crm":
        m = m.atanh()
    return m + 0j if target in ("cirm", "crm") else m


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("masks", [(0.3, 0.7), (0.5, 0.5), (0.2, 0.9)])
def test_errors_of_signals_that_are_in_phase(target: str, masks: tuple[float, float]) -> None:
    parts = torch.tensor(SHARES)[:, None] * noise(3, 1, LENGTH)
    off = [abs(m - a) for m, a in zip(masks, SHARES, strict=True)]
    answer = constant(target, masks)
    assert loss_of(answering(target, "signal", answer), parts) == pytest.approx(sum(off) / 2, abs=1e-5)
    expected = sum(10 * log10(d**2 + 1e-3) for d in off) / 2
    assert loss_of(answering(target, "snr", answer), parts) == pytest.approx(expected, abs=1e-3)
    assert loss_of(answering(target, "si-sdr", answer), parts) == pytest.approx(-30, abs=0.1)  # the scale is free


@pytest.mark.parametrize(("target", "config"), [("psm", CONFIG), ("crm", CONFIG), ("cirm", DROPPED)])
def test_losses_of_waveforms_against_their_formulas(target: str, config: NetConfig) -> None:
    parts, d = noise(4, 3, LENGTH), config.dropped
    frames = LENGTH // 32 + 1 - 2 * d
    answer = 3 * noise(4, 3 * maps(target), 33, frames, seed=1) + 0.4
    task = answering(target, "snr", answer, config)
    spectrum = stft(parts.sum(1), 64, 32)[..., d : d + frames]
    masks = task.network.masks(torch.complex(*answer.unflatten(1, (2, 3)).unbind(1)) if maps(target) == 2 else answer)
    inner = slice(32 * d, LENGTH - 32 * d)
    stems = istft(masks * spectrum[:, None], LENGTH - 64 * d, 64, 32)
    truth = parts[..., inner]
    error, power = (stems - truth).square().mean(-1), parts.sum(1)[..., inner].square().mean(-1)
    expected = (10 * (error / power[:, None] + 1e-3).log10()).mean()
    assert loss_of(task, parts) == pytest.approx(float(expected), abs=1e-3)
    ratio = si_sdr(stems, truth)
    assert ratio.std() > 0.1
    expected = (10 * (10 ** (-ratio / 10) + 1e-3).log10()).mean()
    assert loss_of(answering(target, "si-sdr", answer, config), parts) == pytest.approx(float(expected), abs=1e-3)
    difference = (masks * spectrum[:, None] - stft(parts, 64, 32)[..., d : d + frames]).abs().mean((1, 2, 3))
    expected = (difference / spectrum.abs().mean((1, 2))).mean()
    assert loss_of(answering(target, "signal", answer, config), parts) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("loss", OF_SIGNALS)
def test_the_ideal_complex_mask_is_the_best_there_is(loss: str) -> None:
    parts = noise(3, 2, LENGTH)
    best = loss_of(answering("cirm", loss, ideal("cirm", parts)), parts)
    assert best == pytest.approx(0 if loss == "signal" else -30, abs=0.05)
    assert loss_of(answering("cirm", loss, ideal("cirm", parts).flip(1)), parts) > best + 0.5


def test_levels_of_stems_count_unless_they_are_free() -> None:
    parts, masks = noise(3, 2, LENGTH), 0.6 + noise(3, 2, 33, LENGTH // 32 + 1, seed=1)
    quiet, loud = (answering("iam", "si-sdr", scale * masks) for scale in (0.5, 1.0))
    assert loss_of(quiet, parts) == pytest.approx(loss_of(loud, parts), abs=1e-3)
    quiet, loud = (answering("iam", "snr", scale * masks) for scale in (0.5, 1.0))
    assert abs(loss_of(quiet, parts) - loss_of(loud, parts)) > 0.1


@pytest.mark.parametrize("level", [1.0, 1e-2])
def test_silence_is_no_good_answer(level: float) -> None:
    """A stem without error, as it has no sound, is as far from its source as one that is all error."""
    parts = level * noise(3, 2, LENGTH)
    for mask in (0.0, 1e-6):
        assert loss_of(answering("psm", "si-sdr", torch.full((1, 2, 1, 1), mask)), parts) == pytest.approx(0, abs=0.1)
    shares = parts.square().mean(-1) / parts.sum(1, keepdim=True).square().mean(-1)
    expected = (10 * (shares + 1e-3).log10()).mean()
    assert loss_of(answering("psm", "snr", torch.zeros(1, 2, 1, 1)), parts) == pytest.approx(float(expected), abs=1e-3)


def test_what_an_absent_source_gets_is_judged_by_the_mixture() -> None:
    parts = noise(1, 2, LENGTH)
    parts = parts - parts.mean(-1, keepdim=True)
    parts[:, 1] = 0
    for leaked in (0.0, 0.1, 0.5):
        answer = torch.tensor([1.0, leaked])[None, :, None, None]
        expected = (-30 + 10 * log10(leaked**2 + 1e-3)) / 2
        for loss in ("snr", "si-sdr"):
            assert loss_of(answering("psm", loss, answer), parts) == pytest.approx(expected, abs=0.05)


# Always


def awkward() -> Tensor:
    """Mixtures of two: as usual, with one absent, of nothing, of what cancels, of very little."""
    parts = noise(5, 2, 700)
    parts[1, 0] = 0
    parts[2] = 0
    parts[3, 1] = -parts[3, 0]
    parts[4] *= 1e-6
    return parts


@pytest.mark.parametrize(("target", "loss"), LEARNABLE)
@pytest.mark.parametrize("config", [CONFIG, DROPPED])
def test_losses_and_gradients_are_finite(target: str, loss: str, config: NetConfig) -> None:
    task = task_of(target, loss, config)
    task.network.train()
    weights = dict(task.network.named_parameters())
    for parts in (awkward(), *awkward().split(1)[1:4]):
        value = task.losses(parts)[loss]
        assert value.isfinite()
        for name, slope in zip(weights, torch.autograd.grad(value, list(weights.values())), strict=True):
            assert slope.isfinite().all(), name
    slopes = torch.autograd.grad(task.losses(noise(4, 2, 700))[loss], list(weights.values()))
    assert all(slope.abs().max() > 0 for slope in slopes)


@pytest.mark.parametrize(("target", "loss"), LEARNABLE)
def test_gradients_are_those_of_small_changes(target: str, loss: str) -> None:
    parts = noise(2, 2, LENGTH)
    answer = (3 * noise(2, 2 * maps(target), 33, LENGTH // 32 + 1, seed=1) + 0.5).requires_grad_()
    task = task_of(target, loss)
    task.network.net.trunk = Fixed(answer)
    (slope,) = torch.autograd.grad(task.losses(parts)[loss], answer)
    ahead = slope / slope.norm()
    values = []
    for step in (-0.1, 0.1):
        task.network.net.trunk = Fixed(answer.detach() + step * ahead)
        values.append(loss_of(task, parts))
    assert (values[1] - values[0]) / 0.2 == pytest.approx(float(slope.norm()), rel=0.05)


@pytest.mark.parametrize("target", TARGETS)
def test_half_precision_is_near(target: str) -> None:
    """bfloat16 is for the network alone: what it answers is judged in single precision."""
    parts = noise(3, 2, LENGTH)
    for loss in OF_SIGNALS:
        fixed = answering(target, loss, constant(target, (0.4, 0.5)))
        for task, tolerance in ((fixed, 1e-5), (task_of(target, loss), 0.05)):
            with torch.autocast("cpu", torch.bfloat16):
                half = loss_of(task, parts)
            assert half == pytest.approx(loss_of(task, parts), rel=tolerance, abs=tolerance)


def test_dropped_frames_are_not_judged() -> None:
    parts = noise(2, 2, LENGTH)
    answer = ideal("cirm", parts)[..., 2:-2]
    for loss in (*OF_MASKS, *OF_SIGNALS):
        got = loss_of(answering("cirm", loss, answer, DROPPED), parts)
        assert got == pytest.approx(-30 if loss in ("snr", "si-sdr") else 0, abs=0.05)
    wrong = answer.clone()
    wrong[..., 0] += 3  # the first that is
    assert loss_of(answering("cirm", "mae", wrong, DROPPED), parts) > 0.01


def test_separate_masks_the_mixture() -> None:
    parts = noise(3, 2, 1280)
    mixture = parts.sum(1)
    answer = ideal("cirm", parts)
    got = answering("cirm", "mse", answer).separate(mixture)
    assert got.shape == (3, 2, 1280)
    assert si_sdr(got, parts).min() > 40
    shares = answering("psm", "mse", constant("psm", SHARES)).separate(mixture)
    expected = torch.tensor(SHARES)[:, None] * mixture[:, None]
    torch.testing.assert_close(shares, expected)
    edges = task_of("irm", "mse", DROPPED)
    edges.network.eval()
    assert edges.separate(mixture).shape == (3, 2, 1280)  # every frame has an answer once it is trained


def test_a_task_says_what_it_is() -> None:
    tasks = [("irm", "mse", CONFIG), ("ibm", "mse", CONFIG), ("irm", "mae", CONFIG), ("irm", "mse", DROPPED)]
    assert len({repr(task_of(*task)) for task in tasks}) == 4
    assert repr(task_of(*tasks[0])) == repr(task_of(*tasks[0]))


@pytest.mark.parametrize(
    ("target", "loss", "expected"),
    [
        ("crm", "mse", "signal, snr, si-sdr"),
        ("crm", "rmse", "signal, snr, si-sdr"),
        ("crm", "mae", "signal, snr, si-sdr"),
        ("crm", "cross-entropy", "signal, snr, si-sdr"),
        *((target, "cross-entropy", "mse, rmse, mae, signal, snr, si-sdr") for target in ("iam", "psm", "orm", "cirm")),
        ("irm", "hinge", "mse, rmse, mae, cross-entropy, signal, snr, si-sdr"),
    ],
)
def test_refused(target: str, loss: str, expected: str) -> None:
    with pytest.raises(GansepError) as error:
        task_of(target, loss)
    assert str(error.value) == f"{target} masks cannot be learned by {loss!r}; expected one of {expected}"

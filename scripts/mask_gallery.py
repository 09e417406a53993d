"""A gallery of masks: what each looks like on a real recording, and what each can reach at best.

    python scripts/mask_gallery.py --data DATA -o DIR

DATA holds ``speech/valid`` and ``noise/valid``; every sentence is mixed with a part of a noise recording, drawn by the
seed, at signal-to-noise ratios (by RMS over the sentence) in dB. Masks are made from the true speech and noise, at
16 kHz with STFTs 512/128. Tables come in Markdown; DIR gets pictures (the ``plots`` extra) and WAV files:

- ``masks.png``: every mask on one mixture. ``values.png``: where the amplitude and phase-sensitive masks leave [0, 1].
- ``coherent.png``: the coherent part of the optimal ratio mask, and the mask without it.
- ``random.png``, ``random-*.wav``: clean speech under a random real and a random complex mask.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from gansep.audio import shared_gain, write
from gansep.dsp.masks import apply_mask, cirm, compress, crm, iam, ibm, irm, orm, psm, wiener
from gansep.dsp.stft import istft, stft
from gansep.metrics import bss_eval, pesq, si_sdr, spectral_snr, stoi
from gansep.plots import can_plot, save
from gansep.research.denoising import sentences
from gansep.research.plots import COLOURS, DPI, INK
from gansep.types import GansepError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATE, N_FFT, HOP = 16000, 512, 128
SNRS = (-5.0, 0.0, 5.0, 10.0)  # dB
FLOOR_DB = -80.0  # of spectrograms, below the mixture's largest bin
SIGNED_DB = 60.0  # of signed levels
LONGEST = 20 * RATE  # samples of a sentence: PESQ takes no more

Mask = Callable[[Tensor, Tensor], Tensor]
Judge = Callable[[Tensor, Tensor], Tensor]


def wiener_filter(source: Tensor, rest: Tensor) -> Tensor:
    return wiener(torch.stack([source, rest]).abs().square())[0]


def at_most_1(source: Tensor, rest: Tensor) -> Tensor:
    """The complex ideal ratio mask with magnitudes above 1 cut to 1: the nearest that a bounded mask can come to it."""
    mask = cirm(source, rest)
    return mask / mask.abs().clamp(min=1)


MASKS: dict[str, Mask] = {
    "none: the mixture": lambda source, rest: torch.ones_like(source),
    "ibm": ibm,
    "ibm, theta 0.5": partial(ibm, theta=0.5),
    "irm": irm,
    "iam": iam,
    "psm": psm,
    "psm, truncated": partial(psm, truncate=True),
    "orm": orm,
    "cirm": cirm,
    "wiener": wiener_filter,
    "crm, tanh of cirm": lambda source, rest: crm(cirm(source, rest)),
    "crm, cirm cut at 1": at_most_1,
}


@dataclass(frozen=True)
class Scene:
    """A sentence and a noise.

    Attributes:
        name: of the two files. speech, noise: ``[T]`` each, of equal RMS.
    """

    name: str
    speech: Tensor
    noise: Tensor

    def spectra(self, snr: float) -> tuple[Tensor, Tensor]:
        """Speech and noise ``[F, N]`` at a signal-to-noise ratio in dB; the mixture is their sum."""
        return stft(self.speech, N_FFT, HOP), stft(10 ** (-snr / 20) * self.noise, N_FFT, HOP)

    def heard(self, spec: Tensor) -> Tensor:
        """``[F, N]`` to ``[T]``."""
        return istft(spec, len(self.speech), N_FFT, HOP)

    def masked(self, mask: Mask, snr: float) -> Tensor:
        """What a mask makes of the mixture, ``[T]``."""
        speech, noise = self.spectra(snr)
        return self.heard(apply_mask(mask(speech, noise)[None], speech + noise)[0])

    @property
    def seconds(self) -> float:
        return len(self.speech) / RATE


def scenes(data: Path, count: int | None, seed: int) -> list[Scene]:
    """The first ``count`` sentences with their noises, as loud as they are."""
    examples = islice(sentences(data, "valid", 0.0, seed), count)
    return [Scene(one.group.replace("+", " + "), *one.references[:, 0, :LONGEST].double()) for one in examples]


def judges() -> tuple[dict[str, Judge], list[str]]:
    """What estimates ``[K, T]`` of a wave ``[T]`` are judged by, and what to install for those that say NaN."""
    known: dict[str, Judge] = {
        "SDR": lambda estimates, speech: bss_eval(estimates[:, None, None], speech[None, None]).sdr[:, 0],
        "SI-SDR": si_sdr,
        "STOI": partial(stoi, sample_rate=RATE),
        "PESQ": partial(pesq, sample_rate=RATE),
        "spectral SNR": spectral_snr,
    }
    missing = []
    for title in ("STOI", "PESQ"):
        try:
            known[title](torch.zeros(1, 1), torch.zeros(1))
        except GansepError as error:
            missing.append(str(error))
            known[title] = lambda estimates, speech: torch.full(estimates.shape[:1], torch.nan, dtype=torch.float64)
    return known, missing


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"\n### {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def cell(title: str, value: float) -> str:
    digits = {"STOI": 3, "PESQ": 2}.get(title, 1)
    return "-" if value != value else f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.0


def oracle(examples: Sequence[Scene], known: Mapping[str, Judge]) -> None:
    """What each mask reaches at each signal-to-noise ratio, means over sentences."""
    titles = ("SDR", "SI-SDR", "STOI", "PESQ")
    for snr in SNRS:
        found = []
        for scene in examples:
            estimates = torch.stack([scene.masked(mask, snr) for mask in MASKS.values()])  # [K, T]
            found.append(torch.stack([known[title](estimates, scene.speech) for title in titles], -1))
        means = torch.stack(found).nanmean(0).tolist()  # [rows, titles]
        cells = ([name, *map(cell, titles, row)] for name, row in zip(MASKS, means, strict=True))
        table(f"Ideal masks, input {snr:g} dB, mean of {len(examples)}", ("mask", *titles), cells)


class Look(NamedTuple):
    """Colours of a panel: a map, the values at its ends, and what its bar says."""

    colours: str
    low: float
    high: float
    label: str = ""
    extend: str = "neither"
    ticks: Mapping[float, str] | None = None


LEVEL = Look("magma", FLOOR_DB, 0.0, "dB")
SHARE = Look("viridis", 0.0, 1.0)
ABOVE = Look("viridis", 0.0, 2.0, extend="max")
SIGNED = Look("RdBu_r", -2.0, 2.0, extend="both")
PARTS = Look("RdBu_r", -1.0, 1.0, extend="both")
TICKS = {
    -SIGNED_DB: "negative, 0 dB",
    -SIGNED_DB / 2: f"negative, {-SIGNED_DB / 2:.0f} dB",
    0.0: f"under {-SIGNED_DB:.0f} dB",
    SIGNED_DB / 2: f"positive, {-SIGNED_DB / 2:.0f} dB",
    SIGNED_DB: "positive, 0 dB",
}
POWER = Look("RdBu_r", -SIGNED_DB, SIGNED_DB, ticks=TICKS)

Panel = tuple[str, Tensor, Look]


def level(spec: Tensor, peak: Tensor) -> Tensor:
    """Magnitudes in dB below ``peak``."""
    return 20 * (spec.abs() / peak).clamp(min=10 ** (FLOOR_DB / 20)).log10()


def signed(power: Tensor, peak: Tensor) -> Tensor:
    """Powers of either sign, ``±`` their dB above 60 dB below ``peak``."""
    return power.sign() * (10 * (power.abs() / peak).clamp(min=10 ** (-SIGNED_DB / 10)).log10() + SIGNED_DB)


def grid(path: Path, title: str, seconds: float, panels: Sequence[Panel]) -> None:
    """Panels in rows of three, time in seconds to the right and frequency in kHz upwards."""
    from matplotlib.figure import Figure

    rows = -(-len(panels) // 3)
    figure = Figure(figsize=(13.8, 2.5 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, 3, sharex=True, sharey=True, squeeze=False)
    for axis, panel in zip(axes.ravel(), panels, strict=True):
        draw(figure, axis, seconds, *panel)
    for axis in axes[:, 0]:
        axis.set_ylabel("frequency (kHz)", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("time (s)", fontsize=8)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    save(figure, path, DPI)


def draw(figure: Figure, axis: Axes, seconds: float, title: str, image: Tensor, look: Look) -> None:
    mesh = axis.imshow(
        image.numpy(),
        origin="lower",
        aspect="auto",
        cmap=look.colours,
        vmin=look.low,
        vmax=look.high,
        extent=(0, seconds, 0, RATE / 2000),
    )
    axis.set_title(title, loc="left", fontsize=9)
    axis.tick_params(labelsize=8)
    bar = figure.colorbar(mesh, ax=axis, extend=look.extend, fraction=0.05, pad=0.02)
    bar.set_label(look.label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    if look.ticks:
        bar.set_ticks(list(look.ticks), labels=list(look.ticks.values()))


def gallery(scene: Scene, out: Path) -> None:
    """Every mask on one mixture at 0 dB."""
    speech, noise = scene.spectra(0)
    mixture = speech + noise
    peak = mixture.abs().max()
    whole = cirm(speech, noise)
    small = compress(whole)
    panels = [
        ("mixture, 0 dB", level(mixture, peak), LEVEL),
        ("speech", level(speech, peak), LEVEL),
        ("noise", level(noise, peak), LEVEL),
        ("ibm", ibm(speech, noise), SHARE),
        ("ibm, theta 0.5", ibm(speech, noise, theta=0.5), SHARE),
        ("ibm, local criterion -5 dB", ibm(speech, noise, criterion=-5.0), SHARE),
        ("irm", irm(speech, noise), SHARE),
        ("wiener (irm squared)", wiener_filter(speech, noise), SHARE),
        ("iam, above 2 as 2", iam(speech, noise), ABOVE),
        ("psm", psm(speech, noise), SIGNED),
        ("psm, truncated to [0, 1]", psm(speech, noise, truncate=True), SHARE),
        ("orm (psm by another formula)", orm(speech, noise), SIGNED),
        ("cirm, real part, compressed", small.real, PARTS),
        ("cirm, imaginary part, compressed", small.imag, PARTS),
        ("crm of cirm, magnitude (tanh)", crm(whole).abs(), SHARE),
    ]
    grid(out / "masks.png", f"Masks of speech in {scene.name}", scene.seconds, panels)


def values(examples: Sequence[Scene], out: Path) -> None:
    """Histograms of the amplitude and the phase-sensitive mask, and how much of them a bounded output cannot say."""
    from matplotlib.figure import Figure

    found = {
        title: torch.cat([mask(*scene.spectra(0)).flatten() for scene in examples])
        for title, mask in (("iam", iam), ("psm", psm))
    }
    figure = Figure(figsize=(9.2, 3.2), layout="constrained")
    rows = []
    for axis, (title, mask) in zip(figure.subplots(1, 2, sharey=True), found.items(), strict=True):
        histogram(axis, title, mask)
        parts = [(mask < 0).double().mean(), (mask > 1).double().mean()]
        ordered = mask.sort().values
        marks = [f"{float(ordered[int(q * (len(mask) - 1))]):.2f}" for q in (0.5, 0.99)]
        shares = [f"{100 * float(part):.1f} %" for part in parts]
        rows.append([title, str(len(mask)), *shares, *marks, f"{float(ordered[-1]):.0f}"])
    save(figure, out / "values.png", DPI)
    head = ("mask", "points", "below 0", "above 1", "median", "99 % below", "largest")
    table(f"Values of masks at 0 dB, {len(examples)} mixtures", head, rows)


def histogram(axis: Axes, title: str, mask: Tensor) -> None:
    """Shares of points in bins of 0.05, those outside [0, 1] in another colour."""
    low, high, count = -2.0, 3.0, 100
    shares = torch.histc(mask, count, low, high) / len(mask)
    edges = torch.linspace(low, high, count + 1)[:-1]
    bounded = (edges > -1e-6) & (edges < 1 - 1e-6)
    for which, colour, text in ((bounded, COLOURS[0], "in [0, 1]"), (~bounded, COLOURS[1], "outside")):
        axis.bar(edges[which], shares[which], (high - low) / count, align="edge", color=colour, linewidth=0, label=text)
    beyond = float(((mask < low) | (mask > high)).double().mean())
    axis.set_title(f"{title} ({beyond:.1%} lie beyond the axis)", loc="left", fontsize=9)
    axis.set_yscale("log")
    axis.set_xlabel("value", fontsize=9)
    axis.set_ylabel("share of points", fontsize=9)
    axis.axvline(0, color=INK, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=8, frameon=False)


def coherent(scene: Scene, examples: Sequence[Scene], out: Path) -> None:
    """The part of the optimal ratio mask that knows how speech and noise lie to each other, and what it is worth."""
    speech, noise = scene.spectra(0)
    peak = (speech + noise).abs().square().max()
    whole, without = orm(speech, noise), irm(speech, noise, 1.0)
    panels = [
        ("|S|²", signed(speech.abs().square(), peak), POWER),
        ("Re(S N*), the coherent part", signed((speech * noise.conj()).real, peak), POWER),
        ("|Y|²", signed((speech + noise).abs().square(), peak), POWER),
        ("orm", whole, SIGNED),
        ("without the coherent part (irm squared)", without, SIGNED),
        ("difference", whole - without, SIGNED),
    ]
    grid(out / "coherent.png", f"The optimal ratio mask of {scene.name}, 0 dB", scene.seconds, panels)
    names = {"none: the mixture": "", "orm": "", "wiener": "orm without the coherent part (irm squared, wiener)"}
    rows = []
    for name, title in names.items():
        here, *each = (si_sdr(one.masked(MASKS[name], 0), one.speech) for one in (scene, *examples))
        rows.append([title or name, cell("", float(here)), cell("", float(torch.stack(each).mean()))])
    head = ("mask", f"SI-SDR dB, {scene.name}", f"SI-SDR dB, mean of {len(examples)}")
    table("The coherent part at 0 dB", head, rows)


def random_masks(scene: Scene, out: Path, known: Mapping[str, Judge], seed: int) -> None:
    """Clean speech under masks that know nothing: shares keep its sound, phases do not."""
    random = torch.Generator().manual_seed(seed)
    speech, _ = scene.spectra(0)
    share, turn = torch.rand(2, *speech.shape, generator=random, dtype=torch.float64)
    masked = {"real": share * speech, "complex": torch.polar(torch.ones_like(turn), 2 * torch.pi * turn) * speech}
    waves = torch.stack([scene.speech, *map(scene.heard, masked.values())])
    gain = shared_gain(waves.abs().amax(1).tolist(), "PCM_24")
    for name, wave in zip(("clean", *masked), waves, strict=True):
        write(out / f"random-{name}.wav", gain * wave[None], RATE)
    peak = speech.abs().max()
    clean, share_heard, turn_heard = (level(stft(wave, N_FFT, HOP), peak) for wave in waves)
    panels = [
        ("clean", clean, LEVEL),
        ("times a random share in [0, 1]", level(masked["real"], peak), LEVEL),
        ("times a random phase", level(masked["complex"], peak), LEVEL),
        ("clean, as heard", clean, LEVEL),
        ("random share, as heard", share_heard, LEVEL),
        ("random phase, as heard", turn_heard, LEVEL),
    ]
    grid(out / "random.png", f"Random masks on clean speech, {scene.name.split(' + ')[0]}", scene.seconds, panels)
    titles = ("SI-SDR", "STOI", "PESQ", "spectral SNR")
    scores = torch.stack([known[title](waves, scene.speech) for title in titles], -1).tolist()
    names = ("clean", "random real mask, uniform in [0, 1]", "random complex mask, magnitude 1")
    cells = ([name, *map(cell, titles, row)] for name, row in zip(names, scores, strict=True))
    table(f"Random masks on {scene.name.split(' + ')[0]}", ("speech", *titles), cells)


def contested(examples: Sequence[Scene]) -> Scene:
    """The example to look at: in about half of its points speech prevails."""
    return min(examples, key=lambda scene: abs(float(ibm(*scene.spectra(0)).mean()) - 0.5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--n", type=int, help="sentences (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not can_plot():
        parser.error("pictures need matplotlib, which is not installed; pip install matplotlib")
    if args.n is not None and args.n < 1:
        parser.error(f"--n must be at least 1, got {args.n}")
    try:
        examples = scenes(args.data, args.n, args.seed)
        known, missing = judges()
        scene = contested(examples)
        gallery(scene, args.out)
        values(examples, args.out)
        coherent(scene, examples, args.out)
        random_masks(scene, args.out, known, args.seed)
        oracle(examples, known)
    except GansepError as error:
        parser.error(str(error))
    print("\nSDR, SI-SDR and spectral SNR in dB; 156 dB is the precision of the figures.")
    for line in missing:
        print(f"- {line}")


if __name__ == "__main__":
    main()

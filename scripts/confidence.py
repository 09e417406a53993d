"""How far the expected SI-SDR of a window goes with the true one.

    python scripts/confidence.py --data DATA -o confidence

Every window of the mixtures of the comparison's tasks is separated with the right priors. What the separator expects
of a source there (``expected_si_sdr_db`` in separation.json) is compared with the SI-SDR of its stem: Spearman's rank
correlation with its 95 % interval over mixtures, what comes true of each expectation, and a picture of both. Sources
that are silent in a window, 40 dB or more below it, are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from gansep.backends.gan_prior import GanPrior, recipe_for
from gansep.library import load_prior
from gansep.metrics import si_sdr
from gansep.refine import refine
from gansep.research.protocol import RATE, TASKS, Mixture, mixtures

QUIET = 1e-4  # share of a window's power below which a source counts as silent in it
WIDTH = 5  # dB of a bin


def windows(example: Mixture, separator: GanPrior) -> Iterator[tuple[float, float]]:
    """Expected and true SI-SDR in dB of every source that sounds, window by window."""
    size = separator.segment or 0
    for start in range(0, example.references.shape[-1] - size + 1, size // 2):
        parts = example.references[:, 0, start : start + size]  # [S, T]
        mixture = parts.sum(0, keepdim=True)
        answer = separator(mixture)
        stems = refine(mixture[:, None], RATE, answer.waves, RATE, separator.refinement)[0, :, 0]
        ratio = answer.stats["sure"][0] / answer.stats["unsure"][0].clamp_min(1e-12)
        expected, true = 10 * ratio.clamp(1e-3, 1e6).log10(), si_sdr(stems, parts)
        sounds = parts.square().mean(-1) > QUIET * mixture.square().mean()
        yield from ((float(e), float(t)) for e, t, s in zip(expected, true, sounds, strict=True) if s and t.isfinite())


def measure(args: argparse.Namespace) -> list[Tensor]:
    """Expected and true values of each mixture, ``[n, 2]``."""
    recipe = recipe_for(quality=args.quality, listen=0 if args.search_alone else None)
    found = []
    for task, sources in TASKS.items():
        separator = GanPrior([load_prior(source, args.library) for source in sources], recipe)
        for example in mixtures(args.data, task, "wild", args.split, args.n, args.seed):
            if values := list(windows(example, separator)):
                found.append(torch.tensor(values))
    return found


def spearman(values: Tensor) -> float:
    """Rank correlation of the columns of ``[n, 2]``."""
    return float(np.corrcoef(rankdata(values[:, 0]), rankdata(values[:, 1]))[0, 1])


def interval(found: list[Tensor], seed: int) -> tuple[float, float, float]:
    """Spearman's correlation and its 95 % bootstrap interval over mixtures."""
    dice = np.random.default_rng(seed)
    draws = [[found[i] for i in dice.integers(len(found), size=len(found))] for _ in range(500)]
    values = [spearman(torch.cat(draw)) for draw in draws]
    low, high = np.percentile(values, (2.5, 97.5))
    return spearman(torch.cat(found)), float(low), float(high)


def table(values: np.ndarray) -> list[tuple[int, int, float, float, float]]:
    """Bins of expected dB: lower end, count, quartiles of what came true."""
    bins = np.floor(values[:, 0] / WIDTH).astype(int) * WIDTH
    rows = []
    for low in np.unique(bins):
        true = values[bins == low, 1]
        rows.append((int(low), len(true), *(float(q) for q in np.percentile(true, (25, 50, 75)))))
    return rows


def draw(path: Path, values: np.ndarray, said: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    low, high = -20, 45
    axes.plot([low, high], [low, high], color="0.6", linewidth=1)
    axes.scatter(*values.T, s=6, alpha=0.35, linewidths=0)
    rows = [row for row in table(values) if row[1] >= 5]
    at, middle = [row[0] + WIDTH / 2 for row in rows], [row[3] for row in rows]
    axes.plot(at, middle, color="black", marker="o", markersize=4, label=f"median in {WIDTH} dB")
    axes.set(xlim=(low, high), ylim=(low, high), title=said)
    axes.set(xlabel="expected SI-SDR of a source in a window, dB", ylabel="true SI-SDR, dB")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--split", choices=("dev", "valid"), default="valid")
    parser.add_argument("--quality", default="default")
    parser.add_argument("--search-alone", action="store_true", help="without the priors' listeners")
    parser.add_argument("--n", type=int, default=40, help="mixtures a task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, help="folder for the picture")
    args = parser.parse_args()
    found = measure(args)
    values = torch.cat(found).numpy()
    said = "Spearman {:.2f} [{:.2f}, {:.2f}]".format(*interval(found, args.seed))
    print(f"{said}, {len(values)} sources in windows of {len(found)} mixtures\n")
    print("| expected, dB | count | 25 % | median | 75 % |\n|---|---|---|---|---|")
    for low, count, *quartiles in table(values):
        print(f"| {low} to {low + WIDTH} | {count} | {' | '.join(f'{value:.1f}' for value in quartiles)} |")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        draw(args.out / "confidence.png", values, said)


if __name__ == "__main__":
    main()

"""The article's table, its loss curves and what each of its four losses is worth, on our recordings and priors.

    python scripts/reproduce_paper.py table --data DATA -o comparison     # takes over what gansep compare left there
    python scripts/reproduce_paper.py curves --data DATA --n 8 -o DIR     # picture of the four terms by step
    python scripts/reproduce_paper.py terms --data DATA --n 8             # each term left out, with intervals

The article: V. Narayanaswamy, J. J. Thiagarajan, R. Anirudh, A. Spanias, Interspeech 2020 (arXiv 2005.13769). DATA
holds ``<class>/train`` and ``<class>/valid``; all figures are of ``valid``, in the ``paper`` condition.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gansep.backends.gan_prior import RECIPES, GanPrior, Recipe
from gansep.library import load_prior
from gansep.metrics import bootstrap_interval, paired_difference, si_sdr_improvement, spectral_snr
from gansep.pipeline import Settings
from gansep.refine import Refinement
from gansep.research.compare import Comparison, compare
from gansep.research.protocol import TASKS, Mixture, mixtures
from gansep.research.records import Record
from gansep.research.rows import DEFAULT, parse_rows
from gansep.research.running import Runner, through
from gansep.research.sources import pools_of

PUBLISHED = RECIPES["narayanaswamy2020"]
TERMS = ("spectral", "dissimilarity", "correlation", "continuity")
DIFFERENCES = """
What differs from the article:
- Recordings: Arabic digits, drum machines and one acoustic kit, and Bach on a sampled Steinway, held out by speaker,
  kit and piece; the article has SC09 digits, drums and piano of its own selection, 1000 mixtures.
- Priors: WaveGAN generators of width 32 trained for an hour of CPU each with an encoder; the article's have width 64
  and were trained as WGAN-GP. The search of narayanaswamy2020 starts from zero and does not use the encoders.
- The projection to [-1, 1] works here; the published program leaves it out.
- Rows named raw are the generators' own sound, as in the article; others are masks on the mixture.
- NMF has dictionaries of each source; PCA, kernel PCA and FastICA work on the spectrogram. The published program gave
  them a second observation of rank one, or returned the mixture.
- SIR is BSS eval v4 (512 taps, one window); stems of rows with * have no names and are matched as they fit best.
- The article prints the mean and calls it the median; these are means.
"""


def table(args: argparse.Namespace) -> None:
    """Spectral SNR, envelope distance and SIR of each source, a table a task."""
    sources = sorted({name for names in TASKS.values() for name in names})
    pools = pools_of([args.data / name for name in sources])
    rows = parse_rows(args.backends.split(",") if args.backends else DEFAULT)
    limits = dict(item.split("=") for item in args.n_for)
    wanted = Comparison(pools, TASKS, rows, ("paper",), args.n, {k: int(v) for k, v in limits.items()}, seed=args.seed)
    records, notes = compare(wanted, Runner(args.library), args.out)
    for task, names in TASKS.items():
        print(f"\n### {task}\n")
        for line in layout([record for record in records if record.task == task], names):
            print(line)
    for note in notes:
        print(f"- {note}")
    print(DIFFERENCES)


def layout(records: Sequence[Record], sources: Sequence[str]) -> Iterator[str]:
    """The article's columns: for each metric one column a source."""
    metrics = {"spectral_snr": "spectral SNR (dB)", "envelope_distance": "envelope distance", "sir": "SIR (dB)"}
    head = [f"{title}, {source}" for title in metrics.values() for source in sources]
    yield f"| method | n | {' | '.join(head)} |"
    yield f"|{'---|' * (len(head) + 2)}"
    by_row: dict[str, list[Record]] = {}
    for record in records:
        by_row.setdefault(record.row, []).append(record)
    for row, found in by_row.items():
        cells = []
        for metric in metrics:
            for source in sources:
                values = torch.tensor([record.metrics[source][metric] for record in found], dtype=torch.float64)
                cells.append(f"{float(values.nanmean()):.{3 if metric == 'envelope_distance' else 1}f}")
        star = " *" if found[0].permuted else ""
        yield f"| {row}{star} | {len(found)} | {' | '.join(cells)} |"


def examples_of(task: str, args: argparse.Namespace) -> list[Mixture]:
    return list(mixtures(args.data, task, "paper", "valid", args.n, args.seed))


def separator_for(task: str, recipe: Recipe, args: argparse.Namespace) -> GanPrior:
    recipe = replace(recipe, settings=replace(recipe.settings, steps=args.steps))
    return GanPrior([load_prior(name, args.library) for name in TASKS[task]], recipe)


def curves(args: argparse.Namespace) -> None:
    """Weighted terms by step, mean over mixtures: printed at a few steps, drawn as a picture."""
    from gansep.research.plots import save_loss_curves

    args.out.mkdir(parents=True, exist_ok=True)
    print(f"| task | step | {' | '.join((*TERMS, 'total'))} | share of spectral in the sum of sizes |")
    print(f"|{'---|' * 8}")
    for task in args.tasks.split(","):
        batch = torch.stack([example.mixture[0] for example in examples_of(task, args)])
        stats = separator_for(task, PUBLISHED, args)(batch).stats
        series = {name: stats[name].mean(0) for name in (*TERMS, "total")}
        for step in sorted({0, args.steps // 100, args.steps // 10, args.steps}):
            sizes = {name: float(values[step]) for name, values in series.items()}
            share = abs(sizes["spectral"]) / sum(abs(sizes[name]) for name in TERMS)
            print(f"| {task} | {step} | {' | '.join(f'{v:.4g}' for v in sizes.values())} | {share:.1%} |", flush=True)
        picture = args.out / f"losses-{task}.png"
        title = f"{task}: the four losses of the published recipe, mean of {len(batch)} mixtures"
        save_loss_curves(picture, {name: values.tolist() for name, values in series.items()}, title)
        (args.out / f"losses-{task}.json").write_text(json.dumps({k: v.tolist() for k, v in series.items()}))


def terms(args: argparse.Namespace) -> None:
    """The published search with each loss left out: what that costs, by masks and by raw spectrograms."""
    print("| task | losses | SI-SDR impr. dB [95 %] | change [95 %] | p | spectral SNR, raw, dB | change [95 %] | p |")
    print(f"|{'---|' * 8}", flush=True)
    variants = {"all four": PUBLISHED.objective}
    variants |= {f"without {term}": replace(PUBLISHED.objective, **{term: 0.0}) for term in TERMS}
    for task in args.tasks.split(","):
        examples = examples_of(task, args)
        groups = [example.group for example in examples]
        whole: list[Tensor] = []
        for name, objective in variants.items():
            figures = measured(separator_for(task, replace(PUBLISHED, objective=objective), args), examples)
            whole = whole or figures
            cells = []
            for mine, theirs in zip(figures, whole, strict=True):
                low, high = bootstrap_interval(mine.numpy(), groups, args.seed)
                cells.append(f"{float(mine.mean()):.2f} [{low:.2f}, {high:.2f}]")
                if mine is theirs:
                    cells += ["", ""]
                    continue
                gap, low, high, p = paired_difference(mine.numpy(), theirs.numpy(), groups, args.seed)
                cells += [f"{gap:+.2f} [{low:+.2f}, {high:+.2f}]", f"{p:.3f}"]
            print(f"| {task} | {name} | {' | '.join(cells)} |", flush=True)


def measured(separator: GanPrior, examples: Sequence[Mixture]) -> list[Tensor]:
    """Mean over sources of SI-SDR improvement of the masked stems and spectral SNR of the raw ones, ``[n]`` each."""
    raw = separator(torch.stack([example.mixture[0] for example in examples])).waves
    masked = through(_Known(separator, raw), examples, Settings(refinement=Refinement()))
    gains, snrs = [], []
    for stems, waves, example in zip(masked, raw, examples, strict=True):
        truth = example.references[:, 0]
        gains.append(si_sdr_improvement(stems[:, 0], truth, example.mixture).mean())
        snrs.append(spectral_snr(waves, truth).mean())
    return [torch.stack(gains), torch.stack(snrs)]


class _Known:
    """A separator that was asked already: each mixture of the paper condition is one window."""

    def __init__(self, separator: GanPrior, waves: Tensor) -> None:
        self.sources, self.sample_rate, self.segment = separator.sources, separator.sample_rate, separator.segment
        self.refinement, self.estimates, self.at = separator.refinement, waves, 0

    def __call__(self, mixture: Tensor):
        from gansep.types import Estimates

        first, self.at = self.at, self.at + len(mixture)
        return Estimates(self.estimates[first : self.at], self.sources)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("table", "curves", "terms"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--backends", help="rows of the table (default: all)")
    parser.add_argument("--n", type=int, default=40, help="mixtures a task")
    parser.add_argument("--n-for", nargs="+", default=[], help="fewer for some rows, as deep-prior=10")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=Path("comparison"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    {"table": table, "curves": curves, "terms": terms}[args.what](args)


if __name__ == "__main__":
    main()

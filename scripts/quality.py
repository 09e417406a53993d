"""How well the priors separate: SI-SDR improvement and spectral SNR for every task and condition, beside its bounds.

    python scripts/quality.py --data DATA                          # valid, 40 mixtures a task and condition
    python scripts/quality.py --data DATA --split dev --n 20 --rows ours,ours-raw
    python scripts/quality.py --data DATA --choice --library DIR   # how often -k alone finds the right sources

DATA holds ``<class>/train`` and ``<class>/valid``. ``valid`` is for figures that are reported, ``dev`` for choices. NMF
dictionaries are learned on ``train`` less ``dev``, as the priors were. Intervals are 95 % bootstrap intervals of the
mean, resampled by speaker, kit and piece. Source by source, with the names given, unless --choice is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gansep.backends.gan_prior import QUALITIES, RECIPES, GanPrior
from gansep.dsp.frames import split
from gansep.library import installed_priors, load_prior
from gansep.metrics import bootstrap_interval, si_sdr_improvement, spectral_snr
from gansep.pipeline import Settings, Track, listen, separate_tracks
from gansep.planning import OVERLAPS, choose_for
from gansep.refine import Refinement, refine
from gansep.research.protocol import CONDITIONS, TASKS, Mixture, mixtures, split_files
from gansep.training.data import load_clips
from gansep.types import Estimates, Separator

Row = Callable[[Sequence[Mixture], argparse.Namespace], list[Tensor]]  # to stems [S, C, T] of each mixture
RATE = 16000
ATOMS, N_FFT, FRAMES = 64, 1024, 20000


def time_cut(examples: Sequence[Mixture], args: argparse.Namespace) -> list[Tensor]:
    """What a pair of scissors reaches: the first 0.2 s to one source, the rest to the other, the better way round."""
    stems = []
    for example in examples:
        mixture, cut = example.mixture, round(0.2 * example.sample_rate)
        early, late = mixture.clone(), mixture.clone()
        early[:, cut:], late[:, :cut] = 0, 0
        assignments = [[early if i == first else late for i in range(len(example.sources))] for first in range(2)]
        options = [torch.stack(parts) for parts in assignments]
        stems.append(max(options, key=lambda option: float(score(option, example)[0].nanmean())))
    return stems


def unchanged(examples: Sequence[Mixture], args: argparse.Namespace) -> list[Tensor]:
    """The mixture as every source."""
    return [example.mixture.expand_as(example.references) for example in examples]


def oracle(examples: Sequence[Mixture], args: argparse.Namespace) -> list[Tensor]:
    """The true sources' power as masks: the bound of what masks of this resolution can reach."""
    stems = []
    for example in examples:
        monos, rate = example.references.mean(1)[None], example.sample_rate
        stems.append(refine(example.mixture[None], rate, monos, rate, Refinement(exponent=2.0, floor=0.0))[0])
    return stems


def nmf(examples: Sequence[Mixture], args: argparse.Namespace) -> list[Tensor]:
    """Kullback-Leibler NMF with a dictionary of 64 atoms for each source, learned on its training recordings."""
    from sklearn.decomposition import non_negative_factorization

    stems = []
    for example in examples:
        atoms = [dictionary(args.data, name) for name in example.sources]
        sizes = [len(part) for part in atoms]
        monos = torch.stack([listen(example.mixture, example.sample_rate, n := samples(example), RATE)])[0]
        magnitude = spectrum(monos).T.numpy()  # [N, F]
        weights, _, _ = non_negative_factorization(
            magnitude + 1e-8,
            H=np.concatenate(atoms),
            n_components=sum(sizes),
            update_H=False,
            solver="mu",
            beta_loss="kullback-leibler",
            max_iter=200,
            random_state=0,
        )
        ends = np.cumsum([0, *sizes])
        parts = [weights[:, a:b] @ atom for a, b, atom in zip(ends, ends[1:], atoms, strict=False)]
        masks = torch.tensor(np.stack([part.T for part in parts])) ** 2  # [S, F, N]
        masks = masks / masks.sum(0).clamp_min(1e-20)
        full = torch.stft(monos, N_FFT, N_FFT // 4, window=torch.hann_window(N_FFT), return_complex=True)
        waves = torch.istft(masks * full, N_FFT, N_FFT // 4, window=torch.hann_window(N_FFT), length=n)
        stems.append(refine(example.mixture[None], example.sample_rate, waves[None].float(), RATE)[0])
    return stems


def samples(example: Mixture) -> int:
    return round(example.references.shape[-1] * RATE / example.sample_rate)


def spectrum(wave: Tensor) -> Tensor:
    return torch.stft(wave, N_FFT, N_FFT // 4, window=torch.hann_window(N_FFT), return_complex=True).abs()


@cache
def dictionary(data: Path, name: str) -> np.ndarray:
    """``[64, F]`` atoms from up to 20000 frames of a source's training recordings."""
    from sklearn.decomposition import NMF

    clips = load_clips(split_files(data, name, "train"), RATE)
    order = torch.randperm(len(clips.waves), generator=torch.Generator().manual_seed(0))
    frames, count = [], 0
    for index in order.tolist():
        first, last = clips.active[index]
        frames.append(spectrum(clips.waves[index][first : max(last, first + N_FFT)].float() / 32767).T)
        count += len(frames[-1])
        if count >= FRAMES:
            break
    model = NMF(ATOMS, solver="mu", beta_loss="kullback-leibler", init="nndsvda", max_iter=100, random_state=0)
    model.fit(torch.cat(frames).numpy()[:FRAMES] + 1e-8)
    return model.components_


class Remembering:
    """A separator that answers what it was asked before from memory, so that raw and refined rows cost one search."""

    def __init__(self, separator: GanPrior) -> None:
        self.separator, self.answers = separator, {}
        self.sources, self.sample_rate, self.segment = separator.sources, separator.sample_rate, separator.segment

    def __call__(self, mixture: Tensor) -> Estimates:
        key = mixture.numpy().tobytes()
        if key not in self.answers:
            self.answers[key] = self.separator(mixture)
        return self.answers[key]


@cache
def separator_for(recipe: str, sources: tuple[str, ...], library: Path | None, seed: int) -> Remembering:
    chosen = QUALITIES.get(recipe) or RECIPES[recipe]
    return Remembering(GanPrior([load_prior(name, library) for name in sources], replace(chosen, seed=seed)))


def search(recipe: str, raw: bool) -> Row:
    """A row of ours: a quality's or a recipe's search, refined or raw."""

    def run(examples: Sequence[Mixture], args: argparse.Namespace) -> list[Tensor]:
        separator = separator_for(recipe, examples[0].sources, args.library, args.seed)
        settings = Settings(OVERLAPS.get(recipe, 0.5), refinement=None if raw else Refinement())
        return through(separator, examples, settings)

    return run


def through(separator: Separator, examples: Sequence[Mixture], settings: Settings) -> list[Tensor]:
    """Every example through the pipeline that files go through."""
    stems: list[list[Tensor]] = [[] for _ in examples]

    def track(number: int) -> Track:
        mixture = examples[number].mixture
        return Track(
            lambda size, hop: split(mixture, size, hop),
            examples[number].sample_rate,
            mixture.shape[-1],
            lambda parts, _: stems[number].append(parts),
        )

    separate_tracks((track(i) for i in range(len(examples))), separator, settings)
    return [torch.cat(parts, -1) for parts in stems]


ROWS: dict[str, Row] = {
    "mixture": unchanged,
    "time-cut": time_cut,
    "nmf": nmf,
    "narayanaswamy2020-raw": search("narayanaswamy2020", raw=True),
    "narayanaswamy2020": search("narayanaswamy2020", raw=False),
    "ours-raw": search("default", raw=True),
    "ours-fast": search("fast", raw=False),
    "ours": search("default", raw=False),
    "ours-best": search("best", raw=False),
    "oracle-power-mask": oracle,
}


def score(stems: Tensor, example: Mixture) -> tuple[Tensor, Tensor]:
    """SI-SDR improvement and spectral SNR of each source, all channels as one signal. ``[S]`` each."""
    estimate, reference = stems.flatten(1), example.references.flatten(1)
    mixture = example.mixture.flatten()[None].expand_as(reference)
    return si_sdr_improvement(estimate, reference, mixture), spectral_snr(estimate, reference)


def measure(row: str, task: str, condition: str, args: argparse.Namespace) -> dict:
    """One row of the table."""
    count = min(args.n, args.slow_n) if "narayanaswamy" in row else args.n
    examples = list(mixtures(args.data, task, condition, args.split, count, args.seed))
    stems = ROWS[row](examples, args)
    scores = [score(part.float(), example) for part, example in zip(stems, examples, strict=True)]
    gains = torch.stack([gain for gain, _ in scores])  # [n, S]
    snrs = torch.stack([snr for _, snr in scores])
    low, high = bootstrap_interval(gains.nanmean(1).numpy(), [example.group for example in examples], args.seed)
    return {
        "task": task,
        "condition": condition,
        "row": row,
        "n": count,
        "si_sdr_improvement": float(gains.nanmean()),
        "low": low,
        "high": high,
        "median": float(gains.nanmedian()),
        "spectral_snr": float(snrs.nanmean()),
        "by_source": dict(zip(examples[0].sources, [round(float(x), 2) for x in gains.nanmean(0)], strict=True)),
    }


def measure_choice(task: str, condition: str, args: argparse.Namespace) -> dict:
    """How often the K priors chosen from all that are installed are the right ones."""
    priors, _ = installed_priors(args.library)
    right = 0
    wrong: dict[str, int] = {}
    for example in mixtures(args.data, task, condition, args.split, args.n, args.seed):
        mixture = example.mixture
        chosen = choose_for(
            partial(split, mixture), mixture.shape[1], example.sample_rate, priors, len(example.sources)
        )
        names = "+".join(sorted(prior.name for prior in chosen.priors))
        if names == "+".join(sorted(example.sources)):
            right += 1
        else:
            wrong[names] = wrong.get(names, 0) + 1
    return {"task": task, "condition": condition, "priors": len(priors), "n": args.n, "right": right, "wrong": wrong}


def show(results: Iterable[dict]) -> None:
    for entry in results:
        where = f"| {entry['task']} | {entry['condition']} |"
        if "right" in entry:
            print(f"{where} {entry['right']}/{entry['n']} right of {entry['priors']} priors | {entry['wrong']} |")
        else:
            print(
                f"{where} {entry['row']} | {entry['n']} | {entry['si_sdr_improvement']:.1f} "
                f"[{entry['low']:.1f}, {entry['high']:.1f}] | {entry['median']:.1f} | {entry['spectral_snr']:.1f} | "
                f"{entry['by_source']} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--split", choices=("dev", "valid"), default="valid")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--conditions", default=",".join(CONDITIONS))
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--n", type=int, default=40, help="mixtures of a task and condition")
    parser.add_argument("--slow-n", type=int, default=40, help="the same for the 1000-step recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--choice", action="store_true", help="how often -k alone is right, instead")
    parser.add_argument("--json", type=Path, help="also write the results here, after every row")
    args = parser.parse_args()
    if not args.choice:
        print("| task | condition | row | n | SI-SDR impr. dB [95 %] | median | spectral SNR dB | by source |")
        print("|---|---|---|---|---|---|---|---|")
    results = []
    for task in args.tasks.split(","):
        for condition in args.conditions.split(","):
            for row in [None] if args.choice else args.rows.split(","):
                entry = measure(row, task, condition, args) if row else measure_choice(task, condition, args)
                show([entry])
                results.append(entry)
                if args.json:
                    args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

"""What happens where a supervised mask network was not trained for the case, and what priors make of it.

    python scripts/transfer.py --data DATA --library DIR

DATA holds ``<class>/train`` and ``<class>/valid``, and ``digits_sc/valid``; DIR the priors of digits, drums, piano,
speech and noise. A line is a case of ``wild`` mixtures, a column a back end as ``gansep compare`` has it: mean SI-SDR
improvement in dB [95 % bootstrap interval by speakers, kits and pieces], a dash where nothing fits.

0. As trained: pairs of digits, drums and piano, -6 to +6 dB each.
1. The same recordings, -18 to +18 dB each; in training masks had up to 9 dB either way.
2. Digits of other speakers and microphones (Speech Commands, English), so few that ``dev`` and ``valid`` have the same.
   English is not new to models that learned from ``digits_en8k`` too, but above 4 kHz it is; their cards say so.
3. Three sources for networks of two, whose masks are multiplied; below it the network that was trained on all three.
4. Pairs that no network was trained on: that of the nearest pair takes speech for digits; for noise there is none.
5. Noise beside digits and drums, 10 dB below their sum, that nobody is told of; digits and drums are judged. Below it
   priors that are told.

A listener that priors share may have heard in training what no mask network did; its card says so.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from zlib import crc32

import torch
from torch import Tensor

from gansep.backends.mask import Masks
from gansep.dsp.masks import apply_mask, wiener
from gansep.dsp.stft import change_spectrum
from gansep.library import load_separation
from gansep.metrics import bootstrap_interval, si_sdr_improvement
from gansep.pipeline import Settings
from gansep.planning import OVERLAP
from gansep.research.protocol import TASKS, Mixture, mix
from gansep.research.rows import Row, parse_rows
from gansep.research.running import Runner, through
from gansep.research.sources import pool, split_files
from gansep.types import Estimates, ModelError

ROWS = parse_rows(("mask", "gan-prior", "gan-prior-fast", "nmf", "oracle-wiener"))
PAIRS, THREE = [names for names in TASKS.values() if len(names) == 2], TASKS["digits-drums-piano"]
OTHERS = "digits_sc"  # has a folder valid only

Sources = tuple[str, ...]
Change = Callable[[Tensor, torch.Generator], Tensor]  # of the true sources [S, C, T]


def wide(parts: Tensor, random: torch.Generator) -> Tensor:
    """Sources with their peaks at 1, times gains of up to 18 dB either way."""
    gains = 18 * (2 * torch.rand(len(parts), 1, 1, generator=random) - 1)  # dB
    return parts / parts.abs().amax((1, 2), keepdim=True).clamp_min(1e-6) * 10 ** (gains / 20)


def behind(parts: Tensor, _: torch.Generator) -> Tensor:
    """The last source with 10 dB less power than the sum of the others."""
    rest, last = parts[:-1], parts[-1:]
    level = rest.sum(0).square().mean().sqrt() / last.square().mean().sqrt().clamp_min(1e-6)
    return torch.cat([rest, level * 10 ** (-10 / 20) * last])


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        what: in words. mixed: folders of the sources. change: of these, once they are drawn.
        told: names that priors and dictionaries are told, in the order of ``mixed``; none to leave them out.
        masks: the same for a mask network, or for several whose masks are put together.
        judged: how many sources are, the first ones.
    """

    what: str
    mixed: Sources
    told: Sources
    masks: Sequence[Sources]
    change: Change | None = None
    judged: int = 3

    def names(self, row: Row) -> Sources:
        """What a row is told, empty if it is left out."""
        if row.name == "mask":
            return self.masks[0] if self.masks else ()
        return self.mixed if row.bound and self.told else self.told


NOISY = ("digits", "drums", "noise")
CASES = (
    *(Case("0 as trained", pair, pair, [pair]) for pair in PAIRS),
    *(Case("1 -18 to +18 dB", pair, pair, [pair], wide) for pair in PAIRS),
    *(Case("2 other digits", (OTHERS, one), ("digits", one), [("digits", one)]) for one in ("drums", "piano")),
    Case("3 masks of pairs", THREE, THREE, PAIRS),
    Case("3 mask of three", THREE, (), [THREE]),
    *(Case("4 other pair", ("speech", one), ("speech", one), [("digits", one)]) for one in ("drums", "piano")),
    *(Case("4 other pair", pair, pair, ()) for pair in (("noise", "piano"), ("digits", "noise"), ("drums", "noise"))),
    Case("5 unknown noise", NOISY, NOISY[:2], [NOISY[:2]], behind, judged=2),
    Case("5 told of it", NOISY, NOISY, (), behind, judged=2),
)


class MasksOfPairs:
    """Separator of several sources by mask networks of two each (see :class:`gansep.types.Separator`).

    A source's masks against each other one are multiplied and all are normalised to sum to 1; estimates are those
    shares of the mixture's spectrogram. The networks must have one rate, window and hop.
    """

    segment: int | None = None

    def __init__(self, sources: Sources, library: Path | None) -> None:
        pairs = list(combinations(sources, 2))
        self.sources, self.pairs = sources, [Masks(load_separation("mask", two, library=library), two) for two in pairs]
        self.sample_rate, self.refinement = self.pairs[0].sample_rate, self.pairs[0].refinement

    def __call__(self, mixture: Tensor) -> Estimates:
        """Separate a batch. Shape: ``[B, T]`` to ``waves [B, S, T]``."""
        config = self.pairs[0].network.config
        waves = change_spectrum(mixture, lambda one: apply_mask(self.masks(one), one), config.n_fft, config.hop)
        return Estimates(waves, self.sources)

    def masks(self, spectrum: Tensor) -> Tensor:
        """Masks of a spectrogram. Shape: complex ``[B, F, N]`` to ``[B, S, F, N]``."""
        products = {name: torch.ones_like(spectrum.real) for name in self.sources}
        for pair in self.pairs:
            for name, mask in zip(pair.sources, pair.masks(spectrum).unbind(1), strict=True):
                products[name] = products[name] * mask
        return wiener(torch.stack([*products.values()], 1))


def drawn(case: Case, args: argparse.Namespace) -> Iterator[Mixture]:
    """The mixtures of a case; a number's is the same for a seed whichever others are made."""
    pools = [pool(one, split_files(args.data, one, "valid" if one == OTHERS else args.split)) for one in case.mixed]
    for example in mix(pools, "wild", args.split, range(args.n), args.seed):
        if case.change:
            random = torch.Generator().manual_seed(crc32(f"{example.name} {args.split} {args.seed}".encode()))
            parts = case.change(example.references, random)
            example = replace(example, references=0.9 * parts / parts.sum(0).abs().max())
        yield example


def cell(case: Case, row: Row, examples: Sequence[Mixture], runner: Runner, seed: int) -> str:
    """What a row gains on a case: mean over sources and mixtures, and its interval."""
    if not case.names(row):
        return "-"
    try:
        stems = separated(case, row, examples, runner)
    except ModelError as error:
        print(f"{row.name} left out of {'-'.join(case.mixed)}: {error}", file=sys.stderr)
        return "-"
    gains = torch.stack([gain(a, b, case.judged) for a, b in zip(stems, examples, strict=True)])
    low, high = bootstrap_interval(gains.numpy(), [example.group for example in examples], seed)
    return f"{float(gains.nanmean()):.2f} [{low:.1f}, {high:.1f}]"


def separated(case: Case, row: Row, examples: Sequence[Mixture], runner: Runner) -> Sequence[Tensor]:
    """Stems ``[S, C, T]`` of each mixture, of the sources that the row is told."""
    if row.name == "mask" and len(case.masks) > 1:
        separator = MasksOfPairs(case.mixed, runner.library)
        return through(separator, examples, Settings(OVERLAP, refinement=separator.refinement))
    told = [replace(example, sources=case.names(row)) for example in examples]  # true or not, it is the same mixture
    return [stems.waves for stems in runner(row, told)[0]]


def gain(stems: Tensor, example: Mixture, judged: int) -> Tensor:
    """Mean SI-SDR improvement of the first sources, in dB."""
    references = example.references[:judged].flatten(1)
    return si_sdr_improvement(stems[:judged].flatten(1), references, example.mixture.flatten()[None]).nanmean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--library", type=Path, help="folder of models to ask first")
    parser.add_argument("--split", choices=("dev", "valid"), default="dev")
    parser.add_argument("--n", type=int, default=24, help="mixtures a case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    runner = Runner(args.library, seed=args.seed)
    print(f"| case | mixture | {' | '.join(row.name for row in ROWS)} |\n{'|---' * (len(ROWS) + 2)}|")
    for case in CASES:
        examples = list(drawn(case, args))
        cells = [cell(case, row, examples, runner, args.seed) for row in ROWS]
        print(f"| {case.what} | {'-'.join(case.mixed)} | {' | '.join(cells)} |", flush=True)
        runner.forget()


if __name__ == "__main__":
    main()

"""``gansep synthesize``: sounds that a prior makes, as files and a picture."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from gansep.cli.common import Subparsers, add_common, reporter, table
from gansep.types import GansepError, OutputError

if TYPE_CHECKING:
    from torch import Tensor

    from gansep.library import Prior

ATTRIBUTES = ("centroid", "pitch", "loudness")


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "synthesize",
        help="make sounds with a prior",
        description="Make sounds with a prior: by chance, between two recordings, of another source's sound, or along "
        "an attribute. Writes OUT/NAME-01.wav and so on, and a picture of them.",
    )
    parser.add_argument("prior", metavar="PRIOR", help="drums, gan/drums, vae/drums or a model folder")
    parser.add_argument("-n", type=int, metavar="N", help="how many (default: 8; with --from as many as it is long)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--between", nargs=2, type=Path, metavar=("A", "B"), help="from one recording to another")
    how.add_argument(
        "--from", dest="source", type=Path, metavar="A", help="a recording of another source, played by it"
    )
    how.add_argument("--walk", choices=ATTRIBUTES, help="along the direction in which it changes most, measured")
    parser.add_argument("--class", dest="told", metavar="NAME", help="which of the prior's classes it plays")
    parser.add_argument("--float32", action="store_true", help="32-bit float samples instead of 24-bit integers")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    add_common(parser, out="folder of the sounds (default: synthesized)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make sounds, write them and say where."""
    from gansep.library import load_prior

    count = _count(args)
    prior = load_prior(args.prior, args.library, args.device)
    if args.told is not None:
        prior = prior.told(args.told)
    with reporter(args, "synthesize", "sound") as progress:
        waves, names = _make(args, prior, count)
        written = _write(args, prior, waves)
        progress.update(len(waves), len(waves))
    if names:
        print(names)
    for path in written:
        print(path)
    return 0


def _count(args: argparse.Namespace) -> int:
    """How many sounds are wanted."""
    if args.n is None:
        return 8
    if args.source:
        raise GansepError("-n is not for --from, which makes as many sounds as the recording is long; leave it out")
    way = "--between" if args.between else "--walk" if args.walk else ""
    least, whose = (2, f" with {way}, for its two ends") if way else (1, "")
    if not least <= args.n <= 999:
        raise GansepError(f"-n must be from {least} to 999{whose}, got {args.n}")
    return args.n


def _make(args: argparse.Namespace, prior: Prior, count: int) -> tuple[Tensor, str]:
    """Sounds ``[B, T]``, and what there is to say of them."""
    from gansep import synthesis

    if args.between:
        first, second = (_read(path, prior) for path in args.between)
        return synthesis.between(prior, first, second, count), ""
    if args.source:
        return synthesis.transfer(prior, _read(args.source, prior)), ""
    if not args.walk:
        return prior.sample(count, args.seed), ""
    found = synthesis.walk(prior, args.walk, count, args.seed)
    unit = synthesis.UNITS[args.walk]
    values = [f"{value:.0f}" if math.isfinite(value) else "-" for value in found.values.tolist()]
    rows = [[f"{number:02d}", value] for number, value in enumerate(values, 1)]
    said = f"{args.walk} against place along the walk, over other sounds: correlation {found.correlation:.2f}"
    return found.waves, f"{table(['sound', f'{args.walk} {unit}'], rows)}\n{said}"


def _read(path: Path, prior: Prior) -> Tensor:
    """A recording, mono and at the prior's rate. Shape: ``[T]``."""
    from gansep.audio import mix_down, read, resample

    wave, rate = read(path)
    wave = resample(mix_down(wave), rate, prior.sample_rate)
    return wave / wave.abs().max().clamp_min(1e-6)


def _write(args: argparse.Namespace, prior: Prior, waves: Tensor) -> list[Path]:
    from gansep.audio import write
    from gansep.plots import can_plot, save_samples

    folder = args.out or Path("synthesized")
    paths = [folder / f"{prior.name}-{number:02d}.wav" for number in range(1, len(waves) + 1)]
    picture = folder / f"{prior.name}.png"
    if (there := [path for path in (*paths, picture) if path.exists()]) and not args.overwrite:
        raise OutputError(f"{there[0]} exists already; use --overwrite to replace it or -o for another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); name another folder with -o") from error
    for path, wave in zip(paths, waves.cpu(), strict=True):
        write(path, 0.99 * wave[None], prior.sample_rate, "FLOAT" if args.float32 else "PCM_24")
    if not can_plot():
        return paths
    save_samples(picture, waves.cpu(), prior.sample_rate, f"sounds of {prior.card.kind}/{prior.name}")
    return [*paths, picture]

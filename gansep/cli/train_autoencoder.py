"""``gansep train-autoencoder``: folders of sound to an autoencoder that denoises, separates or makes new sounds."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gansep.cli.common import Subparsers, add_common, reporter
from gansep.cli.training import (
    add_mixtures,
    check_positive,
    check_seed,
    checked,
    flag,
    settings_of,
    sources_of,
    steps_of,
    teller,
)
from gansep.types import DataError, GansepError, ModelError

if TYPE_CHECKING:
    from gansep.nets.sound import SoundConfig

Sources = Mapping[str, Sequence[Path]]
KINDS = ("denoising", "conditional", "variational")
DOMAINS = ("magnitude", "mel", "waveform")
LAYERS = ("conv", "dense", "lstm")
CORRUPTIONS = ("noise", "gaussian", "salt-pepper")
LOSSES = ("mse", "log-spectral")
PHASES = ("mixture", "griffin-lim")
SEGMENTS = (16384, 32768, 65536)
NETWORK = ("layers", "width", "depth", "code", "mels", "phase", "floor", "n_fft")
OF_KINDS = {
    ("denoising",): ("noise", "corruption", "amount"),
    ("conditional",): ("sounding", "gain_db"),
    ("variational",): ("beta", "warm_up", "interference", "dim", "latent", "segment"),
    ("conditional", "variational"): ("by_folder", "by_name"),
    ("denoising", "conditional"): ("loss", "seconds", "snr", "absent", "batch", "rate", "hop", *NETWORK),
}
# Flags that only some have: by which other flag, and which values of it; None where it is not given.
BELONGS = {
    "amount": ("corruption", ("salt-pepper",)),
    "snr": ("corruption", (None, "noise", "gaussian")),
    "mels": ("domain", ("mel",)),
    "phase": ("domain", ("magnitude", "mel")),
    "floor": ("domain", ("magnitude", "mel")),
}
LONGEST = 200  # letters of a model's name that are made of its sources' names


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "train-autoencoder",
        help="train an autoencoder: a denoiser, one that answers with any source it is told, or a prior (VAE)",
        description="Train an autoencoder on recordings of single sources. Ctrl-C keeps what was reached; --resume "
        "goes on.",
    )
    parser.add_argument("--kind", choices=KINDS, required=True, help="what it is for")
    add_mixtures(parser)
    parser.add_argument("--loss", choices=LOSSES, help="of denoising and conditional ones (default: mse)")
    denoising = parser.add_argument_group(
        "flags of --kind denoising", "without --snr the clean sound is 5 dB below the noise to 15 dB above it"
    )
    denoising.add_argument("--noise", metavar="DIR", help="recorded noise, or NAME=DIR")
    denoising.add_argument(
        "--corruption", choices=CORRUPTIONS, help="recorded noise, white noise on the wave, or salt and pepper on the "
        "spectrogram (default: recorded if there is some, else gaussian)"
    )  # fmt: skip
    denoising.add_argument("--amount", type=float, metavar="P", help="share that is salt or pepper (default: 0.2)")
    conditional = parser.add_argument_group(
        "what the decoder is told, of --kind conditional a source, of --kind variational a class of its one source"
    )
    for name, said in (("--by-folder", "one a subfolder of --data"), ("--condition", "the same as --by-folder")):
        conditional.add_argument(name, dest="by_folder", action="store_const", const=name, help=said)
    conditional.add_argument(
        "--by-name", metavar="PATTERN", help="one a match in file names, as 'ar_(s[0-9]+)' for speakers"
    )
    conditional.add_argument("--sounding", type=int, metavar="N", help="sources at once at most (default: all)")
    variational = parser.add_argument_group(
        "flags of --kind variational", "which has a WaveGAN generator for its decoder and is used as a prior"
    )
    variational.add_argument("--beta", type=float, metavar="B", help="weight of the divergence (default: 0.005)")
    variational.add_argument("--warm-up", type=int, metavar="N", help="steps until it is reached (default: 1000)")
    variational.add_argument(
        "--interference",
        nargs="+",
        metavar="PATH",
        help="other sounds the encoder learns to hear through",
    )
    variational.add_argument("--dim", type=int, metavar="N", help="width of the networks (default: 32)")
    variational.add_argument("--latent", type=int, metavar="N", help="numbers a sound has (default: 100)")
    variational.add_argument("--segment", type=int, choices=SEGMENTS, help="samples it plays (default: 16384)")
    net = parser.add_argument_group("network")
    net.add_argument(
        "--domain", choices=DOMAINS, help="what it hears, and of variational ones plays: magnitude by Griffin-Lim, not "
        "mel (default: magnitude; variational: waveform)"
    )  # fmt: skip
    net.add_argument("--layers", choices=LAYERS, help="(default: conv)")
    net.add_argument("--width", type=int, metavar="N", help="of layers (conv 192, dense 1024, lstm 256)")
    net.add_argument("--depth", type=int, metavar="N", help="layers each way (conv 4, dense 2, lstm 1)")
    net.add_argument("--code", type=int, metavar="N", help="numbers a frame's code has (default: 128)")
    net.add_argument("--mels", type=int, metavar="N", help="bands of --domain mel (default: 80)")
    net.add_argument("--phase", choices=PHASES, help="of its own sound from magnitudes (default: mixture)")
    net.add_argument("--floor", type=float, metavar="X", help="magnitude added before the logarithm (default: 0.001)")
    net.add_argument("--n-fft", type=int, metavar="N", help="samples of a window (default: 512)")
    net.add_argument("--hop", type=int, metavar="N", help="samples between frames (default: half a window)")
    add_common(parser, out="the model's folder (default: autoencoder/NAME, or vae/NAME, in the first writable library)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train; print where the model is."""
    from gansep.training.api import Provenance

    _check(args)
    sources, note = _sources(args)
    train = {"denoising": _denoiser, "conditional": _conditional, "variational": _variational}[args.kind](args, sources)
    with reporter(args, "train-autoencoder") as progress:
        if note:
            progress.say(note)
        folder = train(
            out=args.out,
            resume=bool(args.resume),
            provenance=Provenance(f"recordings in {', '.join(sources)}", args.licence),
            on_event=teller(progress, steps_of(args)),
        )
    print(folder)
    return 0


def _denoiser(args: argparse.Namespace, sources: Sources) -> Callable[..., Path]:
    from gansep.training.autoencoder import train_denoiser

    amount = 0.2 if args.amount is None else args.amount
    return partial(
        train_denoiser, sources, args.name, args.corruption or "", _config(args), settings_of(args), amount=amount
    )


def _conditional(args: argparse.Namespace, sources: Sources) -> Callable[..., Path]:
    from gansep.training.autoencoder import train_conditional

    if args.sounding is not None and args.sounding > len(sources):
        raise GansepError(f"--sounding must be at most the number of sources, {len(sources)}, got {args.sounding}")
    return partial(train_conditional, sources, args.name, _config(args), settings_of(args, sounding=args.sounding or 0))


def _variational(args: argparse.Namespace, sources: Sources) -> Callable[..., Path]:
    from gansep.nets.wavegan import PriorConfig
    from gansep.training.api import PriorSettings, train_prior

    check_positive(args, "steps", "minutes", "checkpoint_every", "sample_rate", "dim", "latent")
    check_seed(args)
    sizes = {name: getattr(args, name) for name in ("dim", "latent", "segment") if getattr(args, name) is not None}
    settings = PriorSettings(
        "vae",
        steps_of(args),
        args.minutes,
        args.checkpoint_every or 500,
        checked(PriorConfig, sample_rate=args.sample_rate, variational=True, domain=args.domain, **sizes),
        seed=args.seed,
        device=args.device,
        init_from=args.init_from,
        divergence=args.beta,
        warm_up=args.warm_up,
        library=args.library,
    )
    name, told = args.name, args.by_folder or args.by_name is not None
    if not name:
        name = Path(args.data[0]).resolve().name if told else next(iter(sources))
    data = sources if told else next(iter(sources.values()))
    return partial(train_prior, data, name, settings, interference=args.interference)


def _check(args: argparse.Namespace) -> None:
    """Refuse flags that have no meaning beside others, and numbers out of range."""
    for kinds, names in OF_KINDS.items():
        for name in names:
            if args.kind not in kinds and getattr(args, name) is not None:
                written = args.by_folder if name == "by_folder" else flag(name)
                belongs = f"{written} belongs to --kind {' or '.join(kinds)}, not to {args.kind}"
                raise GansepError(f"{belongs}; leave it out")
    args.domain = args.domain or ("waveform" if args.kind == "variational" else "magnitude")
    for name, (choice, owners) in BELONGS.items():
        if getattr(args, name) is not None and getattr(args, choice) not in owners:
            belongs = f"{flag(name)} belongs to {flag(choice)} {' or '.join(filter(None, owners))}"
            raise GansepError(f"{belongs}; leave it out")
    if args.kind == "denoising" and len(args.data) > 1:
        raise GansepError(f"--kind denoising has one clean source, got {len(args.data)}; give noise with --noise")
    if args.kind == "variational" and len(args.data) > 1:
        raise GansepError(f"--kind variational has one source, got {len(args.data)}; train one a source")
    check_positive(args, "hop", "amount", "sounding", "code", "width", "depth", "mels", "floor")
    for name in ("beta", "warm_up"):
        value = getattr(args, name)
        if value is not None and not 0 <= value < math.inf:
            raise GansepError(f"{flag(name)} must be a number from 0 up, got {value}")
    if args.amount is not None and args.amount >= 1:
        raise GansepError(f"--amount must be in (0, 1), got {args.amount}")
    if args.by_folder and args.by_name is not None:
        raise GansepError(f"{args.by_folder} and --by-name both say what a source is; give one")


def _sources(args: argparse.Namespace) -> tuple[Sources, str]:
    """Files or folders of each source, and a line on files that are of none, if there are."""
    if args.noise:
        args.data = [*args.data, args.noise]
    if not args.by_folder and args.by_name is None:
        return {name: [folder] for name, folder in sources_of(args).items()}, ""
    from gansep.library.card import check_sources

    asked = args.by_folder or f"--by-name {args.by_name!r}"
    groups, others = _groups(args, asked)
    if not groups:
        what = "no subfolder with recordings" if args.by_folder else "no file whose name matches"
        raise DataError(f"{asked} finds {what} in {', '.join(args.data)}")
    try:
        check_sources(list(groups))
    except ModelError as error:
        raise DataError(f"{error}; it comes from {asked}") from error
    if args.kind == "conditional" and len(groups) < 2:
        raise DataError(f"mixtures need at least two sources, got {next(iter(groups))} from {asked}")
    if args.kind == "conditional" and len("-".join(groups)) > LONGEST and not (args.name or args.out):
        raise DataError(f"{asked} finds {len(groups)} sources, too many to call the model by; give it a --name")
    total, why = others + sum(map(len, groups.values())), "in no subfolder" if args.by_folder else "without a match"
    return groups, f"{asked}: {others} of {total} files are {why} and left out" if others else ""


def _groups(args: argparse.Namespace, asked: str) -> tuple[dict[str, list[Path]], int]:
    """Files of each source that subfolders or names of files tell, by name, and how many other files there are."""
    from gansep.audio import find_audio

    groups: dict[str, list[Path]] = {}
    for folder in map(Path, args.data):
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; {asked} needs folders of recordings")
        for file in find_audio(folder):
            groups.setdefault(_group(args.by_name, folder, file), []).append(file)
    others = len(groups.pop("", []))
    return dict(sorted(groups.items())), others


def _group(pattern: str | None, folder: Path, file: Path) -> str:
    """The source a file is of: its subfolder, or what a pattern's first group finds in its name; none if neither."""
    if pattern is None:
        inside = file.relative_to(folder).parts
        return inside[0] if len(inside) > 1 else ""
    try:
        found = re.search(pattern, file.stem)
    except re.error as error:
        raise GansepError(f"--by-name {pattern!r} is no pattern: {error}") from error
    return (found.group(1 if found.groups() else 0) or "") if found else ""


def _config(args: argparse.Namespace) -> SoundConfig:
    from gansep.nets.sound import SoundConfig

    names = (*NETWORK, "domain", "sample_rate")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return checked(SoundConfig, hop=args.hop or given.get("n_fft", SoundConfig.n_fft) // 2, **given)

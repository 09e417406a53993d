"""``gansep train-autoencoder``: folders of sound to an autoencoder that denoises, or answers with any one source."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gansep.cli.common import Subparsers, add_common, reporter
from gansep.cli.training import add_mixtures, check_positive, checked, flag, settings_of, sources_of, steps_of, teller
from gansep.types import DataError, GansepError, ModelError

if TYPE_CHECKING:
    from gansep.nets.sound import SoundConfig

KINDS = ("denoising", "conditional")
DOMAINS = ("magnitude", "mel", "waveform")
LAYERS = ("conv", "dense", "lstm")
CORRUPTIONS = ("noise", "gaussian", "salt-pepper")
LOSSES = ("mse", "log-spectral")
PHASES = ("mixture", "griffin-lim")
OF_KIND = {
    "denoising": ("noise", "corruption", "amount"),
    "conditional": ("by_folder", "by_name", "sounding", "gain_db"),
}
# Flags that only some have: by which other flag, and which values of it; None where it is not given.
BELONGS = {
    "amount": ("corruption", ("salt-pepper",)),
    "snr": ("corruption", (None, "noise", "gaussian")),
    "mels": ("domain", ("mel",)),
    "phase": ("domain", ("magnitude", "mel")),
    "floor": ("domain", ("magnitude", "mel")),
}
NETWORK = ("domain", "layers", "width", "depth", "code", "mels", "phase", "floor", "n_fft", "sample_rate")
LONGEST = 200  # letters of a model's name that are made of its sources' names


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "train-autoencoder",
        help="train an autoencoder: a denoiser, or one that answers with any source it is told",
        description="Train an autoencoder on recordings of single sources. Ctrl-C keeps what was reached; --resume "
        "goes on.",
    )
    parser.add_argument("--kind", choices=KINDS, required=True, help="what it is for")
    add_mixtures(parser)
    parser.add_argument("--loss", choices=LOSSES, default="", help="(default: mse)")
    denoising = parser.add_argument_group(
        "flags of --kind denoising", "without --snr the clean sound is 5 dB below the noise to 15 dB above it"
    )
    denoising.add_argument("--noise", metavar="DIR", help="recorded noise, or NAME=DIR")
    denoising.add_argument(
        "--corruption", choices=CORRUPTIONS, help="recorded noise, white noise on the wave, or salt and pepper on the "
        "spectrogram (default: recorded if there is some, else gaussian)"
    )  # fmt: skip
    denoising.add_argument("--amount", type=float, metavar="P", help="share that is salt or pepper (default: 0.2)")
    conditional = parser.add_argument_group("flags of --kind conditional")
    conditional.add_argument("--by-folder", action="store_true", default=None, help="a source a subfolder of --data")
    conditional.add_argument(
        "--by-name", metavar="PATTERN", help="a source a match in file names, as 'ar_(s[0-9]+)' for speakers"
    )
    conditional.add_argument("--sounding", type=int, metavar="N", help="sources at once at most (default: all)")
    net = parser.add_argument_group("network")
    net.add_argument("--domain", choices=DOMAINS, default="magnitude", help="what it hears (default: magnitude)")
    net.add_argument("--layers", choices=LAYERS, default="conv", help="(default: conv)")
    net.add_argument("--width", type=int, default=0, metavar="N", help="of layers (conv 192, dense 1024, lstm 256)")
    net.add_argument("--depth", type=int, default=0, metavar="N", help="layers each way (conv 4, dense 2, lstm 1)")
    net.add_argument("--code", type=int, default=128, metavar="N", help="numbers a frame's code has (default: 128)")
    net.add_argument("--mels", type=int, metavar="N", help="bands of --domain mel (default: 80)")
    net.add_argument("--phase", choices=PHASES, help="of its own sound from magnitudes (default: mixture)")
    net.add_argument("--floor", type=float, metavar="X", help="magnitude added before the logarithm (default: 0.001)")
    net.add_argument("--n-fft", type=int, default=512, metavar="N", help="samples of a window (default: 512)")
    net.add_argument("--hop", type=int, metavar="N", help="samples between frames (default: half a window)")
    add_common(parser, out="the model's folder (default: autoencoder/NAME in the first writable library)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train; print where the model is."""
    from gansep.training.api import Provenance
    from gansep.training.autoencoder import train_conditional, train_denoiser

    _check(args)
    sources = _sources(args)
    settings, config = settings_of(args, sounding=args.sounding or 0), _config(args)
    with reporter(args, "train-autoencoder") as progress:
        known = {
            "out": args.out,
            "resume": bool(args.resume),
            "provenance": Provenance(f"recordings in {', '.join(sources)}", args.licence),
            "on_event": teller(progress, steps_of(args)),
        }
        if args.kind == "denoising":
            amount = 0.2 if args.amount is None else args.amount
            folder = train_denoiser(sources, args.name, args.corruption or "", config, settings, amount=amount, **known)
        else:
            folder = train_conditional(sources, args.name, config, settings, **known)
    print(folder)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse flags that have no meaning beside others, and numbers out of range."""
    for kind, names in OF_KIND.items():
        for name in names:
            if kind != args.kind and getattr(args, name) is not None:
                raise GansepError(f"{flag(name)} belongs to --kind {kind}, not to {args.kind}; leave it out")
    for name, (choice, owners) in BELONGS.items():
        if getattr(args, name) is not None and getattr(args, choice) not in owners:
            belongs = f"{flag(name)} belongs to {flag(choice)} {' or '.join(filter(None, owners))}"
            raise GansepError(f"{belongs}; leave it out")
    if args.kind == "denoising" and len(args.data) > 1:
        raise GansepError(f"--kind denoising has one clean source, got {len(args.data)}; give noise with --noise")
    check_positive(args, "hop", "amount", "sounding")
    if args.amount is not None and args.amount >= 1:
        raise GansepError(f"--amount must be in (0, 1), got {args.amount}")
    if args.by_folder and args.by_name is not None:
        raise GansepError("--by-folder and --by-name both say what a source is; give one")


def _sources(args: argparse.Namespace) -> Mapping[str, Sequence[Path]]:
    """Files or folders of each source."""
    if args.noise:
        args.data = [*args.data, args.noise]
    if not args.by_folder and args.by_name is None:
        return {name: [folder] for name, folder in sources_of(args).items()}
    from gansep.library.card import check_sources

    groups, asked = _groups(args), "--by-folder" if args.by_folder else f"--by-name {args.by_name!r}"
    if not groups:
        what = "no subfolder with recordings" if args.by_folder else "no file whose name matches"
        raise DataError(f"{asked} finds {what} in {', '.join(args.data)}")
    try:
        check_sources(list(groups))
    except ModelError as error:
        raise DataError(f"{error}; it comes from {asked}") from error
    if len("-".join(groups)) > LONGEST and not (args.name or args.out):
        raise DataError(f"{asked} finds {len(groups)} sources, too many to call the model by; give it a --name")
    return groups


def _groups(args: argparse.Namespace) -> dict[str, list[Path]]:
    """Files of each source that subfolders or names of files tell, by name."""
    from gansep.audio import find_audio

    groups: dict[str, list[Path]] = {}
    for folder in map(Path, args.data):
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; --by-folder and --by-name need folders of recordings")
        for file in find_audio(folder):
            if name := _group(args.by_name, folder, file):
                groups.setdefault(name, []).append(file)
    return dict(sorted(groups.items()))


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

    given = {name: getattr(args, name) for name in NETWORK if getattr(args, name) is not None}
    return checked(SoundConfig, hop=args.hop or args.n_fft // 2, **given)

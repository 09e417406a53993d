"""``gansep train-mapping``: folders of single sources to a network that answers with spectra or waveforms."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gansep.cli.common import Subparsers, add_common, reporter
from gansep.cli.train_mask import DEFAULTS, add_network, network_of
from gansep.cli.training import add_mixtures, checked, flag, settings_of, sources_of, steps_of, teller
from gansep.types import GansepError

if TYPE_CHECKING:
    from gansep.nets.mapping import WaveformConfig
    from gansep.nets.spectral import NetConfig

LOSSES = {"spectral": ("mae", "mse", "rmse", "signal"), "waveform": ("snr", "mae", "mse")}  # the first is the default


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "train-mapping",
        help="train a mapping to spectra or waveforms for a fixed set of sources",
        description="Train a network that answers a mixture of a fixed set of sources with their spectra or waveforms, "
        "on mixtures made of recordings of each alone. Ctrl-C keeps what was reached; --resume goes on.",
    )
    add_mixtures(parser)
    parser.add_argument(
        "--domain", choices=tuple(LOSSES), default="spectral", help="magnitudes with the mixture's phase, or waveforms"
    )
    known = "; ".join(f"{domain}: {', '.join(losses)}" for domain, losses in LOSSES.items())
    parser.add_argument("--loss", default="", metavar="NAME", help=f"{known} (default: the first)")
    add_network(parser)
    add_common(parser, out="the model's folder (default: mapping/NAME in the first writable library)")
    parser.set_defaults(run=run)


def config_of(args: argparse.Namespace) -> NetConfig | WaveformConfig:
    """The network that the flags ask for; a waveform mapping has width and depth only.

    Raises:
        GansepError: sizes that cannot be, or a flag that the domain does not have.
    """
    if args.domain == "spectral":
        return network_of(args)
    from gansep.nets.mapping import WaveformConfig

    given = [name for name in (*DEFAULTS, "hop") if getattr(args, name) is not None] + ["causal"] * args.causal
    if given:
        raise GansepError(f"{flag(given[0])} belongs to --domain spectral, not to waveform; leave it out")
    sizes = {name: getattr(args, name) for name in ("width", "depth") if getattr(args, name)}
    return checked(WaveformConfig, sample_rate=args.sample_rate, **sizes)


def run(args: argparse.Namespace) -> int:
    """Train; print where the model is."""
    from gansep.training.api import Provenance
    from gansep.training.separators import train_mapping

    if args.loss and args.loss not in LOSSES[args.domain]:
        known = ", ".join(LOSSES[args.domain])
        raise GansepError(f"--loss of --domain {args.domain} must be one of {known}, got {args.loss}")
    folders, settings, config = sources_of(args), settings_of(args), config_of(args)
    with reporter(args, "train-mapping") as progress:
        folder = train_mapping(
            folders,
            args.name,
            args.domain,
            config,
            settings,
            out=args.out,
            resume=bool(args.resume),
            provenance=Provenance(f"recordings in {', '.join(folders)}", args.licence),
            on_event=teller(progress, steps_of(args)),
        )
    print(folder)
    return 0

"""Train the models in pretrained/ from the recordings they were made of.

    python scripts/build_pretrained.py --data DATA drums piano digits speech noise guitar
    python scripts/build_pretrained.py --data DATA --kind listener
    python scripts/build_pretrained.py --data DATA --kind sounds
    python scripts/build_pretrained.py --data DATA --kind nmf drums piano digits
    python scripts/build_pretrained.py --data DATA --kind vae drums piano digits
    python scripts/build_pretrained.py --data DATA --kind mask speech-noise digits-drums digits-piano
    python scripts/build_pretrained.py --data DATA --kind autoencoder speech-noise digits-drums-piano

DATA holds ``<class>/train`` and ``<class>/valid`` folders. Training uses ``train`` less the speakers, kits, pieces
and recordings kept back as ``dev`` (gansep/research/sources.py); the card's figures are measured on ``dev``. A run
that was stopped goes on with --resume, to the same result; a dictionary (--kind nmf) takes less than a minute and is
not resumed.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from gansep.library import CARD, SOUNDS, find_model, load_weights, read_card, save_model
from gansep.nets.sound import SoundConfig
from gansep.nets.spectral import NetConfig
from gansep.nets.wavegan import PriorConfig
from gansep.research.sources import group, split_files
from gansep.training.api import PriorSettings, Provenance, train_prior
from gansep.training.autoencoder import train_conditional, train_denoiser
from gansep.training.data import Augmentation, load_clips
from gansep.training.loop import Progress
from gansep.training.mixing import Mixing
from gansep.training.nmf import DictionarySettings, train_dictionary
from gansep.training.others import keep_sounds
from gansep.training.separators import SeparatorSettings, calibrate_listener, train_listeners, train_mask

CC_BY = "CC BY 4.0"
STRICTEST = ("CC0 1.0", "MIT", "Apache-2.0", CC_BY, "CC BY-SA 4.0")  # licences of weights, the last one binds most
PRIORS: dict[str, dict] = {
    "digits": {
        "classes": ("digits", "digits_en8k"),
        "others": ("drums", "piano", "noise"),
        "data": "spoken digits: Arabic Speech Commands (Ghandoura, Hjabo, Al Dakkak 2021, 22 speakers less 3) and "
        "Free Spoken Digit Dataset (English, 4 speakers, nothing above 4 kHz)",
        "data_licence": "CC BY 4.0; CC BY-SA 4.0 (Free Spoken Digit Dataset)",
        "licence": "CC BY-SA 4.0",
    },
    "drums": {
        "classes": ("drums",),
        "others": ("digits", "piano", "speech", "noise"),
        "data": "one-shot drum hits: Muldjord Kit, FreePats world percussion, TR-808, TR-909 and other drum machines",
        "data_licence": "CC BY 4.0 (Muldjord Kit by Lars Muldjord); CC0 and public domain (the others)",
        "licence": CC_BY,
    },
    "piano": {
        "classes": ("piano",),
        "others": ("digits", "drums", "speech", "noise"),
        "data": "keyboard works by J. S. Bach (Mutopia, public-domain editions), rendered with recorded notes of a "
        "Steinway grand (Splendid Grand Piano)",
        "data_licence": "public domain",
        "licence": "CC0 1.0",
    },
    "speech": {
        "classes": ("speech",),
        "others": ("drums", "piano", "noise"),
        "data": "short English sentences (Picovoice speech-to-intent benchmark)",
        "data_licence": "Apache-2.0",
        "licence": "Apache-2.0",
    },
    "guitar": {
        "classes": ("guitar",),
        "others": ("digits", "drums", "piano", "speech", "noise"),
        "data": "phrases of recorded notes (scripts/render_notes.py): Spanish classical guitar (FreePats), "
        "Stratocaster (Gestalt LUR)",
        "data_licence": "CC0; MIT",
        "licence": "MIT",
    },
    "noise": {
        "classes": ("noise",),
        "others": ("digits", "drums", "piano", "speech"),
        "data": "environment sounds (ESC-10, K. J. Piczak) and a boiler",
        "data_licence": "CC BY 3.0; CC BY 4.0",
        "licence": CC_BY,
    },
}
SHIPPED = ("drums", "piano", "digits", "speech", "noise", "guitar")

SNR = Mixing(snr_db=(-10.0, 20.0))  # speech over noise
LONG = NetConfig(n_fft=1024, hop=512)  # windows that tell notes apart
# Model: sources, what is learned by which loss, network, mixtures, steps.
MASKS: dict[str, tuple[tuple[str, ...], str, str, NetConfig, Mixing, int]] = {
    "speech-noise": (("speech", "noise"), "irm", "snr", NetConfig(), SNR, 4000),
    "speech-noise-causal": (("speech", "noise"), "irm", "snr", NetConfig(causal=True), SNR, 2500),
    "speech-noise-irm-dnn": (("speech", "noise"), "irm", "mse", NetConfig(network="dnn", width=1024), SNR, 5000),
    "digits-drums": (("digits", "drums"), "irm", "snr", LONG, Mixing(), 2500),
    "digits-piano": (("digits", "piano"), "irm", "snr", LONG, Mixing(), 2500),
    "drums-piano": (("drums", "piano"), "irm", "snr", LONG, Mixing(), 2500),
    "digits-drums-piano": (("digits", "drums", "piano"), "irm", "snr", replace(LONG, outputs=3), Mixing(), 2500),
}
# Model: sources, sound and sizes, loss, mixtures, steps. The first is a denoiser, the second is told which source.
AUTOENCODERS: dict[str, tuple[tuple[str, ...], SoundConfig, str, Mixing, int]] = {
    "speech-noise": (("speech", "noise"), SoundConfig(code=256, floor=0.1), "mse", Mixing(snr_db=(-5.0, 15.0)), 1500),
    "digits-drums-piano": (
        ("digits", "drums", "piano"),
        SoundConfig(n_fft=1024, hop=512, code=256),
        "mse",
        Mixing(),
        2500,
    ),
}
# What shipped priors hear by. Of digits and speech together no listener could tell which is which.
LISTENERS: dict[str, tuple[tuple[str, ...], Mixing, int]] = {
    "common": (
        ("digits", "drums", "piano", "speech", "noise", "guitar"),
        Mixing(sounding=3, absent=0.3, apart=((0, 3),)),
        12500,
    ),
}
# What listeners hear beside the recordings that priors are trained on, so that they know other pianos and kits.
MORE: dict[str, dict] = {
    "drums": {
        "classes": ("kits",),
        "data": "single hits (scripts/cut_hits.py): AVL drumkits (Glen MacArthur), Frankensnare, cajon, Ghanaian drums "
        "and the Phu kit (Karoryfer), Sonor Force 3001 (Sam Greene), Philharmonia percussion, LinnDrum, CR-78, CR-8000 "
        "and others",
        "data_licence": "CC BY-SA 3.0 (AVL, Philharmonia); CC BY-SA 4.0 (Sonor); CC0 and public domain (the others)",
        "licence": "CC BY-SA 4.0",
    },
    "piano": {
        "classes": ("upright", "pianos"),
        "data": "phrases of recorded notes (scripts/render_notes.py): an upright (FreePats, Kawai), a Yamaha C3 (Bengt "
        "Nilsson), Salamander (Alexander Holm), a player piano by Francis Bacon (FreePats)",
        "data_licence": "CC0 (Kawai, Francis Bacon); CC BY 4.0 (Yamaha); CC BY (Salamander)",
        "licence": CC_BY,
    },
    "guitar": {
        "classes": ("guitars",),
        "data": "the same of a Martin HD28 (Jeff Learman), an archtop, a Gretsch, a Hofner and an electric guitar with "
        "flatwound strings (Karoryfer)",
        "data_licence": "CC0",
        "licence": "CC0 1.0",
    },
}
STRAYING = Augmentation(speed=0.25, tilt_db=8.0, room=0.3)  # of a listener's sounds, from their recordings
KINDS: dict[str, tuple[dict, Sequence[str]]] = {  # what can be built, and what is unless names are given
    "gan": (PRIORS, SHIPPED),
    "sounds": (PRIORS, SHIPPED),
    "vae": (PRIORS, SHIPPED[:3]),
    "nmf": (PRIORS, SHIPPED[:3]),
    "mask": (MASKS, tuple(MASKS)),
    "autoencoder": (AUTOENCODERS, tuple(AUTOENCODERS)),
    "listener": (LISTENERS, tuple(LISTENERS)),
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names",
        nargs="*",
        help=f"priors of {', '.join(PRIORS)} (default: those shipped), masks of {', '.join(MASKS)}, autoencoders of "
        f"{', '.join(AUTOENCODERS)} (default: all)",
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--library", type=Path, default=Path("pretrained"))
    parser.add_argument("--kind", choices=tuple(KINDS), default="gan")
    parser.add_argument("--objective", default="default", help="of --kind gan")
    parser.add_argument("--steps", type=int, help="(default: 7000 for priors, what this file says for others)")
    parser.add_argument("--init-from", help="of --kind listener: a finished one of the same sources")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    if args.kind == "nmf" and args.resume:
        parser.error("--resume does not belong to --kind nmf; a dictionary is learned at once")
    known, default = KINDS[args.kind]
    args.names = args.names or default
    if unknown := [name for name in args.names if name not in known]:
        parser.error(f"no {args.kind} model is called {', '.join(unknown)}; expected {', '.join(known)}")
    return args


def build(name: str, args: argparse.Namespace) -> Path:
    """Train one model and return its folder."""
    makers = {"sounds": build_sounds, "mask": build_mask, "autoencoder": build_autoencoder, "listener": build_listener}
    return makers.get(args.kind, build_prior)(name, args)


def build_sounds(name: str, args: argparse.Namespace) -> Path:
    """Put excerpts of a prior's recordings beside it, if it has none."""
    folder, settings = args.library / "gan" / name, PriorSettings()
    files = [file for kind in PRIORS[name]["classes"] for file in split_files(args.data, kind, "train")]
    keep_sounds(folder, load_clips(files, settings.config.sample_rate), settings.kept)
    return folder / SOUNDS


def build_mask(name: str, args: argparse.Namespace) -> Path:
    sources, target, loss, config, mixing, steps = MASKS[name]
    settings = SeparatorSettings(loss, args.steps or steps, mixing=mixing, seed=args.seed, device="cpu")
    return train_mask(target=target, config=config, settings=settings, **told(name, sources, args))


def build_autoencoder(name: str, args: argparse.Namespace) -> Path:
    sources, config, loss, mixing, steps = AUTOENCODERS[name]
    settings = SeparatorSettings(loss, args.steps or steps, mixing=mixing, seed=args.seed, device="cpu")
    train = train_denoiser if sources == ("speech", "noise") else train_conditional
    return train(config=config, settings=settings, **told(name, sources, args))


def build_listener(name: str, args: argparse.Namespace) -> Path:
    sources, mixing, steps = LISTENERS[name]
    settings = SeparatorSettings(
        steps=args.steps or steps,
        mixing=mixing,
        augment=STRAYING,
        seed=args.seed,
        device="cpu",
        init_from=args.init_from,
    )
    words = told(name, sources, args, more=True)
    folder = train_listeners(settings=settings, **words)
    calibrate_listener(folder, words["data"], settings)
    for source in sources:
        share(args.library, source, name)
    return folder


def evenly(files: Sequence[Path]) -> list[Path]:
    """The files, those of small groups (kits, speakers) as often as makes up for half of it, on a scale of decibels."""
    sizes = Counter(map(group, files))
    return [file for file in files for _ in range(round((max(sizes.values()) / sizes[group(file)]) ** 0.5))]


def share(library: Path, source: str, listener: str) -> None:
    """Let a prior of the library, if it is there, hear its source by a listener that hears others too."""
    folder, shared = library / "gan" / source, read_card(library / "listener" / listener)
    if not (folder / CARD).exists():
        return
    card = read_card(folder)
    heard = {"model": f"listener/{listener}", "sha256": shared.sha256, "licence": shared.licence}
    config = dict(card.config) | {"listener": listener, "hears": []}
    save_model(
        folder,
        load_weights(find_model(folder, "gan")),
        replace(card, config=config, extra=dict(card.extra) | {"listener": heard}),
        half=True,
    )


def told(name: str, sources: Sequence[str], args: argparse.Namespace, more: bool = False) -> dict:
    """What every training on mixtures of these sources is told; ``more`` recordings of some, and small kits oftener."""
    parts = [PRIORS[source] for source in sources] + [MORE[source] for source in sources if more and source in MORE]
    kinds = {
        source: (*PRIORS[source]["classes"], *(MORE[source]["classes"] if more and source in MORE else ()))
        for source in sources
    }

    def files(split: str) -> dict[str, list[Path]]:
        found = {source: [split_files(args.data, kind, split) for kind in kinds[source]] for source in sources}
        return {
            source: [file for one in several for file in (evenly(one) if more else one)]
            for source, several in found.items()
        }

    words = Provenance(
        "; ".join(part["data"] for part in parts),
        "; ".join(dict.fromkeys(part["data_licence"] for part in parts)),
        max((part["licence"] for part in parts), key=STRICTEST.index),
    )
    return {
        "data": files("train"),
        "name": name,
        "out": args.library / args.kind / name,
        "resume": args.resume,
        "provenance": words,
        "held_out": files("dev"),
        "on_event": report,
    }


def build_prior(name: str, args: argparse.Namespace) -> Path:
    recipe = PRIORS[name]
    files = [file for kind in recipe["classes"] for file in split_files(args.data, kind, "train")]
    held_out = [file for kind in recipe["classes"] for file in split_files(args.data, kind, "dev")]
    words = Provenance(recipe["data"], recipe["data_licence"], recipe["licence"], held_out=held_out)
    out = args.library / args.kind / name
    if args.kind == "nmf":
        return train_dictionary(
            files, name, DictionarySettings(seed=args.seed), out=out, provenance=words, on_event=report
        )
    others = [split_files(args.data, kind, "train") for kind in recipe["others"]]
    settings = PriorSettings(args.objective, args.steps or 7000, seed=args.seed, device="cpu", listen=False)
    if args.kind == "vae":
        settings = replace(settings, objective="vae", config=PriorConfig(variational=True))
    folder = train_prior(
        files,
        name,
        settings,
        interference=others,
        out=out,
        resume=args.resume,
        provenance=replace(words, interference=f"training recordings of {', '.join(recipe['others'])}"),
        on_event=report,
    )
    for listener, (sources, *_) in LISTENERS.items():
        if args.kind == "gan" and name in sources and (args.library / "listener" / listener / CARD).exists():
            share(args.library, name, listener)
    return folder


def report(event: Progress | str) -> None:
    if isinstance(event, str):
        print(event, flush=True)
    elif event.step % 100 == 0:
        losses = ", ".join(f"{name} {value:.3f}" for name, value in event.losses.items())
        print(f"step {event.step}: {losses}; {event.left / 60:.0f} minutes left", flush=True)


def main() -> int:
    args = parse()
    torch.set_num_threads(args.threads)
    for name in args.names:
        print(f"{name}: {build(name, args)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

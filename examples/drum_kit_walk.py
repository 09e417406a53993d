"""A walk through what a prior knows of drums: by chance, from one hit to another, and from dark to bright.

    python examples/drum_kit_walk.py [OUT] [PRIOR]

PRIOR is ``gan/drums`` unless given; it needs an encoder to hear the hits. OUT (``example`` unless given) gets the
sounds, one after the other in a WAV file for each walk, and their spectrograms with spectral centroids:

- ``random``: latents drawn as the prior has them.
- ``between``: the straight way (for a VAE a great circle) from the latent of a snare to that of another drum.
- ``centroid``: along the direction in which the spectral centroid rises.
"""

import argparse
from pathlib import Path

from torch import Tensor

import gansep
from gansep import synthesis
from gansep.audio import mix_down, read, resample, write
from gansep.plots import can_plot, save_spectrograms
from gansep.types import GansepError

ROOT = Path(__file__).resolve().parent.parent
COUNT = 8  # sounds in a walk


def hit(path: Path, begin: float, end: float, rate: int) -> Tensor:
    """A stretch of a recording in seconds, mono, with its peak at 1. Shape: returns ``[T]``."""
    wave, own = read(path)
    wave = resample(mix_down(wave)[round(begin * own) : round(end * own)], own, rate)
    return wave / wave.abs().max()


def walk(out: Path, name: str) -> None:
    prior = gansep.load_prior(name)
    rate = prior.sample_rate
    snare = hit(ROOT / "tests" / "clips" / "drums.flac", 0.0, 1.0, rate)
    other = hit(ROOT / "examples" / "separated" / "drums.flac", 0.65, 1.2, rate)
    brighter = synthesis.walk(prior, "centroid", COUNT)
    walks = {
        "random": prior.sample(COUNT, seed=0),
        "between": synthesis.between(prior, snare, other, COUNT),
        "centroid": brighter.waves,
    }
    for name, waves in walks.items():  # [COUNT, segment]
        write(out / f"{name}.wav", 0.9 * waves.reshape(1, -1) / waves.abs().max(), rate)
        if can_plot():
            centroids = synthesis.centroid(waves, rate).tolist()
            titles = [f"{number}: {value:.0f} Hz" for number, value in enumerate(centroids, 1)]
            save_spectrograms(out / f"{name}.png", dict(zip(titles, waves, strict=True)), rate, columns=4)
    print("spectral centroid along the walk:", *(f"{value:.0f}" for value in brighter.values.tolist()), "Hz")
    print(f"centroid against place along the walk, over other sounds: correlation {brighter.correlation:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", nargs="?", type=Path, default=Path("example"), metavar="OUT", help="folder of results")
    parser.add_argument("prior", nargs="?", default="gan/drums", metavar="PRIOR", help="(default: %(default)s)")
    args = parser.parse_args()
    try:
        walk(args.out, args.prior)
    except GansepError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


if __name__ == "__main__":
    main()

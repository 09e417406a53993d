"""Each source out of a mixture of three: a search with GAN priors, and an autoencoder that is told what to answer.

    python examples/extract_each_source.py [OUT]

A spoken digit, a drum hit and a piano, one second of each with its peak at 0.3, sound together. The GAN priors were
trained on single sources and are searched for the sounds that add up to the mixture; the conditional autoencoder has
heard mixtures, and its decoder is told which source to give back. OUT (``example`` unless given) gets ``mixture.wav``,
a folder of stems for each method, and the spectrograms of all of them.
"""

import argparse
from pathlib import Path

import torch

import gansep
from gansep.audio import read, write
from gansep.library import find_models
from gansep.metrics import si_sdr_improvement
from gansep.plots import can_plot, save_spectrograms
from gansep.types import GansepError

CLIPS = Path(__file__).resolve().parent.parent / "tests" / "clips"
SOURCES = ("digits", "drums", "piano")
RATE = 16000  # Hz, of the clips


def extract(out: Path) -> None:
    clips = {source: read(CLIPS / f"{source}.flac")[0] for source in SOURCES}  # [1, T] each
    truth = {source: 0.3 * wave / wave.abs().max() for source, wave in clips.items()}
    mixture = torch.stack(list(truth.values())).sum(0)
    write(out / "mixture.wav", mixture, RATE, "FLOAT")

    methods = ["gan-prior"]
    if any(found.reference == "autoencoder/digits-drums-piano" for found in find_models()):
        methods.append("autoencoder")
    else:
        print("autoencoder: no model digits-drums-piano is installed")
    stems = {}
    for method in methods:
        done = gansep.separate_file(out / "mixture.wav", out / method, sources=SOURCES, backend=method, overwrite=True)
        for source in SOURCES:
            stems[source, method], _ = read(done.stems[source])
            better = si_sdr_improvement(stems[source, method], truth[source], mixture).item()
            print(f"{method}: {source} {better:+.1f} dB SI-SDR")

    pictures = {}  # a row each source
    for source in SOURCES:
        pictures |= {f"mixture, for {source}": mixture[0], f"{source}, alone": truth[source][0]}
        pictures |= {f"{source}, {method}": stems[source, method][0] for method in methods}
    if can_plot():
        save_spectrograms(out / "extracted.png", pictures, RATE, columns=2 + len(methods))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", nargs="?", type=Path, default=Path("example"), metavar="OUT", help="folder of results")
    args = parser.parse_args()
    try:
        extract(args.out)
    except GansepError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


if __name__ == "__main__":
    main()

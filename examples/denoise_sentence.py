"""Speech out of noise: a mask network and an autoencoder on the same sentence.

    python examples/denoise_sentence.py [OUT]

A spoken order is mixed with a washing machine at 0 dB SNR: the noise is scaled to the power of the speech, both as the
mean square over the whole sentence. Every denoiser that is installed hears the mixture. OUT (``example`` unless given)
gets ``clean.wav``, ``noisy.wav``, a WAV file for each denoiser, and the spectrograms side by side.
"""

import argparse
from pathlib import Path

import gansep
from gansep.audio import read, write
from gansep.library import find_models
from gansep.metrics import si_sdr
from gansep.plots import can_plot, save_spectrograms
from gansep.types import GansepError

CLIPS = Path(__file__).resolve().parent.parent / "tests" / "clips"
MODELS = {"mask": "speech-noise", "autoencoder": "speech-noise"}  # name by back end


def denoise(out: Path) -> None:
    speech, rate = read(CLIPS / "speech.flac")  # [1, T]
    noise, _ = read(CLIPS / "noise.flac")
    noise = noise * (speech.square().mean() / noise.square().mean()).sqrt()  # 0 dB SNR
    clean, noisy = 0.3 * speech, 0.3 * (speech + noise)  # far from clipping
    write(out / "clean.wav", clean, rate, "FLOAT")
    write(out / "noisy.wav", noisy, rate, "FLOAT")
    print(f"noisy: SI-SDR {si_sdr(noisy, clean).item():.1f} dB")

    pictures = {"noisy, 0 dB SNR": noisy[0], "target": clean[0]}
    installed = {found.reference for found in find_models()}
    for backend, model in MODELS.items():
        if f"{backend}/{model}" not in installed:
            print(f"{backend}: no model {model} is installed")
            continue
        outcome = gansep.denoise_files(
            [out / "noisy.wav"], out / backend, backend=backend, model=model, float32=True, overwrite=True
        )
        if outcome.failed:
            raise outcome.failed[0][1]
        heard, _ = read(outcome.done[0].output)
        print(f"{backend}: SI-SDR {si_sdr(heard, clean).item():.1f} dB")
        pictures[f"reconstruction, {backend}"] = heard[0]
    if can_plot():
        save_spectrograms(out / "denoised.png", pictures, rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", nargs="?", type=Path, default=Path("example"), metavar="OUT", help="folder of results")
    args = parser.parse_args()
    try:
        denoise(args.out)
    except GansepError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


if __name__ == "__main__":
    main()

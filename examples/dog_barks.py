"""A denoising autoencoder for the calls of an animal, from training to the classic picture.

    python examples/dog_barks.py FOLDER [OUT] [STEPS]

FOLDER has recordings of barks: those called ``dogbark_*`` where there are some, else all. A convolutional autoencoder
of log magnitudes learns to give them back when it hears them in white noise; every fifth recording is kept from it.
Those are then heard at 0 dB SNR, with the autoencoder's own magnitudes and the phases of the noisy sound. OUT
(``example`` unless given) gets the model, ``barks.png`` (noisy, target, reconstruction), the same as WAV files, and
``curve.png``, the loss over training. STEPS is 600 unless given, three minutes on a core; a second
call goes on.
"""

import argparse
from pathlib import Path

import torch

import gansep
from gansep.audio import find_audio, mix_down, read, resample, write
from gansep.library import read_card
from gansep.metrics import log_spectral_distance, si_sdr
from gansep.nets.sound import SoundConfig
from gansep.plots import can_plot, save, save_spectrograms
from gansep.training.autoencoder import train_denoiser
from gansep.training.mixing import Mixing
from gansep.training.separators import SeparatorSettings
from gansep.types import DataError, GansepError

RATE = 16000  # Hz
# Short windows and a floor at about -40 dB: loud harmonics count, and there are fewer of them in a frame.
NETWORK = SoundConfig("magnitude", n_fft=256, hop=128, layers="conv", width=128, floor=0.3, sample_rate=RATE)
MIXING = Mixing(seconds=0.5, absent=0.02, level_db=(-12.0, 0.0))  # with white noise at -5 to 15 dB SNR


def learn(folder: Path, out: Path, steps: int) -> None:
    files = sorted(folder.glob("dogbark_*")) or find_audio(folder)
    if len(files) < 2:
        raise DataError(f"{folder}: {len(files)} recordings, expected two at least; one is kept to listen to")
    held_out = files[::5]
    settings = SeparatorSettings(steps=steps, checkpoint_every=max(4, steps // 20), rate=3e-3, mixing=MIXING)
    barks = {"barks": [file for file in files if file not in held_out]}
    model = train_denoiser(barks, "barks", "gaussian", NETWORK, settings, out=out / "model", resume=True)
    curve = read_card(model).curve  # means since the point before
    print(f"loss {curve[0]['mse']:.2f} to {curve[-1]['mse']:.2f} in {curve[-1]['step']} steps")

    denoiser = gansep.load_separator("autoencoder", model=str(model))
    random, pictures = torch.Generator().manual_seed(0), {}
    for file in held_out:
        wave, own = read(file)
        clean = resample(mix_down(wave), own, RATE)  # [T]
        clean = 0.5 * clean / clean.abs().max()
        noise = torch.randn(len(clean), generator=random)
        noisy = clean + noise * (clean.square().mean() / noise.square().mean()).sqrt()  # 0 dB SNR
        heard = denoiser(noisy[None]).waves[0, 0]
        for figure, unit in ((si_sdr, "dB SI-SDR"), (log_spectral_distance, "dB log-spectral distance")):
            print(f"{file.stem}: {figure(noisy, clean).item():.1f} to {figure(heard, clean).item():.1f} {unit}")
        waves = {"noisy, 0 dB SNR": noisy, "target": clean, "reconstruction": heard}
        for name, sound in waves.items():
            write(out / f"{file.stem}-{name.partition(',')[0]}.wav", sound[None], RATE, "FLOAT")
        pictures |= {f"{file.stem}: {name}": sound for name, sound in waves.items()}
    if can_plot():
        save_spectrograms(out / "barks.png", pictures, RATE, columns=3)
        save_curve(out / "curve.png", [point["step"] for point in curve], [point["mse"] for point in curve])


def save_curve(path: Path, steps: list[int], losses: list[float]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axis = figure.subplots()
    axis.plot(steps, losses, marker=".")
    axis.set(title="training on barks in white noise", xlabel="step", ylabel="mean squared error", ylim=(0, None))
    axis.grid(alpha=0.3)
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="recordings of barks")
    parser.add_argument("out", nargs="?", type=Path, default=Path("example"), metavar="OUT", help="folder of results")
    parser.add_argument("steps", nargs="?", type=int, default=600, metavar="STEPS", help="(default: %(default)s)")
    args = parser.parse_args()
    if args.steps < 1:
        parser.error(f"STEPS must be at least 1, got {args.steps}")
    try:
        learn(args.folder, args.out, args.steps)
    except GansepError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


if __name__ == "__main__":
    main()

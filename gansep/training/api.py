"""From a folder of sound to a prior on disk: what ``gansep train-prior`` and ``gansep.train_prior`` do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from gansep.dsp.stft import stft
from gansep.library import (
    Card,
    Prior,
    find_model,
    find_models,
    installed_priors,
    load_listener,
    load_weights,
    save_model,
    writable_library,
)
from gansep.library.card import check_sources
from gansep.losses import multi_resolution_spectral
from gansep.nets.listener import SIZES
from gansep.nets.precision import pick_device
from gansep.nets.spectral import feature, statistics
from gansep.nets.spectrogram import SpectralGenerator
from gansep.nets.wavegan import Encoder, Generator, PriorConfig, draw_latents
from gansep.training.data import Augmentation, Clips, draw, draw_interference, load_clips
from gansep.training.journal import Journal
from gansep.training.loop import Progress, Run, Schedule, thin
from gansep.training.objectives import OBJECTIVES, Objective
from gansep.training.prior import PriorTraining
from gansep.training.session import Paths, Say, as_list, claim, curve_of, describe, hear, name_of, run_training
from gansep.types import GansepError, ModelError

LEVEL = "windows scaled to a peak of 1; loudness is the gain's job"
BANK = 256  # sounds drawn from each installed prior where they stand for the rest of a mixture
COMMON = "listener/common"  # what new listeners begin with
HELD_OUT = 64  # windows that the figures of a card are measured on

Sets = str | Path | Sequence[str | Path | Sequence[Path]]


@dataclass(frozen=True)
class PriorSettings:
    """How a prior is trained.

    Attributes:
        objective: a name of :data:`gansep.training.objectives.OBJECTIVES`.
        steps, minutes: when to stop, whichever comes first. checkpoint_every: steps between checkpoints.
        config: sizes of the networks. augment: of the windows.
        seed: of weights and draws. device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        init_from: a finished prior to begin with, by name or folder.
        listen: whether the prior gets a listener, where its objective hears mixtures; it begins with the trunk of
            ``listener/common`` where that is installed and fits. Variational priors have none.
        divergence, warm_up: of the objective ``vae``, unless as :class:`Objective` has them.
        library: the one that ``init_from``, interference and the default place of the result are looked up in.
    """

    objective: str = "default"
    steps: int | None = 20000
    minutes: float | None = None
    checkpoint_every: int = 500
    config: PriorConfig = PriorConfig()
    augment: Augmentation = Augmentation()
    seed: int = 0
    device: str = "auto"
    init_from: str | None = None
    listen: bool = True
    divergence: float | None = None
    warm_up: int | None = None
    library: Path | None = None

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise GansepError(f"unknown objective {self.objective!r}; expected one of {', '.join(OBJECTIVES)}")
        if (self.objective == "vae") != self.config.variational:
            raise GansepError("the objective vae is for a variational config, and no other is")
        if not 0 <= (self.divergence or 0) < math.inf or (self.warm_up or 0) < 0:
            said = f"got {self.divergence} and {self.warm_up}"
            raise GansepError(f"the divergence's weight (beta) and its warm_up must not be negative, {said}")

    @property
    def kind(self) -> str:
        """Of the model."""
        return "vae" if self.config.variational else "gan"

    @property
    def listens(self) -> bool:
        """Whether the prior gets a listener."""
        return self.listen and OBJECTIVES[self.objective].reconstruct and not self.config.variational

    @property
    def goal(self) -> Objective:
        """What a step does."""
        goal = OBJECTIVES[self.objective]
        divergence = goal.divergence if self.divergence is None else self.divergence
        return replace(goal, divergence=divergence, warm_up=goal.warm_up if self.warm_up is None else self.warm_up)


@dataclass(frozen=True)
class Provenance:
    """What a card says of the data, and what is kept aside to measure the prior on.

    Attributes:
        data: in words. data_licence, licence: of the data and of the weights.
        interference: what the encoder's mixtures were made with, in words.
        held_out: files that are not trained on; the card's figures come from them.
    """

    data: str = "not described"
    data_licence: str = "not stated"
    licence: str = "not stated"
    interference: str = ""
    held_out: Sequence[Path] = ()


def train_prior(
    data: Paths | Mapping[str, Paths],
    name: str | None = None,
    settings: PriorSettings | None = None,
    *,
    interference: Sets | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    provenance: Provenance | None = None,
    on_event: Callable[[Progress | str], None] | None = None,
) -> Path:
    """Train a prior of one source and save it.

    Args:
        data: sound files or folders of one source; of each of its classes, by name, for a variational prior whose
            decoder is told which.
        name: of the source; the folder's name unless given.
        settings: sizes, objective, when to stop.
        interference: folders (or lists of files) of other sounds for the encoder's mixtures. Unless given: samples
            of the other priors that are installed, or coloured noise where there are none.
        out: the model's folder; ``gan/<name>`` (or ``vae``) in the first writable library unless given.
        resume: continue from the checkpoint in ``out``.
        provenance: for the card.
        on_event: told the :class:`Progress` after every step, and lines worth showing.
    Returns:
        The model's folder.
    Raises:
        DataError: no such path, no audio, too little sound.
        GansepError: classes without a name for the source, or for a prior that is not variational.
        ModelError: weights to begin with that are missing, damaged or of other sizes.
        OutputError: a folder that cannot be written, or that holds a prior which is not to be resumed.
        TrainingError: losses not finite, silence, collapse; the last good weights are kept.
        KeyboardInterrupt: after Ctrl-C, once what was reached is saved.
    """
    say = on_event or (lambda event: None)
    settings, provenance = settings or PriorSettings(), provenance or Provenance()
    parts = [as_list(some) for some in (data.values() if isinstance(data, Mapping) else [data])]
    if isinstance(data, Mapping):
        settings = replace(settings, config=_with_classes(settings.config, list(data), name))
    name = name or name_of(parts[0])
    folder = Path(out) if out else writable_library(settings.library) / settings.kind / name
    schedule = Schedule(settings.steps, settings.minutes, settings.checkpoint_every)
    claim(folder, resume)
    begin = _finished_weights(settings) if settings.init_from else {}
    clips = [hear(paths, settings.config.sample_rate, say) for paths in parts]
    others = _interference(interference, name, settings)
    if settings.listens:
        config, ears = _listener(clips, others, begin, settings, say)
        settings, begin = replace(settings, config=config), begin | ears
    card = Card(name, settings.config.to_json(), settings.config.sample_rate, settings.config.segment, (name,))
    card = replace(card, kind=settings.kind)
    device = pick_device(settings.device)
    training = PriorTraining(
        clips, others, settings.config, settings.goal, settings.augment, settings.seed, device, settings.steps
    )
    training.start_from(begin)
    for part, sounds in zip(settings.config.classes or (name,), clips, strict=True):
        say(describe(part, sounds))
    return run_training(training, schedule, folder, _Keeper(folder, card, training, settings, provenance), resume, say)


def _with_classes(config: PriorConfig, classes: list[str], name: str | None) -> PriorConfig:
    if not config.variational or not name:
        raise GansepError("classes need a variational config and a name for the source they are of")
    check_sources(classes)
    return replace(config, classes=tuple(classes))


def _finished_weights(settings: PriorSettings) -> dict[str, Tensor]:
    """Weights of the prior to begin with, which must have the sizes of the one to be trained."""
    found = find_model(str(settings.init_from), settings.kind, settings.library)
    ours, theirs = settings.config.to_json(), replace(PriorConfig(), **found.card.config).to_json()
    free = ("sample_rate", "listener")
    wrong = [name for name in ours if name not in free and theirs.get(name) != ours[name]]
    if wrong:
        said = ", ".join(f"{name} is {theirs.get(name)}, wanted {ours[name]}" for name in wrong)
        raise ModelError(f"{found.folder}: training cannot begin with it, its sizes differ ({said})")
    return load_weights(found)


def _listener(
    clips: Sequence[Clips], others: Sequence[Clips], begin: Mapping[str, Tensor], settings: PriorSettings, say: Say
) -> tuple[PriorConfig, dict[str, Tensor]]:
    """The configuration with a listener's, and the weights that it begins with, if there are any.

    They are those of the prior to begin with, or else the trunk of ``listener/common`` with the head that hears the
    most of the new sounds; or none, and statistics of the new sounds.

    Raises:
        ModelError: a damaged ``listener/common``.
    """
    config, rate = settings.config, settings.config.sample_rate
    if any(name.startswith("listener.") for name in begin):
        found = find_model(str(settings.init_from), settings.kind, settings.library)
        return replace(config, listener=PriorConfig(**found.card.config).listener), {}
    random = torch.Generator().manual_seed(settings.seed)
    sounds = draw(clips[0], HELD_OUT, config.segment, random, settings.augment)
    shared = [found for found in find_models(settings.library, "listener") if found.reference == COMMON]
    if shared and shared[0].card.sample_rate == rate:
        common = load_listener(shared[0])
        with torch.no_grad():
            _, presence = common(stft(sounds, common.config.n_fft, common.config.hop))
        nearest = int(presence.mean((0, 2)).argmax())
        say(f"the listener begins with {COMMON}, as the one of {shared[0].card.sources[nearest]}")
        alone = common.alone(nearest)
        return replace(config, listener=alone.config), {
            f"listener.{name}": value for name, value in alone.state_dict().items()
        }
    rest = draw_interference(others, HELD_OUT, config.segment, random)
    sizes = replace(SIZES, sample_rate=rate)
    magnitudes = stft(torch.cat([sounds, sounds + rest]), sizes.n_fft, sizes.hop).abs()
    mean, std = statistics(feature(magnitudes, sizes.feature, sizes.floor))
    return replace(config, listener=replace(sizes, mean=mean, std=std)), {}


def _interference(sets: Sets | None, name: str, settings: PriorSettings) -> list[Clips]:
    rate = settings.config.sample_rate
    if not OBJECTIVES[settings.objective].reconstruct:
        return []
    if sets is not None:
        return [load_clips(as_list(one), rate) for one in ([sets] if isinstance(sets, str | Path) else sets)]
    priors, _ = installed_priors(settings.library)
    return [_bank(prior) for prior in priors if prior.name != name and prior.sample_rate == rate]


def _bank(prior: Prior) -> Clips:
    """Samples of a prior, as if they were files."""
    waves = prior.sample(BANK, seed=0)
    waves = (waves / waves.abs().amax(-1, keepdim=True).clamp_min(1e-6) * 32767).round().to(torch.int16)
    return Clips(tuple(waves), ((0, waves.shape[1]),) * BANK, prior.sample_rate, prior.card.sha256, ())


@dataclass
class _Keeper:
    """Writes the model, its card and its journal at every checkpoint."""

    folder: Path
    card: Card
    training: PriorTraining
    settings: PriorSettings
    provenance: Provenance

    def __post_init__(self) -> None:
        self.journal = Journal(self.folder / "training", self.card.sample_rate)
        held_out = list(self.provenance.held_out)
        self.held_out = load_clips(held_out, self.card.sample_rate) if held_out else None

    def __call__(self, run: Run) -> None:
        self.training.calibrate()
        generator, encoder = self.training.networks(torch.device("cpu"))
        curve = curve_of(run)
        random = torch.Generator().manual_seed(0)
        latents = draw_latents(self.settings.config, 8, random)
        with torch.no_grad():
            self.journal.write(run.step, curve[-1][1] if curve else {}, generator(latents))
        training, words = self.training, self.provenance
        save_model(
            self.folder,
            training.weights(),
            replace(
                self.card,
                data=words.data,
                data_sha256=training.clips.sha256,
                data_licence=words.data_licence,
                licence=words.licence,
                level=LEVEL,
                seed=self.settings.seed,
                curve=thin(curve),
                metrics=self._figures(generator, encoder),
                extra={
                    "objective": self.settings.objective,
                    "steps": run.step,
                    "minutes": round(run.seconds / 60, 1),
                    "seconds_of_sound": round(training.clips.seconds),
                    "interference": words.interference or f"{len(training.others)} sets of sounds",
                    "interference_sha256": [other.sha256 for other in training.others],
                },
            ),
            half=True,
        )

    def _figures(self, generator: Generator | SpectralGenerator, encoder: Encoder | None) -> dict[str, float]:
        """How near the prior comes to sounds that were held out, clean and through the encoder."""
        if self.held_out is None or encoder is None:
            return {}
        random = torch.Generator().manual_seed(1)
        waves = draw(self.held_out, HELD_OUT, self.card.segment or 0, random, Augmentation(again=0, speed=0, tilt_db=0))
        with torch.no_grad():
            distance = multi_resolution_spectral(generator(encoder(waves)[0]), waves)
        return {"held_out_spectral_distance": round(float(distance.mean()), 4), "held_out_windows": HELD_OUT}

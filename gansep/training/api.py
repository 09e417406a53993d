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
    CARD,
    SOUNDS,
    Card,
    find_model,
    find_models,
    load_listener,
    load_prior,
    load_weights,
    read_card,
    save_model,
    writable_library,
)
from gansep.library.card import check_sources
from gansep.losses import multi_resolution_spectral
from gansep.nets.listener import MAPS, SIZES, Ear
from gansep.nets.precision import pick_device
from gansep.nets.spectral import feature, statistics
from gansep.nets.spectrogram import SpectralGenerator
from gansep.nets.wavegan import Encoder, Generator, PriorConfig, draw_latents
from gansep.training.data import MIN_SECONDS, Augmentation, Clips, draw, load_clips
from gansep.training.journal import Journal
from gansep.training.loop import Progress, Run, Schedule, thin
from gansep.training.objectives import OBJECTIVES, Objective
from gansep.training.others import Sets, find_others, keep_sounds
from gansep.training.prior import PriorTraining, draw_rest
from gansep.training.session import Paths, Say, as_list, claim, curve_of, describe, hear, name_of, run_training
from gansep.types import GansepError, ModelError

LEVEL = "windows scaled to a peak of 1; loudness is the gain's job"
COMMON = "listener/common"  # what new listeners begin with
HELD_OUT = 64  # windows that the figures of a card are measured on


@dataclass(frozen=True)
class PriorSettings:
    """How a prior is trained.

    Attributes:
        objective: a name of :data:`gansep.training.objectives.OBJECTIVES`.
        steps, minutes: when to stop, whichever comes first. checkpoint_every: steps between checkpoints.
        config: sizes of the networks. augment: of the windows.
        seed: of weights and draws. device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        init_from: a finished prior to begin with, by name or folder.
        listen: whether the prior gets a listener, where its objective hears mixtures; it begins with that of the prior
            to begin with, or ``listener/common``, where there is one that fits. Variational priors have none.
        decay: of the averaged weights, which are those that are kept.
        kept: seconds of its sounds that are kept beside the weights, for later priors to be trained against.
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
    decay: float = 0.998
    kept: float = 90.0
    divergence: float | None = None
    warm_up: int | None = None
    library: Path | None = None

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise GansepError(f"unknown objective {self.objective!r}; expected one of {', '.join(OBJECTIVES)}")
        if (self.objective == "vae") != self.config.variational:
            raise GansepError("the objective vae is for a variational config, and no other is")
        if self.kept != 0 and not MIN_SECONDS <= self.kept < math.inf:
            raise GansepError(f"seconds of sound to keep must be 0, or {MIN_SECONDS:.0f} or more, got {self.kept}")
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
    def keeps(self) -> float:
        """Seconds of sound that are kept: of priors of the kind that others are trained against."""
        return self.kept if self.kind == "gan" else 0.0

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
        interference: what mixtures were made with, in words; the names of the sets unless given.
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
        interference: folders (or lists of files) of other sounds for the mixtures it is trained on. Unless given: the
            sounds that other installed priors keep, or samples of those that keep none; coloured noise where there
            are no others.
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
    others = {}
    if settings.goal.reconstruct:  # from mixtures
        before = read_card(folder).extra.get("others") if resume and (folder / CARD).exists() else None
        others = find_others(interference, name, settings.config.sample_rate, settings.library, before)
    provenance = replace(provenance, interference=provenance.interference or ", ".join(others))
    if settings.listens:
        config, ears = _listener(Clips.joined(clips), others, settings, say, name)
        settings, begin = replace(settings, config=config), begin | ears
    card = Card(name, settings.config.to_json(), settings.config.sample_rate, settings.config.segment, (name,))
    card = replace(card, kind=settings.kind)
    device = pick_device(settings.device)
    rest = list(others.values())
    training = PriorTraining(
        clips,
        rest,
        settings.config,
        settings.goal,
        settings.augment,
        settings.seed,
        device,
        settings.steps,
        settings.decay,
    )
    training.start_from(begin)
    for part, sounds in zip(settings.config.classes or (name,), clips, strict=True):
        say(describe(part, sounds))
    if settings.keeps:
        say(f"for later priors {settings.keeps:.0f} s of it are kept in {folder / SOUNDS} (--keep-sounds 0: none)")
    keep = _Keeper(folder, card, training, settings, provenance, list(others))
    return run_training(training, schedule, folder, keep, resume, say)


def _with_classes(config: PriorConfig, classes: list[str], name: str | None) -> PriorConfig:
    if not config.variational or not name:
        raise GansepError("classes need a variational config and a name for the source they are of")
    check_sources(classes)
    return replace(config, classes=tuple(classes))


def _finished_weights(settings: PriorSettings) -> dict[str, Tensor]:
    """Weights of the prior to begin with, which must have the sizes of the one to be trained."""
    found = find_model(str(settings.init_from), settings.kind, settings.library)
    ours, theirs = settings.config.to_json(), replace(PriorConfig(), **found.card.config).to_json()
    free = ("sample_rate", "listener", "hears", "hears_sha256")
    wrong = [name for name in ours if name not in free and theirs.get(name) != ours[name]]
    if wrong:
        said = ", ".join(f"{name} is {theirs.get(name)}, wanted {ours[name]}" for name in wrong)
        raise ModelError(f"{found.folder}: training cannot begin with it, its sizes differ ({said})")
    return {key: value for key, value in load_weights(found).items() if not key.startswith("listener.")}


def _listener(
    clips: Clips, others: Mapping[str, Clips], settings: PriorSettings, say: Say, name: str
) -> tuple[PriorConfig, dict[str, Tensor]]:
    """The configuration with a listener's, of the source and the others, and weights that it begins with, if any.

    They are those of a listener there is (:func:`_known`): its trunk, its heads for sources that it hears, and for
    each other source the head that hears most of it. Without one there are only statistics of the new sounds.

    Raises:
        ModelError: a damaged listener.
    """
    config, sets = settings.config, {name: clips, **others}
    behind = tuple(one.sha256 for one in sets.values())
    random = torch.Generator().manual_seed(settings.seed)
    windows = [draw(one, HELD_OUT, config.segment, random, settings.augment) for one in sets.values()]
    if known := _known(settings):
        network = known.network

        def nearest(sounds: Tensor) -> int:
            with torch.no_grad():
                _, presence = network(stft(sounds, network.config.n_fft, network.config.hop))
            return int(presence.mean((0, 2)).argmax())

        pairs = zip(sets, windows, strict=True)
        heads = [known.hears.index(one) if one in known.hears else nearest(sounds) for one, sounds in pairs]
        if settings.init_from and name not in known.hears:
            heads[0] = known.number
        say(f"the listener begins with one of {', '.join(known.hears)}, {name} as {known.hears[heads[0]]}")
        own = network.of(heads)
        weights = {f"listener.{key}": value for key, value in own.state_dict().items()}
        return replace(config, listener=own.config, hears=tuple(sets), hears_sha256=behind), weights
    rest = draw_rest(list(others.values()), HELD_OUT, config.segment, random).sum(1)
    sizes = replace(SIZES, sample_rate=config.sample_rate, outputs=MAPS * len(sets))
    magnitudes = stft(torch.cat([windows[0], windows[0] + rest]), sizes.n_fft, sizes.hop).abs()
    mean, std = statistics(feature(magnitudes, sizes.feature, sizes.floor))
    sizes = replace(sizes, mean=mean, std=std)
    return replace(config, listener=sizes, hears=tuple(sets), hears_sha256=behind), {}


def _known(settings: PriorSettings) -> Ear | None:
    """How a listener there is hears: that of the prior to begin with, or else ``listener/common``."""
    ears: list[Ear | None] = []
    if settings.init_from:
        ears.append(load_prior(find_model(settings.init_from, "gan", settings.library), settings.library).listener)
    shared = [found for found in find_models(settings.library, "listener") if found.reference == COMMON]
    ears += [Ear(load_listener(one), hears=one.card.sources) for one in shared[:1]]
    fits = (ear for ear in ears if ear and ear.network.config.sample_rate == settings.config.sample_rate)
    return next(fits, None)


@dataclass
class _Keeper:
    """Writes the model, its card and its journal at every checkpoint."""

    folder: Path
    card: Card
    training: PriorTraining
    settings: PriorSettings
    provenance: Provenance
    others: Sequence[str]

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
        keep_sounds(self.folder, training.clips, self.settings.keeps)
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
                    "interference": words.interference,
                    "others": self.others,
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

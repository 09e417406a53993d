"""From folders of single sources to a network that takes their mixtures apart: ``train-mask`` and ``train-mapping``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from gansep.dsp.stft import stft
from gansep.library import (
    Card,
    Found,
    find_model,
    load_listener,
    load_weights,
    read_card,
    save_model,
    writable_library,
)
from gansep.metrics import si_sdr
from gansep.nets.listener import MAPS, SIZES, Listener
from gansep.nets.mapping import SpectralMapping, WaveformConfig, WaveformMapping
from gansep.nets.masknet import MaskNet, maps
from gansep.nets.precision import pick_device
from gansep.nets.spectral import NetConfig, feature, statistics
from gansep.training.api import Provenance
from gansep.training.data import Augmentation, Clips, load_clips
from gansep.training.journal import Journal
from gansep.training.listener import ListenerTask, calibrate
from gansep.training.loop import Run, Schedule, thin
from gansep.training.mapping import SPECTRAL_LOSSES, WAVEFORM_LOSSES, SpectralMappingTask, WaveformMappingTask
from gansep.training.mask import MaskTask
from gansep.training.mixing import Mixing, draw_parts
from gansep.training.session import Paths, Say, as_list, claim, curve_of, describe, hear, name_of, run_training
from gansep.training.signals import check_loss
from gansep.training.supervised import SupervisedTraining, Task
from gansep.types import DataError, GansepError, ModelError

LEVEL = "mixtures at random levels; the network's features are normalised by the card's mean and std"
LEVEL_OF_WAVES = "mixtures at random levels; the network brings each to a standard deviation of 1"
HEARD = 64  # mixtures that features are normalised by
CALIBRATED = 60, 1.024  # batches of mixtures, and seconds of each: as long as a prior's window
HELD_OUT = 32  # mixtures that the card's figures are measured on

FREE = ("loss", "corruption", "mean", "std", "dropout")  # what a model need not share with one that it begins with

# What a mapping answers with: its configuration, and its losses, the first unless another is named.
DOMAINS = {"spectral": (NetConfig, SPECTRAL_LOSSES), "waveform": (WaveformConfig, WAVEFORM_LOSSES)}

Sources = Mapping[str, Paths] | Sequence[str | Path]


@dataclass(frozen=True)
class SeparatorSettings:
    """How a network that separates is trained.

    Attributes:
        loss: of the task; its own unless given.
        steps, minutes: when to stop, whichever comes first. checkpoint_every: steps between checkpoints.
        batch: mixtures a step. rate: Adam's, at its highest.
        mixing, augment: how mixtures are made.
        seed: of weights and draws. device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        init_from: a finished model to begin with, by name or folder. library: where it is looked up, and the default
            place of the result.
    """

    loss: str = ""
    steps: int | None = 20000
    minutes: float | None = None
    checkpoint_every: int = 500
    batch: int = 16
    rate: float = 1e-3
    mixing: Mixing = field(default_factory=Mixing)
    augment: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    device: str = "auto"
    init_from: str | None = None
    library: Path | None = None


def train_mask(
    data: Sources,
    name: str | None = None,
    target: str = "irm",
    config: NetConfig | None = None,
    settings: SeparatorSettings | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    provenance: Provenance | None = None,
    held_out: Mapping[str, Paths] | None = None,
    on_event: Say | None = None,
) -> Path:
    """Train a network that masks mixtures, and save it.

    Args:
        data: sound files or folders of each source, by name; or a folder a source, whose names are theirs.
        name: of the model; its sources' names, joined by hyphens, unless given.
        target: of :data:`gansep.nets.masknet.TARGETS`.
        config: sizes and features; outputs and statistics are filled in.
        settings: loss, mixtures, when to stop.
        out: the model's folder; ``mask/<name>`` in the first writable library unless given.
        resume: continue from the checkpoint in ``out``.
        provenance: for the card. held_out: sounds that the card's figures come from, not trained on.
        on_event: told the :class:`Progress` after every step, and lines worth showing.
    Returns:
        The model's folder.
    Raises:
        DataError: fewer than two sources, no such path, no audio, too little sound.
        ModelError: weights to begin with that are missing, damaged or of other sizes.
        OutputError: a folder that cannot be written, or that holds a model which is not to be resumed.
        TrainingError: losses not finite, silence, collapse; the last good weights are kept.
        KeyboardInterrupt: after Ctrl-C, once what was reached is saved.
    """
    settings = settings or SeparatorSettings()
    sizes, loss = config or NetConfig(), settings.loss or default_loss(target)

    def make(clips: Sequence[Clips]) -> Task:
        heard = with_statistics(sizes, clips, settings)
        return MaskTask(MaskNet(replace(heard, outputs=len(clips) * maps(target)), target), loss)

    words = {"target": target, "loss": loss}
    return Training("mask", words, LEVEL, sizes.sample_rate, make, settings, provenance or Provenance())(
        data, name, Path(out) if out else None, resume, held_out, on_event or (lambda event: None)
    )


def default_loss(target: str) -> str:
    """The loss that a target is learned by unless another is named."""
    return "cross-entropy" if target == "ibm" else "snr"


def train_mapping(
    data: Sources,
    name: str | None = None,
    domain: str = "spectral",
    config: NetConfig | WaveformConfig | None = None,
    settings: SeparatorSettings | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    provenance: Provenance | None = None,
    held_out: Mapping[str, Paths] | None = None,
    on_event: Say | None = None,
) -> Path:
    """Train a network that maps mixtures to their sources, and save it.

    Args:
        data, name, settings, resume, provenance, held_out, on_event: as in :func:`train_mask`.
        domain: ``spectral`` (magnitudes, with the mixture's phase) or ``waveform``.
        config: sizes, of the domain's kind; outputs, and statistics of features, are filled in.
        out: the model's folder; ``mapping/<name>`` in the first writable library unless given.
    Returns:
        The model's folder.
    Raises:
        GansepError: an unknown domain or loss, or a configuration of the other domain.
        DataError, ModelError, OutputError, TrainingError, KeyboardInterrupt: as in :func:`train_mask`.
    """
    settings = settings or SeparatorSettings()
    if domain not in DOMAINS:
        raise GansepError(f"unknown domain {domain!r}; expected one of {', '.join(DOMAINS)}")
    kind, losses = DOMAINS[domain]
    sizes, loss = config or kind(), settings.loss or losses[0]
    if not isinstance(sizes, kind):
        raise GansepError(f"a {domain} mapping needs a {kind.__name__}, got a {type(sizes).__name__}")
    check_loss(loss, losses, f"{domain} mappings")

    def make(clips: Sequence[Clips]) -> Task:
        if isinstance(sizes, WaveformConfig):
            return WaveformMappingTask(WaveformMapping(replace(sizes, outputs=len(clips))), loss)
        heard = with_statistics(sizes, clips, settings)
        return SpectralMappingTask(SpectralMapping(replace(heard, outputs=len(clips))), loss)

    words = {"domain": domain, "loss": loss}
    level = LEVEL if domain == "spectral" else LEVEL_OF_WAVES
    return Training("mapping", words, level, sizes.sample_rate, make, settings, provenance or Provenance())(
        data, name, Path(out) if out else None, resume, held_out, on_event or (lambda event: None)
    )


def train_listeners(
    data: Sources,
    name: str,
    config: NetConfig | None = None,
    settings: SeparatorSettings | None = None,
    *,
    out: str | Path,
    resume: bool = False,
    provenance: Provenance | None = None,
    held_out: Mapping[str, Paths] | None = None,
    on_event: Say | None = None,
) -> Path:
    """Train one network that hears several sources, from which priors' own listeners begin.

    Args:
        data: sound files or folders of each source, by name.
        name: of the model. out: its folder.
        config: sizes and features; outputs and statistics are filled in.
        settings, resume, provenance, held_out, on_event: as in :func:`train_mask`.
    Returns:
        The model's folder.
    Raises:
        DataError, OutputError, TrainingError, KeyboardInterrupt: as in :func:`train_mask`.
    """
    settings, sizes = settings or SeparatorSettings(), config or SIZES

    def make(clips: Sequence[Clips]) -> ListenerTask:
        heard = with_statistics(sizes, clips, settings)
        return ListenerTask(Listener(replace(heard, outputs=MAPS * len(clips))))

    return Training("listener", {}, LEVEL, sizes.sample_rate, make, settings, provenance or Provenance())(
        data, name, Path(out), resume, held_out, on_event or (lambda event: None)
    )


def calibrate_listener(folder: Path, data: Sources, settings: SeparatorSettings) -> None:
    """Tell a trained network that hears several sources how sure it may be that one is there, and save it so.

    Args:
        folder: of the model. data, settings: as it was trained with.
    """
    listener = load_listener(folder)
    sounds = by_name(data)
    clips = [load_clips(sounds[source], listener.config.sample_rate) for source in read_card(folder).sources]
    random = torch.Generator().manual_seed(settings.seed + 1)
    mixing = replace(settings.mixing, seconds=CALIBRATED[1])
    parts = [draw_parts(clips, 16, mixing, random, settings.augment) for _ in range(CALIBRATED[0])]
    calibrate(listener, parts)
    save_model(folder, listener.state_dict(), read_card(folder), half=True)


@dataclass
class Training:
    """What trainings on mixtures share: names, sounds, statistics, the run and the card.

    Attributes:
        kind: of the model. words: of its card's config, beside the network's. level: of its card.
        rate: in Hz. make: the task, of the sounds of each source.
        others: sources beside those of the folders: sounds that are made, or ``None`` for what is left over.
    """

    kind: str
    words: Mapping[str, str]
    level: str
    rate: int
    make: Callable[[Sequence[Clips]], Task]
    settings: SeparatorSettings
    provenance: Provenance
    others: Mapping[str, Clips | None] = field(default_factory=dict)

    def __call__(
        self,
        data: Sources,
        name: str | None,
        out: Path | None,
        resume: bool,
        held_out: Mapping[str, Paths] | None,
        say: Say,
    ) -> Path:
        settings, rate = self.settings, self.rate
        paths = by_name(data, least=1 if self.others else 2)
        sources, made = (*paths, *self.others), [one for one in self.others.values() if one]
        name = name or "-".join(sources)
        folder = out or writable_library(settings.library) / self.kind / name
        schedule = Schedule(settings.steps, settings.minutes, settings.checkpoint_every)
        claim(folder, resume)
        clips = [*(hear(several, rate, say) for several in paths.values()), *made]
        device = pick_device(settings.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            task = self.make(clips)
        task.network.to(device)
        training = SupervisedTraining(
            task, clips, settings.mixing, settings.augment, settings.batch, settings.rate, settings.seed, settings.steps
        )
        card = Card(name, dict(self.words), rate, None, sources, kind=self.kind, level=self.level)
        begun: dict[str, str] = {}
        if settings.init_from:
            found = find_model(settings.init_from, self.kind, settings.library)
            training.start_from(self._finished_weights(task, card, found))
            begun = {"begun_with": f"{found.reference}, {found.card.sha256}"}
        others = [*self._held_out(held_out, tuple(paths)), *made] if held_out else []
        keep = _Keeper(folder, card, training, settings, self.provenance, others, begun)
        for source, one in zip(paths, clips, strict=False):
            say(describe(source, one))
        return run_training(training, schedule, folder, keep, resume, say)

    def _held_out(self, sounds: Mapping[str, Paths], sources: tuple[str, ...]) -> list[Clips]:
        if sounds.keys() != set(sources):
            raise DataError(f"expected held-out sounds of {', '.join(sources)}, got those of {', '.join(sounds)}")
        return [load_clips(as_list(sounds[source]), self.rate) for source in sources]

    def _finished_weights(self, task: Task, card: Card, found: Found) -> dict[str, Tensor]:
        weights, own = load_weights(found), task.network.state_dict()
        wanted = {"sources": list(card.sources)} | task.network.config.to_json() | dict(card.config)  # type: ignore[union-attr]
        theirs = {"sources": list(found.card.sources)} | dict(found.card.config)
        differs = [name for name, value in wanted.items() if name not in FREE and theirs.get(name) != value]
        if not differs and {name: v.shape for name, v in weights.items()} != {name: v.shape for name, v in own.items()}:
            differs = ["sizes"]
        if differs:
            raise ModelError(f"{found.folder}: training cannot begin with it, it has other {', '.join(differs)}")
        return weights


def by_name(data: Sources, least: int = 2) -> dict[str, list[Path]]:
    """Sounds of each source.

    Raises:
        DataError: fewer than ``least`` sources, or two of one name.
    """
    if isinstance(data, str | Path):
        data = [data]
    pairs = data.items() if isinstance(data, Mapping) else ((name_of([Path(path)]), path) for path in data)
    paths: dict[str, list[Path]] = {}
    for name, several in pairs:
        if name in paths:
            raise DataError(f"two sources are called {name}; give folders of different names")
        paths[name] = as_list(several)
    if len(paths) < least:
        wanted = "two sources" if least == 2 else "one source"
        raise DataError(f"mixtures need at least {wanted}, got {', '.join(paths) or 'none'}; give a folder of each")
    return paths


def with_statistics(config: NetConfig, clips: Sequence[Clips], settings: SeparatorSettings) -> NetConfig:
    """The configuration with mean and standard deviation of the feature over mixtures as in training."""
    mixture = example_mixtures(clips, settings)
    mean, std = statistics(feature(stft(mixture, config.n_fft, config.hop).abs(), config.feature, config.floor))
    return replace(config, mean=mean, std=std)


def example_mixtures(clips: Sequence[Clips], settings: SeparatorSettings) -> Tensor:
    """Mixtures as in training, by the seed. Shape: returns ``[B, T]``."""
    random = torch.Generator().manual_seed(settings.seed)
    return draw_parts(clips, HEARD, settings.mixing, random, settings.augment).sum(1)


@dataclass
class _Keeper:
    """Writes the model, its card and its journal at every checkpoint."""

    folder: Path
    card: Card
    training: SupervisedTraining
    settings: SeparatorSettings
    provenance: Provenance
    held_out: Sequence[Clips]
    begun_with: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.journal = Journal(self.folder / "training", self.card.sample_rate)

    def __call__(self, run: Run) -> None:
        training, words, curve = self.training, self.provenance, curve_of(run)
        parts = self._parts(self.held_out or training.clips, 1)
        with torch.no_grad():
            stems = training.separate(parts.sum(1))
        digest = hashlib.sha256("".join(one.sha256 for one in training.clips).encode()).hexdigest()
        config = training.task.network.config.to_json()  # type: ignore[union-attr]  # every task's network has one
        save_model(
            self.folder,
            training.weights(),
            replace(
                self.card,
                config=config | dict(self.card.config),
                data=words.data,
                data_sha256=digest,
                data_licence=words.data_licence,
                licence=words.licence,
                seed=self.settings.seed,
                curve=thin(curve),
                metrics=self._figures(),
                extra={
                    "steps": run.step,
                    "minutes": round(run.seconds / 60, 1),
                    "seconds_of_sound": [round(one.seconds) for one in training.clips],
                    "mixing": repr(self.settings.mixing),
                    "augment": repr(self.settings.augment),
                }
                | self.begun_with,
            ),
            half=True,
        )
        sounds = torch.cat([parts.sum(1), parts[0], stems[0]])  # the mixture, what is in it, what was heard
        self.journal.write(run.step, curve[-1][1] if curve else {}, sounds)

    def _parts(self, clips: Sequence[Clips], count: int) -> Tensor:
        random = torch.Generator().manual_seed(1)
        mixing = replace(self.settings.mixing, absent=0.0)
        if mixing.sounding == 1:  # alone is not mixed
            mixing = replace(mixing, sounding=2)
        return draw_parts(clips, count, mixing, random, Augmentation(again=0, speed=0, tilt_db=0))

    def _figures(self) -> dict[str, float]:
        """Mean improvement of SI-SDR on mixtures of sounds that were held out."""
        if len(self.held_out) < 2:
            return {}
        parts = self._parts(self.held_out, HELD_OUT)
        mixture = parts.sum(1)
        stems = self.training.separate(mixture)
        gain = si_sdr(stems, parts) - si_sdr(mixture[:, None].expand_as(parts), parts)
        return {"held_out_si_sdr_improvement": round(float(gain.nanmean()), 3), "held_out_mixtures": HELD_OUT}

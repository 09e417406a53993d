"""Train a prior: a WaveGAN generator of one source, its critic, and the encoder that reads mixtures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gansep.dsp.stft import stft
from gansep.losses import adversarial, multi_resolution_spectral
from gansep.nets.listener import Listener
from gansep.nets.precision import autocast
from gansep.nets.spectral import NetConfig
from gansep.nets.spectrogram import SpectralGenerator, levels_of, make_generator
from gansep.nets.wavegan import Critic, Encoder, Generator, PriorConfig, draw_latents
from gansep.training.data import Augmentation, Clips, draw
from gansep.training.listener import calibrate, listening_losses, with_silence
from gansep.training.mixing import Mixing, draw_parts
from gansep.training.objectives import Objective

UNTOLD = 0.2  # share of sounds whose class a generator with classes is not told, so that it can do without


def draw_rest(others: Sequence[Clips], count: int, segment: int, random: torch.Generator) -> Tensor:
    """What else sounds in mixtures: one or two of the others, their sum's peak at -9 to +9 dB.

    Shape: ``[count, S, segment]``.
    """
    seconds = segment / others[0].sample_rate
    mixing = Mixing(seconds, gain_db=6.0, absent=0.35, sounding=2, level_db=(-9.0, 9.0))
    return draw_parts(others, count, mixing, random, Augmentation())


@dataclass(frozen=True)
class Mixed:
    """Training mixtures.

    Attributes:
        parts: own sound and those of the others, ``[B, 1 + S, T]``. gain: of the source, ``[B]``.
        present: 1 where it sounds, else 0, ``[B]``.
    """

    parts: Tensor
    gain: Tensor
    present: Tensor


@dataclass
class PriorTraining:
    """Everything that changes while a prior is trained; :meth:`step` changes it.

    Attributes:
        sounds: the source, class by class in the order of the config's if it has some.
        others: sounds that stand for the rest of a mixture, one set a source; of objectives without mixtures, none.
        config, objective, augment: settings.
        seed: of weights and of every draw.
        horizon: steps of the whole training; over the last third the step size falls to a tenth, and over the last
            two thirds the listener's to a hundredth. ``None``: never.
        decay: of the averaged weights.
    """

    sounds: Clips | Sequence[Clips]
    others: Sequence[Clips]
    config: PriorConfig
    objective: Objective
    augment: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    horizon: int | None = None
    decay: float = 0.998

    def __post_init__(self) -> None:
        self.parts = [self.sounds] if isinstance(self.sounds, Clips) else list(self.sounds)
        if len(self.parts) != max(1, len(self.config.classes)):
            raise ValueError(f"expected sounds of {max(1, len(self.config.classes))} classes, got {len(self.parts)}")
        if self.objective.reconstruct and not self.others:
            raise ValueError("mixtures need sounds of others beside the source's, got none")
        self.clips = Clips.joined(self.parts)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.nets = nn.ModuleDict({"generator": make_generator(self.config), "critic": Critic(self.config)})
            if self.objective.reconstruct:
                self.nets["encoder"] = Encoder(self.config)
                if isinstance(self.config.listener, NetConfig):
                    self.nets["listener"] = Listener(self.config.listener)
        self.nets.to(self.device)
        self.random = torch.Generator().manual_seed(self.seed)
        self.average = {name: value.detach().clone() for name, value in self._averaged()}
        player = [p for name in ("generator", "encoder") if name in self.nets for p in self.nets[name].parameters()]
        beta1, beta2 = self.objective.betas
        own = (0.9, beta2) if self.objective.reconstruct else (beta1, beta2)
        self.player = torch.optim.Adam(player, self.objective.rate, own)
        self.judge = torch.optim.Adam(self.nets["critic"].parameters(), self.objective.rate, (beta1, beta2))
        self.hearer = None
        if "listener" in self.nets:
            ears = self.nets["listener"].parameters()
            self.hearer = torch.optim.AdamW(ears, self.objective.listening_rate, weight_decay=1e-2)
        self.games = 0

    # -- one step ------------------------------------------------------------------------------------------------

    def step(self, number: int) -> dict[str, float]:
        """Update every network once and return the losses by name (plain numbers)."""
        goal = self.objective
        self._set_rate(number)
        losses: dict[str, Tensor] = {}
        play = goal.adversarial > 0 and number >= goal.adversarial_from and number % goal.adversarial_every == 0
        if play:
            for _ in range(goal.critic_steps):
                losses |= self._update_critic()
        total = torch.zeros((), device=self.device)
        if goal.reconstruct:
            source, which = self._drawn(goal.batch)
            mixed = self._mix(source.cpu())
            if self.hearer:
                losses |= self._update_listener(self.hearer, mixed.parts, number)
            parts = self._reconstruction(source, which, mixed)
            weights = {"spectral": 1.0, "gain": goal.gain, "box": goal.box}
            weights["divergence"] = goal.divergence * min(1.0, number / max(1, goal.warm_up))
            total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
            losses |= parts
        if play:
            losses["adversarial"] = self._fooling()
            total = total + goal.adversarial * losses["adversarial"]
        self.player.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_([p for group in self.player.param_groups for p in group["params"]], 5.0)
        self.player.step()
        self._update_average(number)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _set_rate(self, number: int) -> None:
        done = number / self.horizon if self.horizon else 0.0
        rate = self.objective.rate * min(1.0, max(0.1, 1 - 0.9 * (3 * done - 2)))
        for optimiser in (self.player, self.judge):
            for group in optimiser.param_groups:
                group["lr"] = rate
        listening = self.objective.listening_rate * min(1.0, (number + 1) / 100)
        for group in self.hearer.param_groups if self.hearer else ():  # from the first third on to a hundredth
            group["lr"] = listening * 0.01 ** max(0.0, 1.5 * done - 0.5)

    @property
    def _game_batch(self) -> int:
        return self.objective.batch // 2 if self.objective.reconstruct else self.objective.batch

    def _real(self, count: int) -> Tensor:
        return self._drawn(count)[0]

    def _drawn(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Sounds of the source, and the class of each, -1 where it is not told. Shape: ``[B, segment]`` and ``[B]``."""
        segment = self.config.segment
        if len(self.parts) == 1:
            which, waves = None, draw(self.parts[0], count, segment, self.random, self.augment)
        else:
            which = torch.randint(len(self.parts), (count,), generator=self.random).sort().values
            sizes = which.bincount(minlength=len(self.parts)).tolist()
            drawn = zip(self.parts, sizes, strict=True)
            waves = torch.cat([draw(part, n, segment, self.random, self.augment) for part, n in drawn if n])
        if self.config.classes:
            which = torch.zeros(count, dtype=torch.long) if which is None else which
            which = torch.where(torch.rand(count, generator=self.random) < UNTOLD, -1, which).to(self.device)
        return waves.to(self.device), which

    def _latents(self, count: int) -> Tensor:
        return draw_latents(self.config, count, self.random).to(self.device)

    def _critic(self, wave: Tensor) -> Tensor:
        with autocast(self.device):
            return self.nets["critic"](wave, self.random).float()

    def _generator(self, latents: Tensor) -> Tensor:
        with autocast(self.device):
            return self.nets["generator"](latents)

    def _update_critic(self) -> dict[str, Tensor]:
        goal = self.objective
        real = self._real(self._game_batch)
        with torch.no_grad():
            fake = self._generator(self._latents(len(real)))
        scores = self._critic(real), self._critic(fake)
        if goal.game == "wgan-gp":
            loss = adversarial.wasserstein_critic(*scores)
            penalty = adversarial.gradient_penalty(self._critic, real, fake, self.random)
            total = loss + goal.penalty * penalty
        else:
            loss = total = adversarial.relativistic_critic(*scores)
            if self.games % goal.penalty_every == 0:
                penalty = sum(adversarial.zero_centred_penalty(self._critic, wave) for wave in (real, fake))
                total = loss + goal.penalty * goal.penalty_every * penalty
        self.games += 1
        self.judge.zero_grad(set_to_none=True)
        total.backward()
        self.judge.step()
        return {"critic": loss}

    def _fooling(self) -> Tensor:
        fake = self._generator(self._latents(self._game_batch))
        if self.objective.game == "wgan-gp":
            return adversarial.wasserstein_generator(self._critic(fake))
        with torch.no_grad():
            real = self._critic(self._real(self._game_batch))
        return adversarial.relativistic_generator(real, self._critic(fake))

    def _reconstruction(self, source: Tensor, which: Tensor | None, mixed: Mixed) -> dict[str, Tensor]:
        mixture, gain, present = (part.to(self.device) for part in (mixed.parts.sum(1), mixed.gain, mixed.present))
        latents, heard, strangeness = self._heard(mixture)
        missed = self._missed(latents, which, source)
        spectral = (missed * present).sum() / present.sum().clamp_min(1)
        error = (heard / gain).log()
        error = torch.where(present > 0, error.abs(), error.clamp_min(0))  # an absent source may be as low as it likes
        return {"spectral": spectral, "gain": error.mean()} | strangeness

    def _update_listener(self, hearer: torch.optim.Optimizer, parts: Tensor, number: int) -> dict[str, Tensor]:
        """Let the listener hear mixtures of ``parts [B, 1 + S, T]`` at levels 30 dB apart."""
        level = 10 ** (-1.5 * torch.rand(len(parts), generator=self.random))
        parts = parts * (level / parts.sum(1).abs().amax(-1).clamp_min(1e-6))[:, None, None]
        listener = self.nets["listener"]
        assert isinstance(listener, Listener)
        with torch.random.fork_rng(devices=[]), autocast(self.device):
            torch.manual_seed(self.seed * 1_000_003 + number)  # of who competes
            losses = listening_losses(listener.train(), with_silence(parts.to(self.device)))
        hearer.zero_grad(set_to_none=True)
        losses["listening"].backward()
        nn.utils.clip_grad_norm_(listener.parameters(), 1.0)
        hearer.step()
        return {name: losses[name] for name in ("snr", "presence")}

    def calibrate(self, batches: int = 20) -> None:
        """Tell the averaged listener how sure it may be that its source is there: it is in every other mixture.

        The draws are by dice of their own, so that a training goes on as if it had not been asked.
        """
        config = self.config.listener
        if "listener" not in self.nets or not isinstance(config, NetConfig):
            return
        before = self.random.get_state()
        self.random.manual_seed(self.seed + 1)
        parts = []
        for _ in range(batches):
            mixed = self._mix(self._drawn(self.objective.batch)[0].cpu()).parts
            mixed[::2, 0] = 0
            parts.append(mixed / mixed.sum(1).abs().amax(-1).clamp_min(1e-6)[:, None, None])
        self.random.set_state(before)
        with torch.random.fork_rng(devices=[]):
            listener = Listener(config)
        own = {name: value for name, value in self.average.items() if name.startswith("listener.")}
        listener.load_state_dict({name.removeprefix("listener."): value.cpu() for name, value in own.items()})
        calibrate(listener.eval(), parts)
        for place in (self.average["listener.certainty"], self.nets.get_buffer("listener.certainty")):
            place.copy_(listener.certainty)

    def _missed(self, latents: Tensor, which: Tensor | None, source: Tensor) -> Tensor:
        """How far what the generator plays is from the source. Shape: ``[B]``."""
        generator = self.nets["generator"]
        if isinstance(generator, SpectralGenerator):
            with autocast(self.device):
                levels = generator.levels(latents, which)
            return (levels - levels_of(source)).square().mean((1, 2))
        with autocast(self.device):
            estimate = generator(latents, which)
        return multi_resolution_spectral(estimate, source)

    def _heard(self, mixture: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Latents near the encoder's answer, its gain, and how far its answers are from the latents' distribution."""
        encoder = self.nets["encoder"]
        assert isinstance(encoder, Encoder)
        noise = torch.randn(len(mixture), self.config.latent, generator=self.random).to(self.device)
        with autocast(self.device):
            if self.config.variational:
                mean, spread, gain = encoder.distribution(mixture)
                divergence = (mean.square() + spread.exp() - 1 - spread).mean() / 2
                return mean + (spread / 2).exp() * noise, gain, {"divergence": divergence}
            latents, gain = encoder(mixture)
        return (latents + 0.03 * noise).clamp(-1, 1), gain, {"box": self._distance_to_box(latents)}

    def _mix(self, source: Tensor) -> Mixed:
        """Own sound and one or two others, both at -9 to +9 dB; one in eight clean, one in ten without the source."""
        count, config = len(source), self.config
        chance = torch.rand(count, generator=self.random)
        gain = 10 ** ((torch.rand(count, generator=self.random) * 18 - 9) / 20)
        present = (chance >= 0.1).float()
        rest = draw_rest(self.others, count, config.segment, self.random)
        rest = torch.where(chance[:, None, None] > 0.875, 0.003 * rest, rest)
        parts = torch.cat([(source * (gain * present)[:, None])[:, None], rest], 1)
        loudest = rest.sum(1).abs().amax(-1)
        return Mixed(parts, torch.where(present > 0, gain, 0.01 * loudest), present)

    def _distance_to_box(self, latents: Tensor) -> Tensor:
        """Sliced Wasserstein-2 distance of a batch of latents to uniform ones (64 random directions and the axes)."""
        uniform = self._latents(len(latents))
        size = self.config.latent
        slices = torch.randn(size, 64, generator=self.random).to(self.device)
        slices = torch.cat([slices / slices.norm(dim=0), torch.eye(size, device=self.device)], 1)  # [Z, 64 + Z]
        ours, theirs = (latents @ slices).sort(0).values, (uniform @ slices).sort(0).values
        return (ours - theirs).square().mean()

    # -- averages and state --------------------------------------------------------------------------------------

    def _averaged(self) -> list[tuple[str, Tensor]]:
        return [(name, value) for name, value in self.nets.state_dict().items() if not name.startswith("critic")]

    @torch.no_grad()
    def _update_average(self, number: int) -> None:
        decay = min(self.decay, (1 + number) / (10 + number))  # young averages forget their random start
        for name, value in self._averaged():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def weights(self) -> dict[str, Tensor]:
        """Averaged weights of generator, encoder and listener, as a prior is saved."""
        return dict(self.average)

    def networks(self, device: torch.device | None = None) -> tuple[Generator | SpectralGenerator, Encoder | None]:
        """Generator and encoder with averaged weights, ready to play, on the training's device unless one is given."""
        with torch.random.fork_rng(devices=[]):
            generator = make_generator(self.config)
            encoder = Encoder(self.config) if "encoder" in self.nets else None
        for name, network in (("generator", generator), ("encoder", encoder)):
            if network is not None:
                own = {key.removeprefix(f"{name}."): v for key, v in self.average.items() if key.startswith(f"{name}.")}
                network.load_state_dict(own)
                network.to(device or self.device).eval()
        return generator, encoder

    @torch.no_grad()
    def health(self) -> str | None:
        """Whether sixteen latents still give sound, and sounds that differ: those the training makes use of."""
        random = torch.Generator().manual_seed(0)
        generator, encoder = self.networks()
        latents = draw_latents(self.config, 16, random).to(self.device)
        if encoder is not None:
            windows = draw(self.clips, 16, self.config.segment, random, self.augment)
            latents, _ = encoder(windows.to(self.device))
        which = torch.arange(16, device=self.device) % len(self.config.classes) if self.config.classes else None
        waves = generator(latents, which)
        if not waves.isfinite().all():
            return "the generator's output is not finite"
        if waves.square().mean().sqrt() < 1e-4:
            return "the generator has gone silent"
        magnitude = stft(waves, 512).abs().log1p()
        if magnitude.std(0).mean() < 0.01 * magnitude.mean():
            return "the generator has collapsed: every latent gives the same sound"
        return None

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Begin from finished weights (``--init-from``); networks they lack keep their random start."""
        with torch.no_grad():
            for name, value in self._averaged():
                if name in weights:
                    value.copy_(weights[name])
                    self.average[name].copy_(weights[name])

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must have in common with the training that continues it."""
        settings = (self.config, self.objective, self.augment, self.seed, self.decay)
        return {
            "sounds": self.clips.sha256,
            "interference": [other.sha256 for other in self.others],
            "settings": repr(settings),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "identity": self._identity(),
            "nets": self.nets.state_dict(),
            "average": self.average,
            "player": self.player.state_dict(),
            "judge": self.judge.state_dict(),
            "hearer": self.hearer and self.hearer.state_dict(),
            "random": self.random.get_state(),
            "games": self.games,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state.

        Raises:
            ValueError: a state of a training on other sounds or with other settings.
        """
        if state["identity"] != self._identity():
            differs = [key for key, value in self._identity().items() if state["identity"].get(key) != value]
            beside = " (of --interference, or of other priors installed)" if "interference" in differs else ""
            raise ValueError(f"it was made with other {' and '.join(differs)}{beside}")
        self.nets.load_state_dict(state["nets"])
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        self.player.load_state_dict(state["player"])
        self.judge.load_state_dict(state["judge"])
        if self.hearer:
            self.hearer.load_state_dict(state["hearer"])
        self.random.set_state(state["random"].cpu())
        self.games = state["games"]

"""Train a network that takes mixtures apart, on mixtures made of single sources: what masks and mappings share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gansep.nets.precision import autocast
from gansep.training.data import Augmentation, Clips
from gansep.training.mixing import Mixing, draw_parts

AUGMENTATION = Augmentation()
ALIKE = 1 - 1e-7  # correlation of two stems from which they count as the same sound


class Task(Protocol):
    """What is learned: a network, what it costs, and how it takes a mixture apart."""

    @property
    def network(self) -> nn.Module: ...

    def losses(self, parts: Tensor) -> dict[str, Tensor]:
        """What to minimise, first, and anything worth showing. ``parts [B, S, T]``; the mixture is their sum."""
        ...

    def separate(self, mixture: Tensor) -> Tensor:
        """``[B, T]`` to ``[B, S, T]``."""
        ...


@dataclass
class SupervisedTraining:
    """Everything that changes while a task is learned; a trainee of :mod:`gansep.training.loop`.

    Attributes:
        task: with a network on ``device``. clips: one set a source.
        mixing, augment: how mixtures are made. batch: mixtures a step. rate: Adam's, at its highest.
        seed: of the draws and of dropout.
        horizon: steps of the whole training; the step size rises over the first 100 and falls to a hundredth over the
            last two thirds. ``None``: it never falls.
        decay: of the averaged weights, which are those that are kept.
    """

    task: Task
    clips: Sequence[Clips]
    mixing: Mixing = field(default_factory=Mixing)
    augment: Augmentation = AUGMENTATION
    batch: int = 16
    rate: float = 1e-3
    seed: int = 0
    horizon: int | None = None
    decay: float = 0.998

    def __post_init__(self) -> None:
        self.random = torch.Generator().manual_seed(self.seed)
        self.device = next(self.task.network.parameters()).device
        self.optimiser = torch.optim.AdamW(self.task.network.parameters(), self.rate, weight_decay=1e-2)
        self.average = {name: value.detach().clone() for name, value in self.task.network.state_dict().items()}

    def step(self, number: int) -> dict[str, float]:
        """Learn from one batch and return the losses by name (plain numbers)."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * self._share(number)
        parts = draw_parts(self.clips, self.batch, self.mixing, self.random, self.augment).to(self.device)
        with torch.random.fork_rng(devices=[]), autocast(self.device):
            torch.manual_seed(self.seed * 1_000_003 + number)  # of dropout
            losses = self.task.network.train() and self.task.losses(parts)
        total = next(iter(losses.values()))
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.task.network.parameters(), 1.0)
        self.optimiser.step()
        self._update_average(number)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _share(self, number: int) -> float:
        """Of the highest step size."""
        warm = min(1.0, (number + 1) / 100)
        if self.horizon is None:
            return warm
        return min(warm, 0.01 ** max(0.0, (1.5 * number / self.horizon - 0.5)))

    @torch.no_grad()
    def _update_average(self, number: int) -> None:
        decay = min(self.decay, (1 + number) / (10 + number))  # young averages forget their random start
        for name, value in self.task.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def weights(self) -> dict[str, Tensor]:
        """Averaged weights, as a model is saved."""
        return dict(self.average)

    @torch.no_grad()
    def separate(self, mixture: Tensor) -> Tensor:
        """What the averaged weights make of mixtures. Shape: ``[B, T]`` to ``[B, S, T]``, on the CPU."""
        network = self.task.network
        own = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self.average)
        network.eval()
        try:
            return torch.cat([self.task.separate(few.to(self.device)).cpu() for few in mixture.split(16)])
        finally:
            network.load_state_dict(own)

    def health(self) -> str | None:
        """Whether eight mixtures still come out finite, as sound, and as stems that differ."""
        random = torch.Generator().manual_seed(0)
        parts = draw_parts(self.clips, 8, self.mixing, random, self.augment)
        stems = self.separate(parts.sum(1))  # [8, S, T]
        if not stems.isfinite().all():
            return "the network's output is not finite"
        levels = stems.square().mean((0, 2)).sqrt()
        if levels.min() < 1e-4 * parts.sum(1).square().mean().sqrt():
            return f"the network has gone silent for source {int(levels.argmin()) + 1}"
        alike = torch.corrcoef(stems.movedim(1, 0).flatten(1).double()) - 2 * torch.eye(len(levels))
        if alike.max() > ALIKE:
            return "the network has collapsed: every source gets the same sound"
        return None

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Begin from finished weights (``--init-from``)."""
        self.task.network.load_state_dict(weights)
        self.average = {name: value.detach().clone() for name, value in self.task.network.state_dict().items()}

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must have in common with the training that continues it."""
        settings = (self.task, self.mixing, self.augment, self.batch, self.rate, self.seed, self.decay)
        return {"sounds": [one.sha256 for one in self.clips], "settings": repr(settings)}

    def state_dict(self) -> dict[str, Any]:
        return {
            "identity": self._identity(),
            "network": self.task.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "random": self.random.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state.

        Raises:
            ValueError: a state of a training on other sounds or with other settings.
        """
        if state["identity"] != self._identity():
            differs = [key for key, value in self._identity().items() if state["identity"].get(key) != value]
            raise ValueError(f"it was made with other {' and '.join(differs)}")
        self.task.network.load_state_dict(state["network"])
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        self.random.set_state(state["random"].cpu())

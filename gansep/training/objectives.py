"""What a prior may be trained for: objectives as settings of one step.

- ``wgan-gp``: as published (Donahue et al. 2019): Wasserstein loss with gradient penalty, five critic steps.
- ``r3gan``: relativistic pairing with R1 and R2 penalties (Huang et al. 2024), one critic step.
- ``default``: the encoder hears a random mixture (own sound + other sounds or noise), the generator must play
  the clean sound from its answer (multi-resolution spectral loss); later ``r3gan`` beside it makes uniform latents
  sound like the source. Encoder latents are drawn towards the uniform box by a sliced Wasserstein distance, so
  that the box [-1, 1] means something to a search. ``reconstruction`` is the same without the game.
- ``vae``: the encoder answers with a normal distribution, of which the generator plays a draw; its divergence from the
  standard normal one stands for the box (Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014), with a
  weight (Higgins et al., "beta-VAE", ICLR 2017) that rises over the first steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Objective:
    """What a training step does; weights are those of the generator's loss.

    Attributes:
        game: ``wgan-gp`` or ``r3gan``.
        batch: windows a step; the adversarial part of a reconstructing objective takes half of it.
        rate, betas: Adam's, for all networks (the reconstruction raises beta1 to 0.9).
        critic_steps: critic updates for one of the generator.
        penalty: weight of the gradient penalty (gamma / 2 of R1 and R2).
        penalty_every: critic updates between penalties, their weight multiplied alike.
        reconstruct: whether an encoder is trained along.
        adversarial: weight of the game beside the reconstruction.
        adversarial_every: generator updates between games. adversarial_from: step of the first one; a generator
            that already plays the source's sounds is what a critic can refine.
        box: weight of the encoder latents' distance to the uniform box.
        gain: weight of the error of the encoder's log gain.
        divergence: weight of the Kullback-Leibler divergence of variational latents, in nats a number, and warm_up:
            steps over which it rises from 0.
        listening_rate: Adam's, for the listener.
    """

    game: str
    batch: int = 64
    rate: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.9)
    critic_steps: int = 1
    penalty: float = 10.0
    penalty_every: int = 1
    reconstruct: bool = False
    adversarial: float = 1.0
    adversarial_every: int = 1
    adversarial_from: int = 0
    box: float = 1.0
    gain: float = 0.3
    divergence: float = 0.005
    warm_up: int = 1000
    listening_rate: float = 1e-3


_RECONSTRUCTION = Objective(
    "r3gan",
    batch=32,
    rate=3e-4,
    betas=(0.5, 0.98),
    penalty=1.0,
    penalty_every=4,
    reconstruct=True,
    adversarial=0.0,
    adversarial_every=4,
)
OBJECTIVES: dict[str, Objective] = {
    "default": replace(_RECONSTRUCTION, adversarial=0.02, adversarial_from=5000),
    "reconstruction": _RECONSTRUCTION,
    "vae": _RECONSTRUCTION,
    "r3gan": Objective("r3gan", batch=32, rate=2e-4, betas=(0.5, 0.98), penalty=1.0, penalty_every=4),
    "wgan-gp": Objective("wgan-gp", critic_steps=5),
}

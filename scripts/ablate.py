"""What each choice is worth, measured on ``dev``.

    python scripts/ablate.py objectives --data DATA --source drums --minutes 6
    python scripts/ablate.py search --data DATA --n 20
    python scripts/ablate.py vae --data DATA --n 20
    python scripts/ablate.py listeners --data DATA --n 20
    python scripts/ablate.py masks --data DATA --n 20

``objectives`` trains one prior per objective for the same minutes on one thread and asks how near it comes to clean
sounds it has never heard (spectral distance: after 100 steps of search, and from its encoder alone) and how well it
separates beside the shipped priors. ``search`` and ``masks`` change one setting at a time; ``vae`` changes those of a
search with variational priors, and where their latents lie; ``listeners`` what the priors' listeners and the search
add to each other.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from build_pretrained import PRIORS

from gansep.backends.gan_prior import QUALITIES, GanPrior, Recipe
from gansep.inversion.descent import Settings as Descent
from gansep.inversion.objective import Objective
from gansep.library import Prior, load_prior
from gansep.losses import multi_resolution_spectral
from gansep.metrics import bootstrap_interval, si_sdr_improvement
from gansep.pipeline import Settings
from gansep.refine import Refinement
from gansep.research.protocol import TASKS, Mixture, mixtures
from gansep.research.running import through
from gansep.research.sources import split_files
from gansep.training.api import PriorSettings, train_prior
from gansep.training.data import Augmentation, draw, load_clips

Variant = tuple[str, Recipe, Settings]


def objectives(args: argparse.Namespace) -> None:
    print("| objective | steps | distance, 100 search steps | distance, encoder | " + TABLE)
    recipe = PRIORS[args.source]
    files = [file for kind in recipe["classes"] for file in split_files(args.data, kind, "train")]
    others = [split_files(args.data, kind, "train") for kind in recipe["others"]]
    clips = load_clips(split_files(args.data, args.source, "dev"), 16000)
    plain = Augmentation(again=0, speed=0, tilt_db=0)
    clean = draw(clips, 48, 16384, torch.Generator().manual_seed(1), plain)
    for objective in args.objectives.split(","):
        with tempfile.TemporaryDirectory() as folder:
            settings = PriorSettings(objective, None, args.minutes, seed=args.seed, device="cpu")
            train_prior(files, args.source, settings, interference=others, out=folder)
            prior = load_prior(Path(folder))
        steps = prior.card.extra["steps"]
        heard = "-" if prior.encoder is None else f"{distance(prior, clean, 'encoder', 0):.3f}"
        found = distance(prior, clean, "zero" if prior.encoder is None else "encoder", 100)
        start = QUALITIES["fast"] if prior.encoder is not None else Recipe(settings=Descent(200, 0.05), start="zero")
        lines = list(separation([(objective, start, Settings())], args, {args.source: prior}))
        print(f"| {objective} | {steps} | {found:.3f} | {heard} | {lines[0].split('|', 2)[2]}", flush=True)


def distance(prior: Prior, clean: torch.Tensor, start: str, steps: int) -> float:
    """Mean spectral distance of clean sounds to the nearest that the prior plays."""
    played = GanPrior([prior], Recipe(settings=Descent(steps, 0.05), start=start))(clean).waves[:, 0]
    return float(multi_resolution_spectral(played, clean).mean())


TABLE = "setting | " + " | ".join(f"{task}" for task in TASKS) + " | mean |"


def separation(variants: list[Variant], args: argparse.Namespace, own: dict[str, Prior]) -> Iterator[str]:
    """A line a variant: mean SI-SDR improvement in dB on the wild dev mixtures, with its 95 % interval."""
    tasks = [task for task in TASKS if not own or any(name in TASKS[task] for name in own)]
    examples = {task: list(mixtures(args.data, task, "wild", "dev", args.n, args.seed)) for task in tasks}
    loaded: dict[str, Prior] = dict(own)
    for name, recipe, settings in variants:
        cells, means = [], []
        for task in TASKS:
            if task not in tasks:
                cells.append("-")
                continue
            for source in TASKS[task]:
                loaded.setdefault(source, load_prior(source, args.library))
            separator = GanPrior([loaded[s] for s in TASKS[task]], recipe)
            if settings.refinement == Refinement():  # the separator's own, unless another is looked at
                settings = replace(settings, refinement=separator.refinement)
            stems = through(separator, examples[task], settings)
            gains = torch.stack([improvement(a, b) for a, b in zip(stems, examples[task], strict=True)]).nanmean(1)
            low, high = bootstrap_interval(gains.numpy(), [m.group for m in examples[task]], args.seed)
            means.append(float(gains.nanmean()))
            cells.append(f"{means[-1]:.2f} [{low:.1f}, {high:.1f}]")
        yield f"| {name} | {' | '.join(cells)} | {sum(means) / len(means):.2f} |"


def improvement(stems: torch.Tensor, example: Mixture) -> torch.Tensor:
    """SI-SDR improvement of each source, all channels as one signal, ``[S]``."""
    mixture = example.mixture.flatten()
    return si_sdr_improvement(stems.flatten(1), example.references.flatten(1), mixture.expand(len(stems), -1))


def search(args: argparse.Namespace) -> None:
    base = replace(QUALITIES["default"], listen=False)

    def step(objective: Objective | None = None, steps: int = 30, rate: float = 0.02, **other: object) -> Recipe:
        return replace(base, objective=objective or base.objective, settings=Descent(steps, rate), **other)  # type: ignore[arg-type]

    variants = {
        "0 steps": step(steps=0),
        "0 steps, gains refitted": step(steps=0, refit=True),
        "10 steps, anchor 50, all four losses": base,
        "30 steps, anchor 50": step(Objective(anchor=50.0)),
        "30 steps, anchor 10": step(Objective(anchor=10.0)),
        "30 steps, anchor 200": step(Objective(anchor=200.0)),
        "30 steps, no anchor": step(Objective()),
        "100 steps, anchor 50": step(Objective(anchor=50.0), 100),
        "30 steps, anchor 50, 4 starts": step(Objective(anchor=50.0), restarts=4),
        "30 steps, anchor 50, dissimilarity 0.1": step(Objective(anchor=50.0, dissimilarity=0.1)),
        "30 steps, anchor 50, all four losses": step(
            Objective(anchor=50.0, dissimilarity=0.1, correlation=0.1, continuity=0.1)
        ),
        "30 steps, anchor 50, likelihood 0.1": step(Objective(anchor=50.0, likelihood=0.1)),
        "100 steps from zero": step(Objective(), 100, 0.05, start="zero"),
    }
    _show(variants, args)


def _show(variants: dict[str, Recipe], args: argparse.Namespace) -> None:
    """Print the table of searches that are set differently."""
    chosen = {name: recipe for name, recipe in variants.items() if not args.only or name in args.only.split(";")}
    print("| " + TABLE)
    for line in separation([(name, recipe, Settings()) for name, recipe in chosen.items()], args, {}):
        print(line, flush=True)


def vae(args: argparse.Namespace) -> None:
    base = replace(QUALITIES["default"], listen=False)
    goal = base.objective

    def step(steps: int, rate: float, **other: float) -> Recipe:
        return replace(base, objective=replace(goal, **other), settings=Descent(steps, rate))

    # Normal latents are 3 ** 0.5 as large as those of the box, and their distances three times.
    variants = {
        "0 steps": step(0, 0.02),
        "ball, 10 steps, rate 0.02, anchor 50": base,
        "ball, 10 steps, rate 0.035, anchor 17": step(10, 0.035, anchor=17.0),
        "ball, 30 steps, rate 0.035, anchor 17": step(30, 0.035, anchor=17.0),
        "ball, 30 steps, rate 0.035, anchor 5": step(30, 0.035, anchor=5.0),
        "penalty 0.1, 10 steps, rate 0.035, anchor 17": step(10, 0.035, anchor=17.0, likelihood=0.1),
        "penalty 1, 10 steps, rate 0.035, anchor 17": step(10, 0.035, anchor=17.0, likelihood=1.0),
        "penalty 0.1, 30 steps, rate 0.035, no anchor": step(30, 0.035, anchor=0.0, likelihood=0.1),
        "ball, 30 steps, rate 0.035, no anchor": step(30, 0.035, anchor=0.0),
    }
    sources = sorted({source for task in TASKS.values() for source in task})
    print("| " + TABLE)
    gan = {source: load_prior(source, args.library) for source in sources}
    own = {source: load_prior(source, args.library, kind="vae") for source in sources}
    for line in separation([("gan", base, Settings())], args, gan):
        print(line, flush=True)
    for line in separation([(name, recipe, Settings()) for name, recipe in variants.items()], args, own):
        print(line, flush=True)


def listeners(args: argparse.Namespace) -> None:
    base = QUALITIES["default"]

    def trusted(trust: float, steps: int, **other: object) -> Recipe:
        return replace(base, trust=trust, settings=Descent(steps, 0.02), **other)  # type: ignore[arg-type]

    variants = {
        "no listeners, 0 steps": trusted(0.0, 0, listen=False),
        "no listeners, 10 steps": trusted(0.0, 10, listen=False),
        "listeners alone": trusted(0.0, 0),
        "trust 0.1, 0 steps": trusted(0.1, 0),
        "trust 0.1, 10 steps": trusted(0.1, 10),
        "trust 0.2, 0 steps": trusted(0.2, 0),
        "trust 0.2, 10 steps": trusted(0.2, 10),
        "trust 0.3, 0 steps": trusted(0.3, 0),
        "trust 0.4, 0 steps": trusted(0.4, 0),
        "trust 0.6, 0 steps": trusted(0.6, 0),
    }
    _show(variants, args)


def masks(args: argparse.Namespace) -> None:
    base = Refinement()
    variants = {"default": base} | {
        f"{field} {value}": replace(base, **{field: value})
        for field, values in {
            "seconds": (0.032, 0.128),
            "exponent": (1.0, 1.5, 3.0),
            "floor": (0.0, 0.003, 0.01, 0.03),
            "residual": (0.3,),
        }.items()
        for value in values
    }
    settings = {name: Settings(refinement=how) for name, how in variants.items()}
    settings |= {f"overlap {overlap}": Settings(overlap) for overlap in (0.25, 0.75, 0.875)}
    print("| " + TABLE)
    for line in separation([(name, QUALITIES["fast"], how) for name, how in settings.items()], args, {}):
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("objectives", "search", "vae", "listeners", "masks"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--source", default="drums")
    parser.add_argument("--objectives", default="wgan-gp,r3gan,reconstruction")
    parser.add_argument("--only", help="only these settings, as '0 steps;100 steps from zero'")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--n", type=int, default=20, help="mixtures a task")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    jobs = {"objectives": objectives, "search": search, "vae": vae, "listeners": listeners, "masks": masks}
    jobs[args.what](args)


if __name__ == "__main__":
    main()

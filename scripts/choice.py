"""How often -k alone finds the right sources among all installed priors.

    python scripts/choice.py --data DATA --library DIR

DATA holds ``<class>/train`` and ``<class>/valid``. ``valid`` is for figures that are reported, ``dev`` for choices.
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial
from pathlib import Path

from gansep.dsp.frames import split
from gansep.library import installed_priors
from gansep.planning import choose_for
from gansep.research.protocol import CONDITIONS, TASKS, mixtures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--split", choices=("dev", "valid"), default="valid")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--conditions", default=",".join(CONDITIONS))
    parser.add_argument("--n", type=int, default=40, help="mixtures of a task and condition")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    priors, _ = installed_priors(args.library)
    print(f"| task | condition | right, of {len(priors)} priors | chosen instead |\n|---|---|---|---|")
    for task in args.tasks.split(","):
        for condition in args.conditions.split(","):
            chosen: Counter[str] = Counter()
            for example in mixtures(args.data, task, condition, args.split, args.n, args.seed):
                wave, k = example.mixture, len(example.sources)
                choice = choose_for(partial(split, wave), wave.shape[1], example.sample_rate, priors, k)
                chosen["+".join(sorted(prior.name for prior in choice.priors))] += 1
            right = chosen.pop("+".join(sorted(TASKS[task])), 0)
            print(f"| {task} | {condition} | {right}/{args.n} | {dict(chosen)} |", flush=True)


if __name__ == "__main__":
    main()

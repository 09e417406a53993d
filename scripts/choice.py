"""How often -k alone finds the right sources among all installed priors.

    python scripts/choice.py --data DATA
    python scripts/choice.py --data DATA --sources digits,drums,piano,speech,noise --conditions wild --n 10

DATA holds ``<class>/train`` and ``<class>/valid``. ``valid`` is for figures to report, ``dev`` for choices. With
``--sources`` mixtures are of every two and three of these (but for spoken digits with other speech, of which nobody
could say which is which), else of the tasks of the comparison.
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial
from itertools import combinations
from pathlib import Path

from gansep.dsp.frames import split
from gansep.library import installed_priors
from gansep.planning import choose_for
from gansep.research.protocol import CONDITIONS, TASKS, mix
from gansep.research.sources import pool, split_files

ALIKE = {"digits", "speech"}


def tasks_of(sources: str) -> dict[str, tuple[str, ...]]:
    """What is mixed: the comparison's tasks, or every two and three of ``sources``."""
    if not sources:
        return TASKS
    names = sources.split(",")
    sets = [some for size in (2, 3) for some in combinations(names, size) if not set(some) >= ALIKE]
    return {"-".join(some): some for some in sets}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--split", choices=("dev", "valid"), default="valid")
    parser.add_argument("--sources", default="")
    parser.add_argument("--conditions", default=",".join(CONDITIONS))
    parser.add_argument("--n", type=int, default=40, help="mixtures of a task and condition")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    priors, _ = installed_priors(args.library)
    print(f"of {', '.join(prior.name for prior in priors)}:\n\n| task | condition | right | chosen instead |")
    print("|---|---|---|---|")
    total: Counter[tuple[str, int]] = Counter()
    tasks = tasks_of(args.sources)
    for name, sources in tasks.items():
        pools = [pool(source, split_files(args.data, source, args.split)) for source in sources]
        for condition in args.conditions.split(","):
            chosen: Counter[str] = Counter()
            for example in mix(pools, condition, args.split, range(args.n), args.seed):
                wave, k = example.mixture, len(sources)
                choice = choose_for(partial(split, wave), wave.shape[1], example.sample_rate, priors, k)
                chosen["+".join(sorted(prior.name for prior in choice.priors))] += 1
            right = chosen.pop("+".join(sorted(sources)), 0)
            total[condition, len(sources)] += right
            print(f"| {name} | {condition} | {right}/{args.n} | {dict(chosen)} |", flush=True)
    for (condition, k), right in total.items():
        count = args.n * sum(len(sources) == k for sources in tasks.values())
        print(f"{condition}, {k} sources: {right} of {count}, {right / count:.0%}")


if __name__ == "__main__":
    main()

"""`make bench-optimiser`: seconds, memory and proven gap of a run on a made-up catalogue.

    python -m tests.benchmarks.optimiser [--items 10000 100000]

Families of four packs in order of size, a revenue floor and a cap on the number of changes.
`optimise_prices` is timed as the service calls it: from items to suggestions with bounds, ladders,
waterfalls and intervals. Each size runs in a process of its own, so that the peak memory is its
own; a first small run loads HiGHS. Exits 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from features.contracts.pricing import EvidenceGrade, PricingItem
from features.contracts.sizes import Size
from models.pricing.optimise.optimiser import optimise_prices
from models.pricing.rules import FamilyRule, PricingRules

_PACKS = 4
_MAX_GAP = 0.001
_MAX_SECONDS = {10_000: 1.0, 100_000: 20.0}
# Ladders of fifteen prices on average; the floor and the cap both bind.
RULES = PricingRules(
    max_change=0.15,
    endings=(9,),
    min_gain=0.0,
    revenue_floor=1.1,
    max_changes_share=0.3,
    family=FamilyRule(order=True, unit_price=True),
)


def build_catalogue(n_items: int, seed: int = 1) -> list[PricingItem]:
    """Return families of four packs: larger ones dearer, and cheaper per gram.

    Elasticities are around -2.4.
    """
    rng = np.random.default_rng(seed)
    base = np.round(rng.uniform(250, 750, n_items // _PACKS))
    items = []
    for number in range(n_items):
        family, pack = divmod(number, _PACKS)
        price = int(base[family] * (1 + 0.45 * pack)) // 10 * 10 + 9
        units = float(rng.gamma(0.7, 60)) + 0.1
        items.append(
            PricingItem(
                item_id=f"i{number:06}",
                zone="default",
                currency="EUR",
                list_price_minor=price,
                current_price_minor=price,
                unit_cost_minor=float(price * rng.uniform(0.5, 0.8)),
                cost_source="known",
                tax_divisor=1.0,
                units_p10=units / 2,
                units_p50=units,
                units_p90=units * 2,
                units_mean=units,
                elasticity=-float(rng.gamma(6, 0.4)),
                elasticity_error=0.3,
                evidence_grade=EvidenceGrade.A,
                lowest_tried_minor=int(price * 0.7),
                highest_tried_minor=int(price * 1.3),
                family_id=f"f{family:05}",
                size=Size(100.0 * (1 + pack), "g"),
            )
        )
    return items


def measure(n_items: int) -> dict[str, float]:
    """Return seconds, peak memory and outcome of one run."""
    items = build_catalogue(n_items)
    optimise_prices(items[:400], RULES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, busy = time.perf_counter(), time.process_time()
    optimised = optimise_prices(items, RULES)
    seconds = time.perf_counter() - started
    busy = time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = optimised.outcome
    return {
        "items": n_items,
        "seconds": seconds,
        "of them computing": busy,
        "gap": outcome.gap,
        "gap of the gain": (outcome.bound - outcome.value)
        / max(outcome.bound - outcome.keeping, 1e-9),
        "steps": outcome.n_steps,
        "suggestions": len(optimised.suggestions),
        "broken rules": len(outcome.broken),
        "memory, MB": peak / 1024,
        "of them by the run, MB": (peak - before) / 1024,
    }


def main() -> int:
    """Print the metrics of each size, and whether its target is reached; return 1 for a miss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, nargs="+", default=sorted(_MAX_SECONDS))
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return 0
    missed = 0
    for n_items in options.items:
        command = [sys.executable, "-m", "tests.benchmarks.optimiser", "--one", str(n_items)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        metrics = json.loads(output)
        print(", ".join(f"{name} {value:,.6g}" for name, value in metrics.items()), flush=True)
        max_seconds = _MAX_SECONDS.get(n_items, float("inf"))
        reached = (
            metrics["seconds"] <= max_seconds
            and metrics["gap"] <= _MAX_GAP
            and not metrics["broken rules"]
        )
        verdict = "reached" if reached else "MISSED"
        print(f"  target: {max_seconds:g} s, gap {_MAX_GAP:.1%}: {verdict}", flush=True)
        missed += not reached
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())

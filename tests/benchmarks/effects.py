"""How right the effects of price changes are: `python -m tests.benchmarks.effects`.

Simulated shops change twenty prices by 4 to 12 %. Their demand has what the estimator does not
know: overdispersed counts, seasons and holidays, shocks of categories, drifting items, promotions,
stock-outs, cross effects within families. Of the true effects of 200 changes it counts how many
lie in the 80 % interval; of batches that earn 15 % less than their old prices, and of batches that
earn what their forecast says, for how many a rollback is proposed within four weeks. A third kind
earns exactly as much as its old prices. Exits with 1 where a target is missed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from experiments.simulator.parameters import Form
from features.contracts.seeds import generator
from models.pricing.effects.estimate import draw_units, estimate_effects
from models.pricing.effects.looks import FIRST_LOOK, LAST_LOOK, is_below_forecast
from models.pricing.effects.pooling import pool_changes
from tests.benchmarks.targets import Target, exit_with
from tests.shops.changed_batches import EXPECTED_GAIN, ChangedBatch, draw_batch

BAD, NEUTRAL, GOOD = -0.15, 0.0, EXPECTED_GAIN
N_BATCHES = 60
COVERED = (0.75, 0.85)
CAUGHT, FALSELY_CAUGHT = 0.90, 0.05
QUANTITIES = ("units", "profit")


@dataclass
class Outcomes:
    """What was counted over many batches of one kind.

    covered   by quantity, for each change whether its interval holds the true effect; `batch` of
              the profit of whole batches
    alarms    for each batch the week of the proposal, 0 without one
    scores    the last look of each batch: true effect, estimate, share of the kept profit
    """

    covered: dict[str, list[bool]] = field(default_factory=dict)
    alarms: list[int] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def add(self, batch: ChangedBatch, seed: int) -> None:
        """Count one batch."""
        alarm = 0
        for week in range(FIRST_LOOK, LAST_LOOK + 1):
            observed = batch.observe(week)
            pooled = pool_changes(observed.changes)
            if is_below_forecast(pooled, week) and not alarm:
                alarm = week
        self.alarms.append(alarm)
        truth = batch.compute_truth(observed)
        draws = draw_units(observed.changes, generator(seed, "effects"))
        effects = estimate_effects(observed.changes, draws)
        for name in QUANTITIES:
            bands = [getattr(effect, name) for effect in effects]
            self.covered.setdefault(name, []).extend(
                bool(band.p10 <= true <= band.p90)
                for band, true in zip(bands, truth[name].tolist(), strict=True)
            )
        total, band = float(truth["profit"].sum()), pooled.effect.profit
        self.covered.setdefault("batch", []).append(band.p10 <= total <= band.p90)
        changes = observed.changes
        kept = float(((changes.net_before - changes.unit_cost) * changes.keeping).sum())
        self.errors.append((band.p50 - total) / kept)

    @property
    def share_caught(self) -> float:
        """The share of batches for which a rollback is proposed."""
        return float(np.mean(np.array(self.alarms) > 0))

    def describe(self) -> str:
        """Return one line."""
        shares = {name: float(np.mean(values)) for name, values in self.covered.items()}
        weeks = [sum(alarm == week for alarm in self.alarms) for week in (2, 3, 4)]
        error = float(np.sqrt(np.mean(np.square(self.errors))))
        return (
            f"in the 80 % interval: units {shares['units']:.3f}, profit {shares['profit']:.3f} of "
            f"{len(self.covered['units'])} changes, {shares['batch']:.2f} of the batches' profits; "
            f"error of a batch's profit {error:.3f}; proposed {self.share_caught:.3f} of "
            f"{len(self.alarms)} (in weeks 2, 3, 4: {weeks[0]}, {weeks[1]}, {weeks[2]})"
        )


def run(world: str, form: Form, true_gain: float, seeds: Iterable[int]) -> Outcomes:
    """Return the outcomes of one batch per seed."""
    outcomes = Outcomes()
    for seed in seeds:
        outcomes.add(draw_batch(world, form, seed, true_gain), seed)
    return outcomes


def main() -> None:
    """Print every kind of batch, then the targets."""
    n_batches = int(sys.argv[1]) if len(sys.argv) > 1 else N_BATCHES
    targets = []
    for world in ("standard", "real"):
        for form in ("loglinear", "choice"):
            outcomes = {}
            for name, gain in (("bad", BAD), ("neutral", NEUTRAL), ("good", GOOD)):
                start = time.perf_counter()
                outcomes[name] = run(world, form, gain, range(n_batches))
                seconds = time.perf_counter() - start
                print(
                    f"{world}, {form}, {name} ({gain:+.0%}): {outcomes[name].describe()}; "
                    f"{seconds:.0f} s",
                    flush=True,
                )
            targets += _list_targets(world, form, outcomes)
    exit_with(targets)


def _list_targets(world: str, form: Form, outcomes: dict[str, Outcomes]) -> list[Target]:
    shop = f"{world}, {form}"
    targets = []
    for name in QUANTITIES:
        covered = [hit for kind in ("bad", "good") for hit in outcomes[kind].covered[name]]
        share, low, high = float(np.mean(covered)), *COVERED
        targets.append(
            Target(
                f"{shop}: {low:.0%} to {high:.0%} of true effects on {name} in the interval",
                f"{share:.3f} of {len(covered)}",
                low <= share <= high,
            )
        )
    bad, good = outcomes["bad"].share_caught, outcomes["good"].share_caught
    targets.append(
        Target(f"{shop}: of bad batches at least {CAUGHT:.0%}", f"{bad:.3f}", bad >= CAUGHT)
    )
    targets.append(
        Target(
            f"{shop}: of good batches at most {FALSELY_CAUGHT:.0%}",
            f"{good:.3f}",
            good <= FALSELY_CAUGHT,
        )
    )
    return targets


if __name__ == "__main__":
    main()

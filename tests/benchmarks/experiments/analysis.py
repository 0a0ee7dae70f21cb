"""Error rates, coverage, power and guardrails of the analysis, as simulated.

`python -m tests.benchmarks.experiments.analysis`, about seven minutes of a core. Every simulation
has one fixed seed. Exits with 1 where a target is missed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.benchmarks.experiments.coverage import (
    measure_coverage,
    measure_cuped,
    measure_imbalance,
    measure_quantile_coverage,
    measure_sample_ratio,
)
from tests.benchmarks.experiments.false_positives import measure_false_positives, measure_ramps
from tests.benchmarks.experiments.guardrails import measure_guardrails
from tests.benchmarks.experiments.oracle import measure_agreement
from tests.benchmarks.experiments.planned_power import measure_power
from tests.benchmarks.targets import Target, exit_with

PARTS: tuple[Callable[[], list[Target]], ...] = (
    measure_agreement,
    measure_false_positives,
    measure_ramps,
    measure_coverage,
    measure_quantile_coverage,
    measure_cuped,
    measure_imbalance,
    measure_sample_ratio,
    measure_power,
    measure_guardrails,
)


def main() -> None:
    """Run every part, then print the targets."""
    targets: list[Target] = []
    for measure in PARTS:
        started = time.perf_counter()
        targets += measure()
        print(f"({time.perf_counter() - started:.0f} s)\n", flush=True)
    exit_with(targets)


if __name__ == "__main__":
    main()

"""The gate before a model goes live: not measurably worse than the champion, in any metric.

A candidate is compared with the champion and with the anchor: the best champion so far. Without the
anchor a series of candidates, each a little worse than the one before, could lose any amount. A
metric passes where the upper bounds of both losses stay within its margin. A candidate that is
worse by a margin must pass a test that it passes at rate `level` at most, whatever the number of
metrics, so no correction is needed against bad candidates (intersection-union test: Berger,
Technometrics 1982). What many metrics cost is refusals of good candidates: the margins of noisier
metrics are wider for that reason.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from features.contracts.errors import BadInput
from training.data_checks import DataLimits
from training.non_inferiority import PASS_RATE, PairedLoss, compute_pass_rate, widen_error

_GAIN_LEVEL = 0.05  # of the test whether a candidate is better than the anchor and replaces it


@dataclass(frozen=True)
class RecommendationMargins:
    """Shares of the champion's NDCG@10, of its recall@10 of carts, and of its MRR@20 of the next
    item of a visit that may be lost."""

    all_items: float = 0.02
    new_items: float = 0.1
    carts: float = 0.1
    visits: float = 0.05


@dataclass(frozen=True)
class DemandMargins:
    """The share by which WMAPE may grow, and by how much |bias| may: shares of the units sold."""

    wmape: float = 0.02
    bias: float = 0.03


@dataclass(frozen=True)
class PricingMargins:
    """Share of the champion's R² that may be lost."""

    r2: float = 0.1


@dataclass(frozen=True)
class GateConfig:
    """How the gate compares a candidate with the champion.

    level          rate at which a candidate passes that loses a margin to the champion
    anchor_level   the same against the best champion so far; five candidates in a row that lose a
                   margin in sum pass at five times this rate
    widen_to       with few units a margin is widened until an equal candidate passes nine times in
                   ten, up to this many times the margin; at 1 margins are kept, and an equal
                   candidate is refused more often the fewer units there are
    demand_renewal_weeks   of the last weeks that a demand champion does not know, from which on a
                   candidate replaces it that is not measurably worse: forecasts run out
    data           how far the data may differ from before; else nothing is trained
    """

    level: float = 0.05
    anchor_level: float = 0.008
    widen_to: float = 1.0
    demand_renewal_weeks: float = 4.0
    data: DataLimits = field(default_factory=DataLimits)
    recommendations: RecommendationMargins = field(default_factory=RecommendationMargins)
    demand: DemandMargins = field(default_factory=DemandMargins)
    pricing: PricingMargins = field(default_factory=PricingMargins)

    def __post_init__(self) -> None:
        if not 0 < self.anchor_level <= self.level < 0.5 or self.widen_to < 1:
            raise BadInput(
                "0 < anchor_level <= level < 0.5, and widen_to is at least 1", where="gate.yaml"
            )
        margins = [
            margin
            for part in (self.recommendations, self.demand, self.pricing)
            for margin in vars(part).values()
        ]
        if min(margins) <= 0:
            raise BadInput("a margin is above 0", where="gate.yaml")

    def margins(self, task: str) -> Mapping[str, float]:
        """Return the margin of each metric of a task."""
        margins: dict[str, float] = vars(getattr(self, task))
        return margins


@dataclass(frozen=True)
class Reference:
    """A version that a candidate was compared with, on the same units.

    losses   of the candidate to it, by the name of the margin
    """

    version: str
    losses: Mapping[str, PairedLoss]


@dataclass(frozen=True)
class MetricTest:
    """One metric against one version: whether the loss is surely within what is allowed.

    level   rate at which a candidate passes that loses what is allowed
    """

    version: str
    paired: PairedLoss
    allowed: float
    level: float

    @property
    def passed(self) -> bool:
        """Whether the upper bound of the loss is within what is allowed."""
        return self.paired.bound_above(self.level) <= self.allowed

    @property
    def pass_rate(self) -> float:
        """How often a candidate that is exactly as good would pass with as many units."""
        return compute_pass_rate(self.allowed, self.paired.equal_error, self.level)


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate becomes champion, and the reason.

    tests     every metric against the champion and, where it is another version, the anchor
    anchor    the best champion once the candidate is champion; None: the candidate itself
    carried   loss and error of the candidate against that anchor, by metric
    """

    promote: bool
    reason: str
    tests: tuple[MetricTest, ...] = ()
    anchor: str | None = None
    carried: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def renew(verdict: Verdict, n_weeks_newer: float, config: GateConfig) -> Verdict:
    """Return the verdict on a demand candidate that knows `n_weeks_newer` more than the champion.

    Forecasts end some weeks after the last one known, so a champion cannot serve for ever. With few
    units a candidate that is as good is often refused: it is promoted in the end.
    """
    if n_weeks_newer < config.demand_renewal_weeks:
        return verdict
    return _accept_not_worse(
        verdict, f"the champion does not know the last {n_weeks_newer:.0f} weeks"
    )


def replace_stand_in(verdict: Verdict) -> Verdict:
    """Return the verdict beside a champion that was only to serve until there is such a candidate.

    It was evaluated by another metric, for the data taught no better model yet. They are still few,
    so a candidate that is better is often refused. It is no anchor of later candidates.
    """
    accepted = _accept_not_worse(verdict, "the champion served only until there was such a model")
    return replace(accepted, anchor=None, carried={})


def _accept_not_worse(verdict: Verdict, why: str) -> Verdict:
    """Return a verdict that promotes, unless the candidate is measurably worse."""
    if verdict.promote or any(test.paired.bound_below(test.level) > 0 for test in verdict.tests):
        return verdict
    reason = f"not measurably worse, and {why}; {verdict.reason}"
    return replace(verdict, promote=True, reason=reason)


def compare_metric(
    paired: PairedLoss, version: str, margin: float, level: float, widen_to: float
) -> MetricTest:
    """Return the test of one metric against one version."""
    widened = min(widen_error(paired.equal_error, level), widen_to * margin)
    return MetricTest(version, paired, max(margin, widened), level)


def decide(task: str, champion: Reference, anchor: Reference, config: GateConfig) -> Verdict:
    """Return the verdict on a candidate that is not behind its baselines.

    A metric without units on the window is left out. Where champion and anchor are one version the
    stricter test of the anchor is the only one.
    """
    margins = config.margins(task)
    references = [(anchor, config.anchor_level)]
    if champion.version != anchor.version:
        references.insert(0, (champion, config.level))
    tests = tuple(
        compare_metric(paired, reference.version, margins[name], level, config.widen_to)
        for reference, level in references
        for name, paired in reference.losses.items()
        if paired.n_units and not math.isnan(paired.loss)
    )
    moves = _is_better(anchor)
    failed = [test for test in tests if not test.passed]
    shown = failed or tests
    verb = "not shown to be as good as before" if failed else "not worse than before"
    described = "; ".join(describe_test(test) for test in shown) or "no metric is measured for both"
    return Verdict(
        promote=not failed,
        reason=f"{verb}: {described}",
        tests=tests,
        anchor=None if moves else anchor.version,
        carried={} if moves else {n: (p.loss, p.error) for n, p in anchor.losses.items()},
    )


def _is_better(anchor: Reference) -> bool:
    """Return whether a candidate beats the anchor measurably in a metric and loses in none."""
    losses = [paired for paired in anchor.losses.values() if not math.isnan(paired.loss)]
    return any(paired.bound_above(_GAIN_LEVEL) < 0 for paired in losses) and all(
        paired.loss <= 0 for paired in losses
    )


def describe_test(test: MetricTest) -> str:
    """Return both values, the loss, its interval, what is allowed, and what to try."""
    paired = test.paired
    low, high = paired.bound_below(test.level), paired.bound_above(test.level)
    change = "worse" if paired.loss > 0 else "better"
    text = (
        f"{paired.metric} {paired.candidate:.4f} against {paired.reference:.4f} of version "
        f"{test.version}, {abs(paired.loss):.1%} {change} over {paired.n_units:,} {paired.unit} "
        f"({100 - 200 * test.level:.3g}% interval of the loss {low:+.1%} to {high:+.1%}, "
        f"{test.allowed:.1%} allowed)"
    )
    if test.passed:
        return text
    if low > 0:
        return f"{text}: measurably worse, look at the latest data and what changed in the config"
    needed = math.inf if math.isinf(paired.equal_error) else _count_needed_units(test)
    few = "" if math.isinf(needed) else f", with about {needed:,} {paired.unit} in {PASS_RATE:.0%}"
    return (
        f"{text}: an equal model passes here in {test.pass_rate:.0%} of trainings{few}; wait for "
        "more data, widen the margin in gate.yaml, or promote it by hand"
    )


def _count_needed_units(test: MetricTest) -> int:
    """Return the number of units, in hundreds, at which an equal model passes at PASS_RATE."""
    ratio = widen_error(test.paired.equal_error, test.level) / test.allowed
    return math.ceil(test.paired.n_units * ratio**2 / 100) * 100


def carry_over(
    champion: Reference, carried: Mapping[str, tuple[float, float]], anchor: str
) -> Reference:
    """Return the candidate's losses to an anchor that can no longer be evaluated.

    They are what the champion had lost to the anchor when it was promoted, and what the candidate
    loses to the champion; the errors are independent, since the windows differ.
    """
    losses = {}
    for name, paired in champion.losses.items():
        loss, error = carried.get(name, (0.0, 0.0))
        losses[name] = PairedLoss(
            metric=f"{paired.metric} (in sum)",
            unit=paired.unit,
            candidate=paired.candidate,
            reference=paired.reference,
            loss=paired.loss + loss,
            error=math.hypot(paired.error, error),
            equal_error=math.hypot(paired.equal_error, error),
            n_units=paired.n_units,
        )
    return Reference(anchor, losses)


def write_carried(verdict: Verdict) -> str:
    """Return the tag with the losses that a version carries on."""
    return json.dumps({name: list(pair) for name, pair in verdict.carried.items()})


def read_carried(tag: str | None) -> dict[str, tuple[float, float]]:
    """Return what `write_carried` wrote; nothing for a version without such a tag."""
    return {name: (loss, error) for name, (loss, error) in json.loads(tag or "{}").items()}

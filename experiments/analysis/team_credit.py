"""Analysis of interleaved slates: clicks credited to the rankers, and the ranker that is better."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Set
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import stats

from experiments.analysis.statistics import CONFIDENCE
from features.contracts.arrays import Int64Array


@dataclass(frozen=True)
class TeamCredits:
    """Credits of the two teams by unit, of units with at least one; (n_units,) each."""

    first: Int64Array
    second: Int64Array


@dataclass(frozen=True)
class Preference:
    """Which of two rankers the units prefer.

    lead      mean over units of (second - first) / (second + first), -1..1: above 0 the second
              ranker is better; with its 95 % confidence interval
    p_value   two-sided, of a lead of 0 (t test over units)
    sign_p_value   of as many units that prefer one team as the other (sign test), which assumes
              nothing of how credits are spread
    n_units   units with a credit
    """

    lead: float
    low: float
    high: float
    p_value: float
    sign_p_value: float
    n_units: int


def credit_clicks(slates: pa.Table, clicks: Set[tuple[str, str]], second: str) -> TeamCredits:
    """Return the credits of the teams: a click counts for the team that gave the item.

    slates   as `features.facts.slates.read_slates` returns them; those without teams are left out,
             and a slate without a unit is a unit of its own
    clicks   recommendation_id and item_id, each pair once
    second   the name of the second team
    """
    totals: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in slates.to_pylist():
        recommendation_id = row["recommendation_id"]
        for item_id, team in zip(row["item_id"], row["team"] or (), strict=False):
            if team is not None and (recommendation_id, item_id) in clicks:
                totals[row["unit_id"] or recommendation_id][team == second] += 1
    counts = np.array(list(totals.values()), np.int64).reshape(-1, 2)
    return TeamCredits(counts[:, 0], counts[:, 1])


def compare_teams(credited: TeamCredits) -> Preference | None:
    """Return the preference of the units; None with fewer than two units.

    >>> credited = TeamCredits(np.array([1, 0, 1, 0]), np.array([1, 2, 0, 1]))
    >>> compare_teams(credited).lead
    0.25
    """
    n_units = len(credited.first)
    if n_units < 2:
        return None
    leads = (credited.second - credited.first) / (credited.second + credited.first)
    lead = float(leads.mean())
    error = float(leads.std(ddof=1)) / math.sqrt(n_units)
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, n_units - 1)) * error
    n_second, n_first = int((leads > 0).sum()), int((leads < 0).sum())
    sign_p_value = 1.0
    if n_first + n_second:
        sign_p_value = float(stats.binomtest(n_second, n_first + n_second).pvalue)
    if error > 0:
        p_value = float(2 * stats.t.sf(abs(lead) / error, n_units - 1))
    else:
        p_value = 1.0 if lead == 0 else sign_p_value
    return Preference(
        lead=lead,
        low=lead - margin,
        high=lead + margin,
        p_value=p_value,
        sign_p_value=sign_p_value,
        n_units=n_units,
    )

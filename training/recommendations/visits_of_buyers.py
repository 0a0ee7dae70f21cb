"""Whether the visit of somebody who has bought is ranked by the visit or by the purchases.

In a shop of repeated orders the purchases say more, in one that is browsed the visit does. Both are
measured on the later visits of buyers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.visits import OUTCOMES
from models.ranking.model import RecommendationModel
from training.recommendations.visit_baselines import DEPTH, reciprocal_ranks
from training.recommendations.visit_evaluation import VisitWindow
from training.significance import compute_paired_p_value

_LEVEL = 0.05
_LATEST = timedelta(weeks=1)  # after the cut: purchases of later weeks would be known by then
_MIN_PURCHASES = 10  # looks that ended in one: fewer do not tell whether sales are lost


@dataclass(frozen=True)
class BuyerChoice:
    """What ranks the visits of buyers, and why, in words; empty where there was no choice."""

    by_visit: bool = False
    choices: Mapping[str, str] = field(default_factory=dict)


def choose_for_buyers(model: RecommendationModel, window: VisitWindow) -> BuyerChoice:
    """Return whether the visit is to rank what buyers look at next: where that is measurably better
    than the purchases in the week after the cut, and no worse for the looks that end in one."""
    rows = np.flatnonzero(window.is_buyer & window.find_begun_within(_LATEST))
    if not model.ranks_purchases or model.visit_sources is None or not len(rows):
        return BuyerChoice()
    of_buyers = window.select(rows)
    purchases = reciprocal_ranks(of_buyers.rank_served(model.with_visits_of_buyers(False)))
    looks = reciprocal_ranks(of_buyers.rank_served(model.with_visits_of_buyers(True)))
    visits = np.array([position.visit for position in of_buyers.positions])
    p_value = compute_paired_p_value(_sum_by(visits, looks), _sum_by(visits, purchases))
    actions = of_buyers.visits.starts[visits] + [position.n for position in of_buyers.positions]
    bought = of_buyers.visits.outcomes[actions] == OUTCOMES.index("purchase")
    is_better = looks.mean() > purchases.mean() and p_value < _LEVEL
    loses_sales = looks[bought].sum() < purchases[bought].sum()
    by_visit = bool(is_better and not loses_sales and bought.sum() >= _MIN_PURCHASES)
    why = (
        f"MRR@{DEPTH} of {len(rows):,} next looks of buyers {looks.mean():.4f} by their visit, "
        f"{purchases.mean():.4f} by their purchases (p {p_value:.3f})"
    )
    why += f"; {bought.sum():,} ended in a purchase ({_MIN_PURCHASES} are needed)"
    if bought.any():
        why += f", of these {looks[bought].mean():.4f} and {purchases[bought].mean():.4f}"
    ranked_by = "visit" if by_visit else "purchases"
    return BuyerChoice(
        by_visit, {"visits_of_buyers_ranked_by": ranked_by, "visits_of_buyers_why": why}
    )


def _sum_by(visits: Int64Array, values: Float64Array) -> Float64Array:
    """Return the sum of the values of each visit: the positions of one are not independent."""
    rows = np.unique(visits, return_inverse=True)[1]
    return np.bincount(rows, values).astype(np.float64)

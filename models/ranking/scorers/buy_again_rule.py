"""The rule "buy again": what was bought often and lately, then what is popular.

It is the policy that serves where it beats the ranker, and the baseline that the ranker must beat.
"""

from __future__ import annotations

from typing import TypeVar

from features.contracts.arrays import Float32Array, Float64Array

Scores = TypeVar("Scores", Float32Array, Float64Array)

# Popularity lies below the decayed frequency of any purchase of the last two years.
_POPULARITY_WEIGHT = 1e-5


def score_by_buy_again_rule(decayed_frequency: Scores, popularity: Scores) -> Scores:
    """Return the score (n,) of each item, in the precision of the inputs.

    decayed_frequency   (n,) of the visitor's orders of the item, 0 where it was never bought
    popularity          (n,) orders of the last four weeks, as a share of the most popular item's
    """
    return decayed_frequency + popularity * _POPULARITY_WEIGHT

"""What proposes the next items of a visit: one protocol, one file per member.

Every source is fitted on past visits and scores all their items for the present one. A new source
is a file with these names, a line in models/retrieval/visit_sources.py, and a line of YAML.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from features.contracts.arrays import Float32Array, Int64Array


class VisitSource(Protocol):
    """A fitted source; it knows n_items items by their positions in `Visits.item_ids`."""

    def score(self, viewed: Int64Array) -> Float32Array:
        """Return a score (n_items,) of each item; 0 where the source has nothing to say.

        viewed   the distinct items of the visit, the latest first; at least one
        """

    def save(self, folder: Path) -> None:
        """Write native files into `folder`, never pickle."""

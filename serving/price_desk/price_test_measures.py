"""What a price test measured, read from the sales, beside what was known of its items before.

The readers of tables are imported by the first measurement: a server should be ready before that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from configs.settings import Settings
from experiments.designs.price_test import PriceTest
from features.contracts.calendar import add_weeks
from features.contracts.errors import BadInput
from features.contracts.event_types import EventType
from features.prices.stored_tests import StoredTest
from serving.price_desk.price_test_batches import Json, find_refused_items

if TYPE_CHECKING:
    from features.facts.facts import Facts
    from serving.pricing_inputs.items import PricingInputs


@dataclass(frozen=True)
class MeasuredTest:
    """A test that is over, as it was read, and its result as JSON values."""

    stored: StoredTest
    result: Mapping[str, object]


def measure_test(settings: Settings, stored: StoredTest) -> Json:
    """Return the result of a test that is over, as JSON values. Raises BadInput where the sales of
    its weeks are not there yet."""
    from experiments.analysis.price_test_results import analyse_price_test
    from experiments.price_panel import read_price_panel
    from features.facts.facts import Facts

    assert stored.begins_at is not None and stored.ends_at is not None  # noqa: S101
    facts = Facts(settings)
    _refuse_missing_sales(facts, stored, add_weeks(stored.ends_at, -1, settings.timezone))
    panel, week_starts = read_price_panel(facts, settings, stored.ends_at)
    if stored.begins_at not in week_starts:
        raise BadInput(
            f"no sale from before {stored.test_id} is known",
            hint="Import the sales before it too: shopwright import",
        )
    test = PriceTest.from_document(stored.document["test"])
    result = analyse_price_test(
        panel,
        test,
        week_starts.index(stored.begins_at),
        refused=find_refused_items(stored, test),
    )
    return result.to_document()


def has_measured_nothing(result: Mapping[str, object]) -> bool:
    """Return whether a result has neither the slope of an item nor that of all items together."""
    common = result.get("common")
    has_common = isinstance(common, Mapping) and common["slope"] is not None
    return not result["items"] and not has_common


def _refuse_missing_sales(facts: Facts, stored: StoredTest, last_week: datetime) -> None:
    """Raise BadInput where a zone has no sale in the last week of a test: weeks that nobody has
    imported look like weeks in which nothing was sold."""
    events = facts.read("events")
    for zone in stored.zones:
        of_zone = (events.event_type == EventType.PURCHASE.value) & (events.zone == zone)
        last = events.filter(of_zone).occurred_at.max().to_pyarrow().as_py()
        if last is None or last < last_week:
            until = "nothing" if last is None else f"nothing since {last.isoformat()}"
            raise BadInput(
                f"{until} was sold in {zone}, and {stored.test_id} ended at "
                f"{stored.ends_at:%Y-%m-%d}",
                hint="Import the sales first: POST /v1/events, or shopwright import",
            )


def describe_evidence(inputs: Mapping[str, PricingInputs], item_ids: Sequence[str]) -> Json:
    """Return what the price model says of items in each zone, and its version; None without a
    model."""
    items = []
    for zone, of_zone in inputs.items():
        response = of_zone.pricing_model.find_response(item_ids, zone)
        items += [
            {
                "item_id": item_id,
                "zone": zone,
                "slope": _drop_unknown(response.elasticity[row]),
                "error": _drop_unknown(response.error[row]),
                "grade": str(response.grade[row]),
            }
            for row, item_id in enumerate(item_ids)
        ]
    version = next(iter(inputs.values())).versions.get("pricing")
    return {"version": version, "items": items}


def _drop_unknown(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

"""What reports say of sales that came back."""

from datetime import timedelta
from pathlib import Path

import pytest

from configs.settings import Settings
from features.contracts.tables import EventType
from tests.shops.steady_sales import open_shop, sell, week
from training.demand.sales_notes import describe_refunds
from training.splits import span_of_sales


@pytest.mark.parametrize(
    ("n_weeks", "sentences"), [(10, ["25% of the units sold came back"]), (1, [])]
)
def test_refunds_are_mentioned_where_there_are_many(
    tmp_path: Path, n_weeks: int, sentences: list[str]
) -> None:
    settings = Settings(home=tmp_path)
    refunds = [
        event
        | {
            "event_id": f"back {number}",
            "event_type": EventType.REFUND.value,
            "occurred_at": event["occurred_at"] + timedelta(hours=1),
        }
        for number, event in enumerate(sell(range(n_weeks)))
    ]
    facts = open_shop(settings, [*sell(range(40)), *refunds])
    notes = describe_refunds(facts, span_of_sales(facts, week(40), settings))
    assert [note.partition(":")[0] for note in notes] == sentences

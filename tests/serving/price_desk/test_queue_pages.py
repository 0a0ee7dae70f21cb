"""The queue as a grid reads it: filters, orders, pages with a total, and counts."""

from datetime import timedelta

import pytest

from features.contracts.errors import UnknownName
from features.prices.reduction_rule import PLAIN_RULES
from serving.price_desk.filters import SORT_KEYS, SuggestionFilter, SuggestionSort
from serving.price_desk.service import PriceDeskService
from tests.shops.clocks import SYSTEM_CLOCK, FixedClock
from tests.shops.price_desk import NOW, make_suggestion, store_suggestions

EVERYTHING = SuggestionFilter()


@pytest.fixture
def desk(engine, settings):
    """A queue of four items; tea's gain is not known."""
    store_suggestions(
        engine,
        make_suggestion("milk", 110, title="Whole milk", binding_rule="ceiling"),
        make_suggestion("tea", 95, title="GRÜNER Tee 100%", category="Food > Tea", gain_minor=None),
        make_suggestion("jam", 130, evidence_grade="A", proposed_by="anna"),
        make_suggestion("oil", 102, evidence_grade="B", created_at=NOW - timedelta(days=2)),
    )
    return PriceDeskService(settings, engine, FixedClock(NOW), SYSTEM_CLOCK, PLAIN_RULES)


def items_of(desk, criteria=EVERYTHING, key="seq", *, descending=False, **page):
    found = desk.read_page(criteria, SuggestionSort(key, descending), **page)
    return [suggestion.item_id for suggestion in found.suggestions]


@pytest.mark.parametrize(
    ("criteria", "items"),
    [
        ({"category": "Food > Dairy"}, ["milk", "jam", "oil"]),
        ({"category": "Food"}, ["milk", "tea", "jam", "oil"]),
        ({"evidence_grades": ("A", "B")}, ["jam", "oil"]),
        ({"binding_rule": "ceiling"}, ["milk"]),
        ({"min_change": 0.05}, ["milk", "tea", "jam"]),
        ({"min_gain_minor": 10}, ["milk", "jam"]),
        ({"created_since": NOW}, ["milk", "tea", "jam"]),
        ({"proposed_by": "anna"}, ["jam"]),
        ({"text": "grüner"}, ["tea"]),
        ({"text": "MILK"}, ["milk"]),
        ({"text": "100%"}, ["tea"]),
        ({"text": "1%"}, []),
        ({"status": ("live", "rejected")}, []),
    ],
)
def test_a_filter_leaves_what_meets_all_conditions(desk, criteria, items):
    page = desk.read_page(SuggestionFilter(**criteria))
    assert [suggestion.item_id for suggestion in page.suggestions] == items
    assert page.total == len(items)


@pytest.mark.parametrize(
    ("key", "items"),
    [
        ("item", ["jam", "milk", "oil", "tea"]),
        ("change", ["tea", "oil", "milk", "jam"]),
        ("gain", ["oil", "milk", "jam", "tea"]),
        ("waits", ["oil", "milk", "tea", "jam"]),
    ],
)
def test_a_grid_is_sorted_by_any_column(desk, key, items):
    assert items_of(desk, key=key) == items


def test_what_has_no_value_stands_last_whichever_way_it_is_sorted(desk):
    assert items_of(desk, key="gain", descending=True) == ["jam", "milk", "oil", "tea"]


@pytest.mark.parametrize("key", SORT_KEYS)
def test_pages_follow_one_another_without_gap_or_repetition(desk, key):
    pages = [items_of(desk, key=key, offset=offset, limit=1) for offset in range(5)]
    assert [item for page in pages for item in page] == items_of(desk, key=key)
    assert desk.read_page(SuggestionFilter(), limit=1).total == 4


def test_the_queue_is_counted_by_what_a_filter_offers(desk):
    assert desk.count_suggestions(SuggestionFilter(), "category") == {
        "Food > Dairy": 3,
        "Food > Tea": 1,
    }
    assert desk.count_suggestions(SuggestionFilter(), "evidence_grade") == {"A": 1, "B": 1}
    with pytest.raises(UnknownName):
        desk.count_suggestions(SuggestionFilter(), "details")


def test_an_unknown_order_or_category_is_named(desk):
    with pytest.raises(UnknownName, match="gain"):
        SuggestionSort("gian")
    with pytest.raises(UnknownName, match="Food > Tea"):
        desk.read_page(SuggestionFilter(category="Food > Teas"))

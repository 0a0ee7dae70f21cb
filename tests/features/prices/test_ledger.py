from datetime import UTC, datetime, timedelta
from random import Random

import ibis
import pyarrow as pa
import pytest
import sqlalchemy as sa

from features.contracts.tables import PRICE_HISTORY
from features.database import reading, transaction
from features.database_tables import price_ledger
from features.facts.facts import Facts
from features.pipelines.demand import weekly_prices
from features.prices.law import find_prior_prices
from features.prices.ledger import Ledger, NewPrice, PriceSource
from features.prices.ledger_table import read_ledger_table
from features.prices.reduction_rule import PLAIN_RULES
from features.prices.timeline import compute_mean_offer, drop_undone, find_price_at, is_effective

START = datetime(2018, 1, 1, tzinfo=UTC)


def day(n):
    return START + timedelta(days=n)


def price(n, offer, item="milk", until=None, list_price=None, **values):
    return NewPrice(
        item_id=item,
        zone=values.pop("zone", "default"),
        valid_from=day(n),
        valid_to=None if until is None else day(until),
        list_price_minor=list_price or offer,
        offer_price_minor=offer,
        currency="EUR",
        source=values.pop("source", PriceSource.IMPORTED),
        recorded_at=START,
        **values,
    )


def offers(ledger, *days, item="milk", zone="default"):
    found = [ledger.find_current([item], zone, day(n)).get(item) for n in days]
    return [None if each is None else each.offer_price_minor for each in found]


def test_one_price_is_in_force_at_a_time(engine):
    with transaction(engine) as connection:
        ledger = Ledger(connection)
        appended = ledger.append(
            [
                price(0, 100),
                price(10, 90, until=20),
                price(30, 110),
                price(30, 105),
                price(0, 70, zone="north"),
            ]
        )
        assert appended == 5
        # before the first; regular; the promotion; after its end; of two that begin together the
        # later row
        assert offers(ledger, -1, 0, 10, 19.9, 20, 30) == [None, 100, 90, 90, 100, 105]
        assert offers(ledger, 12, zone="north") == [70]
        assert ledger.find_current([], "default", day(0)) == {}


def test_appending_the_same_price_again_keeps_it_once(engine):
    with transaction(engine) as connection:
        ledger = Ledger(connection)
        assert ledger.is_empty()
        assert ledger.append([price(0, 100), price(1, 100)]) == 2
        assert ledger.append([price(1, 100), price(2, 100)]) == 1
        assert ledger.append([]) == 0
        assert not ledger.is_empty("default")
        assert ledger.is_empty("north")
        assert [row.seq for row in ledger.list_after(0, 10)] == sorted(
            row.seq for row in ledger.list_after(0, 10)
        )
        first, *rest = ledger.list_after(0, 10)
        assert [row.price_id for row in ledger.list_after(first.seq, 10)] == [
            row.price_id for row in rest
        ]
        assert ledger.find_by_id(first.price_id) == first
        assert first.content_id() == first.price_id
        assert ledger.find_by_id("price_none") is None


@pytest.mark.parametrize(
    ("verb", "statement"),
    [
        ("update", "UPDATE price_ledger SET offer_price_minor = 1"),
        ("delete", "DELETE FROM price_ledger"),
        ("truncate", "TRUNCATE price_ledger CASCADE"),
    ],
)
def test_the_database_refuses_to_rewrite_the_ledger(engine, verb, statement):
    with transaction(engine) as connection:
        Ledger(connection).append([price(0, 100)])
    with (
        pytest.raises(sa.exc.DBAPIError),
        transaction(engine) as connection,
    ):  # SQLite knows no TRUNCATE at all
        connection.execute(sa.text(statement))
    with reading(engine) as connection:
        assert connection.execute(sa.select(price_ledger.c.offer_price_minor)).scalars().all() == [
            100
        ]


@pytest.mark.parametrize(
    "bad", [price(0, 100, list_price=90), price(5, 100, until=5), price(0, -1, list_price=1)]
)
def test_the_database_refuses_impossible_prices(engine, bad):
    with pytest.raises(sa.exc.IntegrityError), transaction(engine) as connection:
        Ledger(connection).append([bad])


@pytest.mark.parametrize(
    ("rows", "at", "expected"),
    [
        ([], 0, None),
        ([price(0, 100)], 5, None),  # no reduction
        ([price(0, 100), price(40, 90)], 41, 100),
        (
            [price(0, 80), price(20, 100), price(40, 90)],
            41,
            80,
        ),  # 90 after 80 and 100 is no reduction
        (
            [price(0, 80), price(5, 100), price(40, 90)],
            41,
            100,
        ),  # the 80 ended 35 days before: out of the window
        ([price(0, 80), price(10, 100), price(40, 90)], 41, 100),  # it ended exactly 30 days before
        ([price(0, 80), price(10.1, 100), price(40, 90)], 41, 80),
        (
            [price(0, 100), price(40, 90)],
            400,
            100,
        ),  # counted before the reduction began, not before now
        (
            [price(0, 100), price(10, 90), price(20, 80)],
            21,
            90,
        ),  # each step down is a reduction of its own
        ([price(0, 100), price(10, 80), price(20, 100)], 21, None),  # back up
        ([price(0, 90, list_price=100)], 5, None),  # nothing known before
        ([price(0, 100), price(10, 70, until=20, list_price=100)], 15, 100),
        (
            [price(0, 100), price(10, 70, until=20, list_price=100)],
            25,
            None,
        ),  # the promotion has ended
        (
            [price(0, 100), price(10, 70, until=20), price(25, 70, list_price=100)],
            26,
            70,
        ),  # again within 30 days
        (
            [price(0, 100), price(10, 90, list_price=100), price(12, 90, list_price=120)],
            15,
            100,
        ),  # same offer: same reduction
        (
            [price(0, 100), price(10, 90), price(12, 90, list_price=120)],
            15,
            90,
        ),  # the regular price is part of the window once a reduction is announced
    ],
)
def test_the_prior_price_is_the_lowest_of_the_30_days_before_the_reduction_began(
    engine, rows, at, expected
):
    with transaction(engine) as connection:
        ledger = Ledger(connection)
        ledger.append(rows)
        histories = ledger.read_histories(["milk", "none"], "default")
        assert find_prior_prices(histories, day(at), PLAIN_RULES("default", ["milk", "none"])) == {
            "milk": expected,
            "none": None,
        }


def test_the_ledger_reads_as_price_history(engine):
    with transaction(engine) as connection:
        Ledger(connection).append(
            [price(0, 100), price(3, 90, source=PriceSource.OBSERVED), price(1, 80, until=2)]
        )
        table = read_ledger_table(connection)
        known = read_ledger_table(connection, [PriceSource.IMPORTED])
    assert table.schema.names == [
        *PRICE_HISTORY.arrow.names,
        "seq",
        "price_id",
        "source",
        "recorded_at",
    ]
    assert table.column("offer_price_minor").to_pylist() == [100, 90, 80]
    assert known.column("offer_price_minor").to_pylist() == [100, 80]
    assert known.column("valid_to").to_pylist() == [None, day(2)]


def test_many_items_at_once(engine):
    items = [f"item{n}" for n in range(5_000)]
    with transaction(engine) as connection:
        ledger = Ledger(connection)
        ledger.append([price(0, 100 + n, item=item) for n, item in enumerate(items)])
        found = ledger.find_current(items, "default", day(1))
    assert [found[item].offer_price_minor for item in items] == [100 + n for n in range(5_000)]


def test_sql_and_python_agree_on_the_price_in_force(engine):
    random = Random(17)
    rows = [
        # Decisions: of a price list a later row replaces one of the same beginning for good.
        price(
            start,
            100 + n,
            until=random.choice([None, start + random.randint(1, 9)]),
            source=PriceSource.DESK,
        )
        for n, start in enumerate(random.choices(range(30), k=60))
    ]
    with transaction(engine) as connection:
        ledger = Ledger(connection)
        ledger.append(rows)
        history = ledger.read_history("milk", "default")
        for at in range(-1, 45):
            in_force = ledger.find_current(["milk"], "default", day(at)).get("milk")
            assert [each for each in history if is_effective(history, each, day(at))] == (
                [in_force] if in_force else []
            )
            if in_force:
                rest = [each for each in history if each != in_force]
                without = find_price_at(
                    drop_undone(history, begun_by=day(at), without=in_force), day(at)
                )
                assert [each for each in rest if is_effective(rest, each, day(at))] == (
                    [without] if without else []
                )


ONE_SALE = ibis.memtable({"item_id": ["milk"], "zone": ["default"]})


def imported(n, offer, until=None):
    """A row as an import keeps it."""
    row = {
        "item_id": "milk",
        "zone": "default",
        "valid_from": day(n),
        "valid_to": None if until is None else day(until),
    }
    return row | {"list_price_minor": offer, "offer_price_minor": offer}


def test_planned_prices_are_the_ledgers_and_none_was_read_off_sales(engine, settings):
    facts = Facts(settings)
    facts.write(
        {
            "price_history": pa.Table.from_pylist(
                [imported(0, 100), imported(7, 90)], PRICE_HISTORY.arrow
            )
        }
    )
    with transaction(engine) as connection:
        opening = [
            price(0, 100),
            price(7, 90),
            price(0, 55, item="tea", source=PriceSource.OBSERVED),
        ]
        desk = [
            price(7, 80, source=PriceSource.DESK),
            price(14, 70, until=21, source=PriceSource.DESK),
        ]
        Ledger(connection).append([*opening, *desk])
    rows = facts.read("price_history").order_by("valid_from").to_pyarrow().to_pylist()
    assert [(row["item_id"], row["valid_from"], row["offer_price_minor"]) for row in rows] == [
        ("milk", day(0), 100),
        ("milk", day(7), 80),  # decided later than the imported price of the same day
        ("milk", day(14), 70),
    ]
    assert facts.read_imported("price_history").count().to_pyarrow().as_py() == 2
    weeks = ibis.memtable(
        {
            "week_start": [day(7 * n) for n in range(4)],
            "week_end": [day(7 * n + 7) for n in range(4)],
        }
    )
    planned = weekly_prices(facts.read("price_history"), ONE_SALE, weeks).order_by("week_start")
    found = facts.connection.to_pyarrow(planned)["planned_offer_price_minor"].to_pylist()
    assert found == [100, 80, 70, 80]  # the promotion has ended


@pytest.mark.parametrize("ends", [False, True])
def test_weekly_prices_are_the_ledgers_price_in_force_averaged_over_the_week(
    engine, settings, ends
):
    """Where the whole price list `ends`, its last list price goes on in both."""
    random = Random(18)
    starts = random.sample(range(40), k=20)
    rows = [
        price(
            n,
            100 + n * n,
            list_price=200 + n * n,
            until=n + random.randint(1, 12) if ends else random.choice([None, n + 5]),
        )
        for n in starts
    ]
    with transaction(engine) as connection:
        ledger = Ledger(connection)
        ledger.append(rows)
        daily = offers(ledger, *range(56))
    facts = Facts(settings)
    spans = {
        "week_start": [day(7 * n) for n in range(8)],
        "week_end": [day(7 * n + 7) for n in range(8)],
    }
    planned = weekly_prices(facts.read("price_history"), ONE_SALE, ibis.memtable(spans))
    found = facts.connection.to_pyarrow(planned).to_pylist()
    known = {n: [each for each in daily[7 * n : 7 * n + 7] if each is not None] for n in range(8)}
    expected = {day(7 * n): sum(each) / len(each) for n, each in known.items() if each}
    assert {row["week_start"]: row["planned_offer_price_minor"] for row in found} == pytest.approx(
        expected
    )
    with reading(engine) as connection:
        history = Ledger(connection).read_history("milk", "default")
    means = {day(7 * n): compute_mean_offer(history, day(7 * n), day(7 * n + 7)) for n in range(8)}
    assert {week: mean for week, mean in means.items() if mean is not None} == pytest.approx(
        expected
    )

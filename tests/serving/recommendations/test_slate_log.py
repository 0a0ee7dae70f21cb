"""The log of slates: what is logged, how long it stays, and what a killed server loses."""

import time
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import ClockWatch
from features.database import engine as open_engine
from features.database import reading, transaction
from features.database_tables import slates
from features.facts.slates import LoggedSlate, ShownItems, append, read_searches
from models.ranking.model import DEFAULT_QUERY_WEIGHT
from serving.recommendations.exposure_writer import ExposureWriter
from tests.shops.clocks import FixedClock
from tests.shops.served_shop import NOW, copy_shop, make_settings, run_shop
from tests.shops.shop_process import ShopProcess

NOON = datetime(2018, 3, 1, 12, tzinfo=UTC)


def list_logged(engine):
    with reading(engine) as connection:
        return set(connection.execute(sa.select(slates.c.recommendation_id)).scalars())


def make_slate(name, at):
    return LoggedSlate(name, "home", "default", None, at, at, ShownItems(("tea",), ("popular",)))


class JumpedClock(ClockWatch):
    """A watch that has seen the clock of the machine jump by a year."""

    def find_jump(self):
        return timedelta(days=365)


@pytest.fixture
def many_slates(engine):
    """450 slates of 31 days ago, and one of 29."""
    old = [make_slate(f"old{n}", NOON - timedelta(days=31)) for n in range(450)]
    with transaction(engine) as connection:
        append(connection, [*old, make_slate("recent", NOON - timedelta(days=29))])


def run_writer(engine, clock_watch):
    """Write a slate, then another until all that is too old is deleted; return what is stored."""
    writer = ExposureWriter(engine, FixedClock(NOON), keep_days=30, clock_watch=clock_watch)
    writer.start()
    deadline = time.monotonic() + 20
    for number in range(4):  # a step of deletion follows each write
        writer.add(make_slate(f"new{number}", NOON))
        while writer.written <= number and time.monotonic() < deadline:
            time.sleep(0.02)
    writer.close()
    assert (writer.written, writer.dropped) == (4, 0)
    return list_logged(engine)


@pytest.mark.usefixtures("many_slates")
def test_old_slates_are_deleted_while_new_ones_are_written(engine):
    new = {f"new{number}" for number in range(4)}
    assert run_writer(engine, ClockWatch()) == {"recent"} | new


@pytest.mark.usefixtures("many_slates")
def test_a_clock_that_jumped_deletes_nothing(engine):
    assert len(run_writer(engine, JumpedClock())) == 450 + 1 + 4


def ask(client, placement, **body):
    answer = client.post("/v1/recommendations", json={"placement": placement, "count": 3, **body})
    assert answer.status_code == 200
    return answer.json()["recommendation_id"]


@pytest.mark.parametrize(
    ("values", "logs"), [({"slate_log_share": 0.0}, True), ({"slate_log_days": 0}, False)]
)
def test_a_share_leaves_out_only_what_nothing_needs(tiny_home, tmp_path, values, logs):
    copy_shop(tiny_home, tmp_path / "home")
    for shop in run_shop(make_settings(tmp_path / "home", **values)):
        ask(shop.client, "trending", visitor_id="v")
        needed = {
            ask(shop.client, "trending", visitor_id="v", rotate=0.5),
            ask(shop.client, "home", visitor_id="v"),  # an experiment runs there
        }
        shop.server.exposures.close()
        assert list_logged(shop.server.engine) == (needed if logs else set())


def test_of_a_search_the_log_has_how_far_each_item_matches(tiny_home, tmp_path):
    copy_shop(tiny_home, tmp_path / "home")
    for shop in run_shop(make_settings(tmp_path / "home")):
        body = {"user_id": "u00", "item_ids": ["wine", "milk", "beer", "nope"]}
        shop.client.post("/v1/rank", json=body)
        shop.client.post("/v1/rank", json={**body, "user_id": "nobody", "query": "beer"})
        answer = shop.client.post("/v1/rank", json={**body, "query": "beer"}).json()
        shop.server.exposures.close()
        with reading(shop.server.engine) as connection:
            far = timedelta(days=1)
            (search,) = read_searches(connection, after=NOW - far, until=NOW + far, limit=9)
    assert search.recommendation_id == answer["recommendation_id"]
    assert search.item_ids[0] == "beer"
    assert search.matches[0].degree > 0.5
    assert search.matches[3] is None  # the catalogue does not know it
    for item, match in zip(answer["items"][:3], search.matches, strict=False):
        added = DEFAULT_QUERY_WEIGHT * match.degree
        assert item["score"] == pytest.approx(match.other_score + added, abs=0.01)


def test_a_share_of_slates_is_logged(tiny_home, tmp_path):
    copy_shop(tiny_home, tmp_path / "home")
    for shop in run_shop(make_settings(tmp_path / "home", slate_log_share=0.5)):
        answers = [ask(shop.client, "trending") for _ in range(60)]
        shop.server.exposures.close()
        logged = list_logged(shop.server.engine)
        assert logged < set(answers)
        assert 15 <= len(logged) <= 45  # 30, and four standard deviations of 3.9


def test_a_killed_server_loses_at_most_the_slates_of_the_last_second(tiny_home, tmp_path):
    copy_shop(tiny_home, tmp_path / "home")
    shop = ShopProcess(
        tmp_path / "home",
        {"SHOPWRIGHT_CLOCK_START": NOW.isoformat(), "SHOPWRIGHT_CURRENCY": "EUR"},
    )
    shop.create_key("storefront")
    shop.start()
    answered = []
    with shop.client() as client:
        end = time.monotonic() + 3.0
        while time.monotonic() < end:
            answered.append((ask(client, "trending"), time.monotonic()))
    killed_at = time.monotonic()
    shop.kill()
    opened = open_engine(Settings(home=tmp_path / "home"))
    logged = list_logged(opened)
    opened.dispose()
    assert len(answered) > 50
    assert {name for name, at in answered if at < killed_at - 1.0} <= logged
    # What is lost are the last slates, and no others.
    names = [name for name, _ in answered]
    assert logged == set(names[: len(logged)])

"""The log of slates: what is logged, how long it stays, and what a killed server loses."""

import time
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from configs.settings import Settings
from features.database import engine as open_engine
from features.database import reading, transaction
from features.database_tables import slates
from features.facts.slates import LoggedSlate, ShownItems, append
from serving.recommendations.exposure_writer import ExposureWriter
from tests.shops.clocks import FixedClock
from tests.shops.served_shop import NOW, copy_shop, make_settings, run_shop
from tests.shops.shop_process import ShopProcess

NOON = datetime(2018, 3, 1, 12, tzinfo=UTC)


def count_slates(engine):
    with reading(engine) as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(slates))


def list_logged(engine):
    with reading(engine) as connection:
        return set(connection.execute(sa.select(slates.c.recommendation_id)).scalars())


def make_slate(name, at):
    return LoggedSlate(name, "home", "default", None, at, at, ShownItems(("tea",), ("popular",)))


def test_old_slates_are_deleted_while_new_ones_are_written(engine):
    old = [make_slate(f"old{n}", NOON - timedelta(days=31)) for n in range(450)]
    recent = make_slate("recent", NOON - timedelta(days=29))
    with transaction(engine) as connection:
        append(connection, [*old, recent])
    writer = ExposureWriter(engine, FixedClock(NOON), keep_days=30)
    writer.start()
    writer.add(make_slate("new", NOON))
    deadline = time.monotonic() + 20
    while count_slates(engine) > 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    writer.close()
    assert list_logged(engine) == {"recent", "new"}
    assert (writer.written, writer.dropped) == (1, 0)


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

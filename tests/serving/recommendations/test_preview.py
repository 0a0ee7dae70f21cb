"""A preview of a slate shows what a shopper would see, and leaves no trace."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from features.contracts.errors import UnknownName
from features.database_tables import exposures, slates
from serving.recommendations.service import SlateRequest

HOME = SlateRequest("home", user_id="u00", count=4, explain=True)


@pytest.fixture
def traces() -> list[object]:
    return []


@pytest.fixture
def service(shared: SimpleNamespace, traces: list[object]):
    """The service of a shop with a running experiment on the home page, all its traces noted."""
    return replace(shared.server.recommendations, log=traces.append, count=traces.append)


def test_a_preview_shows_what_the_shopper_would_see_and_notes_nothing(service, traces) -> None:
    preview = service.preview(HOME)
    assert traces == []

    answer = service.answer(HOME)

    assert [item.item_id for item in preview.slate.items] == [
        item.item_id for item in answer.slate.items
    ]
    assert preview.assigned == answer.assigned
    assert preview.assigned
    assert len(traces) == 3  # an exposure, the logged slate, and the count


def test_a_preview_does_not_decide_which_variant_a_visitor_meets_first(shared, service) -> None:
    met = service.met_variants
    request = replace(HOME, user_id="somebody", visitor_id="somebody as a visitor")
    service.preview(request)

    assert met.find("home_ranker", "somebody", "somebody as a visitor") is None
    with shared.server.engine.connect() as connection:
        for table in (exposures, slates):
            count = connection.scalar(sa.select(sa.func.count()).select_from(table))
            assert count == 0


def test_a_preview_by_another_policy_is_in_no_experiment(service) -> None:
    again = service.preview(HOME, policy="buy_again")

    assert again.assigned == ()
    assert {item.reason.value for item in again.slate.items} <= {"buy_again", "popular"}


def test_a_preview_by_another_version_says_which(shared, service) -> None:
    models = shared.server.served_models
    other = models.load_other_recommender(shared.server.registry.find_version(HOME_MODEL, "2"))

    preview = service.preview(HOME, served=other)

    assert preview.version.version == "2"
    assert service.preview(HOME).version.version == "1"
    version = shared.server.registry.find_version(HOME_MODEL, "2")
    assert models.load_other_recommender(version) is other


def test_a_placement_that_the_shop_does_not_have_is_refused(service) -> None:
    with pytest.raises(UnknownName):
        service.preview(replace(HOME, placement="hme"))


HOME_MODEL = "recommendations"

"""A style in five sizes takes one place; another size of what somebody owns is not new."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from configs.loading import load
from features.contracts.arrays import ObjectArray
from features.contracts.recommendations import ItemFeatures, RecommendationQuery
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.ranking.slate.merchandising_rules import RuleSet

RULES = {"families": load("rules/families", RuleSet, overlay=None)}
PLACEMENTS = {
    "home": Placement("all", rules=("families",)),
    "discover": Placement("new", exclude_purchased=True),
    "product": Placement("similar", rules=("families",)),
    "buy_again": Placement("buy_again"),
}
# A grocer's family: one product in three packs, of which two are bought again and again.
PACKS = ("i00", "i02", "i04")


def bind(recommender: Recommender, family: ObjectArray | None) -> Recommender:
    items: ItemFeatures = replace(recommender.items, family=family)
    return Recommender(recommender.model, items, PLACEMENTS, RULES)


def ids(bound: Recommender, history, placement: str, *context: str) -> list[str]:
    query = RecommendationQuery(history, placement, 10, context_item_ids=context)
    (slate,) = bound.recommend([query])
    return [item.item_id for item in slate.items]


@pytest.fixture
def families(recommender: Recommender) -> dict[str, str]:
    """Three neighbours of the catalogue are one family."""
    return {item: f"f{n // 3}" for n, item in enumerate(recommender.items.item_ids.tolist())}


@pytest.mark.parametrize("placement", ["home", "product"])
def test_a_family_has_one_place(recommender, shoppers, families, placement) -> None:
    family = np.array(list(families.values()), object)
    bound, plain = bind(recommender, family), bind(recommender, None)
    capped = 0
    for history in list(shoppers.values())[:8]:
        context = (str(history.item_ids[0]),)
        before = ids(plain, history, placement, *context)
        after = ids(bound, history, placement, *context)
        assert len({families[item] for item in after}) == len(after)
        capped += len({families[item] for item in before}) < len(before)
        if placement == "product":
            assert families[context[0]] not in {families[item] for item in after}
    assert capped  # without the rule a family fills several places


def test_another_size_of_what_is_owned_is_not_new(recommender, shoppers, families) -> None:
    bound = bind(recommender, np.array(list(families.values()), object))
    for history in list(shoppers.values())[:8]:
        owned = {families[item] for item in history.item_ids.tolist()}
        assert not owned & {families[item] for item in ids(bound, history, "discover")}


def test_a_shop_without_families_gets_the_same_slates(recommender, shoppers) -> None:
    nothing = np.full(len(recommender.items.item_ids), "", object)
    history = next(iter(shoppers.values()))
    for name in PLACEMENTS:
        context = str(history.item_ids[0])
        expected = ids(bind(recommender, None), history, name, context)
        assert ids(bind(recommender, nothing), history, name, context) == expected


@pytest.fixture
def packs(recommender: Recommender) -> ObjectArray:
    return np.array(
        ["milk" if item in PACKS else "" for item in recommender.items.item_ids.tolist()], object
    )


@pytest.mark.parametrize("bought", [{"i00": (6, 1), "i02": (2, 3)}, {"i02": (6, 1), "i00": (2, 3)}])
def test_at_a_grocer_home_has_the_pack_that_ranks_first_and_buy_again_has_all(
    recommender, history, packs, bought
) -> None:
    shopper = history("u", {**bought, "i06": (3, 2), "i08": (3, 2)})
    bound, plain = bind(recommender, packs), bind(recommender, None)
    home, before = ids(bound, shopper, "home"), ids(plain, shopper, "home")
    first = next(item for item in before if item in PACKS)
    assert [item for item in home if item in PACKS] == [first]
    assert first in bought  # and not the pack that they never bought
    # Nothing else is lost, and nothing moves: the other packs leave their ranks to what follows.
    kept = [item for item in before if item not in PACKS or item == first]
    assert home[: len(kept)] == kept
    assert bought.keys() <= set(ids(bound, shopper, "buy_again"))


def test_another_pack_of_what_is_bought_is_not_new_and_no_alternative(
    recommender, history, packs
) -> None:
    shopper = history("u", {"i00": (6, 1), "i06": (3, 2)})
    bound = bind(recommender, packs)
    assert set(ids(bind(recommender, None), shopper, "discover")) & set(PACKS)
    assert not set(ids(bound, shopper, "discover")) & set(PACKS)
    assert not set(ids(bound, shopper, "product", "i00")) & set(PACKS)

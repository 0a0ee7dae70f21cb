from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from features.contracts.calendar import DECAY_PER_WEEK
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from models.ranking.calibration import fit_calibration
from models.ranking.columns import column_names
from models.ranking.lambdarank import GroupedRows, RankerConfig, fit_ranker
from models.ranking.model import TASKS, Candidates, RecommendationModel, Retrieval
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.retrieval.als import AlsConfig, fit_als
from models.retrieval.association import AssociationConfig, fit_association
from models.retrieval.ease import EaseConfig, fit_ease
from models.retrieval.interactions import Interactions
from models.retrieval.item_knn import ItemKnnConfig, fit_item_knn

AS_OF = datetime(2024, 3, 4, tzinfo=UTC)
N_ITEMS = 16
SCORERS = ("all", "new", "similar", "bought_together", "trending", "new_arrivals", "buy_again")


@pytest.fixture(scope="session")
def history() -> Callable[..., UserHistory]:
    """A history from `item: (orders, weeks since the last)`; orders lie a week apart. Views are an
    hour old."""

    def make(
        user_id: str | None = "u",
        bought: Mapping[str, tuple[int, float]] | None = None,
        viewed: tuple[str, ...] = (),
    ) -> UserHistory:
        bought = dict(sorted((bought or {}).items()))
        orders = np.array([n for n, _ in bought.values()], np.float32)
        ages = [[weeks + k for k in range(n)] for n, weeks in bought.values()]
        at = [[int((AS_OF - timedelta(weeks=age)).timestamp()) for age in each] for each in ages]
        return replace(
            UserHistory.unknown(AS_OF),
            user_id=user_id,
            item_ids=np.array(list(bought), object),
            n_orders=orders,
            quantity=orders,
            decayed_frequency=np.array(
                [sum(DECAY_PER_WEEK**age for age in each) for each in ages], np.float32
            ),
            first_at=np.array([min(each) for each in at], np.int64),
            last_at=np.array([max(each) for each in at], np.int64),
            features={"orders": float(orders.sum())},
            viewed_item_ids=viewed,
            viewed_at=(int((AS_OF - timedelta(hours=1)).timestamp()),) * len(viewed),
        )

    return make


@pytest.fixture(scope="session")
def items() -> ItemFeatures:
    """i00 ... i15, the first the most popular; "z-new" arrived yesterday, unknown to the model,
    never sold."""
    ids = np.array([*(f"i{n:02}" for n in range(N_ITEMS)), "z-new"], object)
    popularity = np.array([*range(N_ITEMS, 0, -1), 0], np.float32)
    columns = {
        "orders_4w": popularity,
        "orders_1w": popularity[::-1].copy(),
        "orders_decayed": popularity,
        "orders_decayed_fast": popularity[::-1].copy(),
        "age_days": np.array([*[300] * N_ITEMS, 1], np.float32),
        "promotion_reach_next_4w": np.array([*[0] * (N_ITEMS - 1), 1, 0], np.float32),
        "units_13w": popularity,
    }
    category = np.array(
        [f"Food > {'Tea' if n % 2 else 'Milk'}" for n in range(N_ITEMS + 1)], object
    )
    return ItemFeatures(AS_OF, ids, columns, category, np.full(len(ids), "", object))


@pytest.fixture(scope="session")
def shoppers(history: Callable[..., UserHistory]) -> dict[str, UserHistory]:
    """30 shoppers; even ones buy even items, odd ones odd items."""
    rng = np.random.default_rng(8)
    return {
        f"u{n:02}": history(
            f"u{n:02}",
            {
                f"i{item:02}": (int(rng.integers(1, 5)), float(rng.integers(0, 8)))
                for item in range(n % 2, N_ITEMS, 2)
                if rng.random() < 0.6
            },
        )
        for n in range(30)
    }


@pytest.fixture(scope="session")
def model(shoppers: dict[str, UserHistory], items: ItemFeatures) -> RecommendationModel:
    """Real sources; the rankers learnt that a high decayed frequency, else a high EASE score, is
    bought."""
    interactions = Interactions.from_histories(shoppers)
    knn = fit_item_knn(interactions.item_ids, interactions.binarise(), ItemKnnConfig())
    together = fit_association(interactions.item_ids, interactions.binarise(), AssociationConfig())
    als = fit_als(interactions, AlsConfig(n_factors=4), seed=1)
    retrieval = Retrieval(fit_ease(interactions, EaseConfig(l2=1.0)), als, knn, together)
    item_columns, user_columns = tuple(sorted(items.columns)), ("orders",)
    names = column_names(item_columns, user_columns)
    matrix = np.random.default_rng(1).random((1000, len(names))).astype(np.float32)
    signal = matrix[:, names.index("decayed_frequency")] + matrix[:, names.index("ease")]
    config = RankerConfig(n_trees=20, n_leaves=7, share_features=1.0)
    ranker = fit_ranker(GroupedRows(matrix, signal > 1.3, np.full(50, 20), names), config, seed=1)
    calibration = fit_calibration(matrix, signal > 1.3, np.ones(len(matrix)), names)
    return RecommendationModel(
        retrieval=retrieval,
        candidates=Candidates(),
        rankers=dict.fromkeys(TASKS, ranker),
        item_columns=item_columns,
        user_columns=user_columns,
        policies=dict.fromkeys(TASKS, "ranker"),
        calibrations=dict.fromkeys(TASKS, calibration),
    )


@pytest.fixture(scope="session")
def recommender(model: RecommendationModel, items: ItemFeatures) -> Recommender:
    placements = {name: Placement(name, exclude_purchased=name == "new") for name in SCORERS}
    return Recommender(model, items, placements)

"""Metrics of a saved recommendation model by user, on one test window: what the gate pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, RecommendationQuery
from models.ranking.model import TASKS, RankingTask, RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from training.non_inferiority import UnitValues
from training.recommendations.carts import IncompleteCart
from training.recommendations.evaluation_input import RelevantItems
from training.recommendations.metrics import ndcg, recall

_K = 10
_NAMES = {"all": "all_items", "new": "new_items"}
_PLACEMENTS = {
    "all": Placement("all"),
    "new": Placement("new", exclude_purchased=True),
    "cart": Placement("bought_together"),
}


@dataclass(frozen=True)
class UserWindow:
    """What is known at a cut, and what was bought in the window after it.

    relevant   the items to predict, by task and user
    orders     without their last line
    """

    histories: Mapping[str, UserHistory]
    items: ItemFeatures
    relevant: Mapping[RankingTask, RelevantItems]
    orders: Sequence[IncompleteCart]

    def measure(self, model: RecommendationModel) -> dict[str, UnitValues]:
        """Return NDCG@10 of all and of new items by user, and recall@10 of carts by order.

        Slates are made by the policy that serves. Orders of one user are one unit.
        """
        recommender = Recommender(model, self.items, _PLACEMENTS)
        values = {
            _NAMES[task]: self._measure_users(recommender, task)
            for task in TASKS
            if self.relevant[task]
        }
        if self.orders:
            values["carts"] = self._measure_carts(recommender, model)
        return values

    def _measure_users(self, recommender: Recommender, task: RankingTask) -> UnitValues:
        relevant = self.relevant[task]
        users = sorted(relevant)
        scores = []
        for user in users:
            query = RecommendationQuery(self.histories[user], task, _K)
            (slate,) = recommender.recommend([query])
            scores.append(ndcg([item.item_id for item in slate.items], relevant[user], _K))
        return UnitValues(
            metric=f"NDCG@{_K} {task} items",
            unit="users",
            ids=np.array(users, object),
            amounts=np.array(scores),
            scales=np.ones(len(users)),
            better="higher",
        )

    def _measure_carts(self, recommender: Recommender, model: RecommendationModel) -> UnitValues:
        unknown = UserHistory.unknown(self.items.as_of)
        hits = []
        for order in self.orders:
            history = self.histories.get(order.user_id or "", unknown)
            query = RecommendationQuery(history, "cart", _K, context_item_ids=order.context)
            (slate,) = recommender.recommend([query], policy=model.policies["cart"])
            hits.append(recall([item.item_id for item in slate.items], {order.target}, _K))
        return UnitValues(
            metric=f"recall@{_K} last of cart",
            unit="users",
            ids=np.array([order.user_id or order.order for order in self.orders], object),
            amounts=np.array(hits),
            scales=np.ones(len(hits)),
            better="higher",
        )

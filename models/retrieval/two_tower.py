"""Two towers: a visitor's vector from recent steps, an item's from its id and its attributes; a dot
product joins them.

Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys
2019. In training an item's own vector is left out now and then (Volkovs et al., "DropoutNet", NIPS
2017), so that an item without history has a vector from category, brand and price alone.

Fitting needs torch; the fitted model answers in numpy.

    B  visitors    T  steps    N  items    D  width of a vector    R  rates at which the past fades
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array, ObjectArray
from features.contracts.categories import prefix
from features.contracts.errors import BadInput
from features.contracts.recommendations import ItemFeatures
from features.contracts.sequences import Event, Sequences
from models.artifact import read_meta, read_tensors, write_meta, write_tensors
from models.retrieval.interactions import find_positions
from models.retrieval.layers import gelu, linear, norm
from models.retrieval.steps import (
    Batch,
    LoopConfig,
    Steps,
    batch_of,
    latest,
    most_met,
    popularity,
    shares,
    steps_of,
)

KIND = "two_tower"
_PRICES = ("list_price_minor", "price_minor")
_USER_TOWER = ("rates", "kind", "counts", "skip", "up", "down", "norm", "popular")
_ITEM_TOWER = ("values", "value_bias", "attribute")


@dataclass(frozen=True)
class TwoTowerConfig:
    """`id_dropout`: share of the items that a mini-batch knows by their attributes alone."""

    width: int = 64
    n_rates: int = 4
    dropout: float = 0.2
    id_dropout: float = 0.1
    loop: LoopConfig = field(default_factory=LoopConfig)


class TwoTower:
    """The fitted towers.

    item_ids     str objects, sorted
    vectors      float32 (N, D), the item tower's answer; `bias` float32 (N,)
    popularity   float32 (N,), logarithm of recent steps as of the fit, 1 for the most popular item
    weights      float32 arrays of both towers by their name in the network
    values       rows of the attribute values in `weights`, by "kind=value"
    """

    def __init__(
        self,
        item_ids: ObjectArray,
        vectors: Float32Array,
        bias: Float32Array,
        popularity: Float32Array,
        weights: Mapping[str, np.ndarray],
        values: Mapping[str, int],
        *,
        max_steps: int,
    ) -> None:
        self.item_ids, self.vectors, self.bias, self.popularity = (
            item_ids,
            vectors,
            bias,
            popularity,
        )
        self.weights, self.values, self.max_steps = dict(weights), dict(values), max_steps

    def score(self, visitors: Sequence[Sequence[Event]]) -> Float32Array:
        """Chance of each item to be the next new one (B, N), by visitor; 0 for one who did
        nothing."""
        scores = np.zeros((len(visitors), len(self.item_ids)), np.float32)
        steps, places = steps_of(visitors, self.item_ids)
        if len(places):
            scores[places] = self.score_pieces(steps, latest(steps, self.max_steps))
        return scores

    def score_pieces(self, steps: Steps, pieces: Sequence[tuple[int, int]]) -> Float32Array:
        """The same after each piece (none of them empty) of `steps` over these items."""
        states, weight = self._states(batch_of(steps, pieces))  # (B, D), (B,)
        return shares(states @ self.vectors.T + self.bias + weight[:, None] * self.popularity)

    def _from_attributes(self, rows: Int64Array) -> tuple[Float32Array, Float32Array]:
        """What `TwoTowerNetwork.item_vectors` says of items without a vector of their own: (N, D)
        and (N,)."""
        vectors = self.weights["values.weight"][rows].sum(1)  # (N, D)
        vectors = vectors + np.tanh(linear(self.weights, "attribute", vectors))
        return vectors, self.weights["value_bias.weight"][rows].sum(1)[:, 0]

    def _states(self, batch: Batch) -> tuple[Float32Array, Float32Array]:
        """What `TwoTowerNetwork.states` says after the last step: (B, D) and (B,)."""
        B, T = batch.kind.shape
        sizes = np.diff(batch.offsets)
        n = (sizes.reshape(B, T) * batch.valid).astype(np.float32)
        ages = (batch.hours[:, -1:] - batch.hours).clip(min=0)  # (B, T)
        weights = np.exp(-ages[:, None] * np.exp(self.weights["rates"])[:, None])  # (B, R, T)
        weights = weights * (np.exp(self.weights["kind"])[batch.kind] * batch.valid)[:, None]
        x = np.zeros((B * T, self.vectors.shape[1]), np.float32)
        np.add.at(x, np.repeat(np.arange(B * T), sizes), self.vectors[batch.items])
        total = (weights * n[:, None]).sum(-1, keepdims=True)  # (B, R, 1)
        means = (weights @ x.reshape(B, T, -1) / (total + 1)).reshape(B, -1)  # (B, R D)
        counts = np.log1p(np.stack([total[:, 0, 0], total[:, -1, 0], n.sum(1)], -1))  # (B, 3)
        hidden = np.concatenate(
            [means, np.tanh(linear(self.weights, "counts", counts))], -1
        )  # (B, (R + 1) D)
        hidden = linear(self.weights, "up", hidden)  # (B, 2 D)
        hidden = gelu(hidden)
        x = linear(self.weights, "skip", means) + linear(self.weights, "down", hidden)  # (B, D)
        x = norm(self.weights, "norm", x)
        return x, linear(self.weights, "popular", x)[:, 0]

    def save(self, folder: Path) -> None:
        """Writes `model.json` and `weights.safetensors`."""
        meta = {
            "item_ids": self.item_ids.tolist(),
            "values": self.values,
            "max_steps": self.max_steps,
        }
        write_meta(folder, KIND, meta)
        items = {
            "items.vectors": self.vectors,
            "items.bias": self.bias,
            "items.popularity": self.popularity,
        }
        write_tensors(folder / "weights.safetensors", {**self.weights, **items})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        meta, weights = read_meta(folder, KIND), read_tensors(folder / "weights.safetensors")
        vectors, bias, popular = (
            weights.pop(f"items.{name}") for name in ("vectors", "bias", "popularity")
        )
        item_ids = np.array(meta["item_ids"], object)
        return cls(
            item_ids, vectors, bias, popular, weights, meta["values"], max_steps=meta["max_steps"]
        )


def attributes_of(items: ItemFeatures) -> ObjectArray:
    """Attributes of items as text "kind=value" (N, 5): three levels of category, brand, half octave
    of the price."""
    columns = [
        [f"category_{n}={prefix(str(each), n)}" for each in items.category] for n in (1, 2, 3)
    ]
    columns.append([f"brand={each}" for each in items.brand])
    price = np.full(len(items.item_ids), np.nan)
    for name in _PRICES:
        price = np.where(np.isnan(price), items.columns.get(name, np.nan), price)
    halves = np.floor(2 * np.log2(np.maximum(price, 1)))
    columns.append([f"price={'' if np.isnan(each) else int(each)}" for each in halves])
    return np.array(columns, object).T.reshape(len(items.item_ids), len(columns))


def rows_of(attributes: ObjectArray, values: Mapping[str, int]) -> Int64Array:
    """Rows of attribute values, 0 where the value is empty or was never seen."""
    rows = [values.get(each, 0) for each in attributes.ravel()]
    return np.array(rows, np.int64).reshape(attributes.shape)


def fit_two_tower(
    sequences: Sequences,
    items: ItemFeatures,
    config: TwoTowerConfig,
    *,
    now: int,
    seed: int,
    folder: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> TwoTower:
    """Fits on what occurred before `now` (epoch seconds); `folder` is where checkpoints are kept.

    Raises BadInput when nobody did anything.
    """
    # Here, because a server answers without torch.
    from models.retrieval.neural import train_network, weights_of
    from models.retrieval.two_tower_network import TwoTowerNetwork

    if not sequences.n_visitors:
        raise BadInput(
            "no visitor did anything before the cut",
            hint="Import more history, or choose a later --until",
        )
    item_ids = most_met(sequences, config.loop)
    steps = Steps.of(sequences, item_ids)
    known = attributes_of(items)
    place = find_positions({item_id: at for at, item_id in enumerate(items.item_ids)}, item_ids)
    attributes = np.where(place[:, None] >= 0, known[place] if len(known) else "", "")
    told = sorted({each for each in attributes.ravel() if each and not each.endswith("=")})
    values = {value: row for row, value in enumerate(told, start=1)}
    rows = rows_of(attributes, values)

    def build() -> TwoTowerNetwork:
        return TwoTowerNetwork(
            rows, len(values) + 1, config.width, config.n_rates, config.dropout, config.id_dropout
        )

    network = train_network(
        build, steps, len(item_ids), now, config.loop, seed=seed, folder=folder, progress=progress
    )
    weights = weights_of(network)
    towers = {
        name: each
        for name, each in weights.items()
        if name.split(".")[0] in (*_USER_TOWER, *_ITEM_TOWER)
    }
    popular = popularity(steps, len(item_ids), now, 1)[0]
    nothing = np.zeros((0, config.width), np.float32)
    empty = TwoTower(
        item_ids[:0],
        nothing,
        nothing[:, 0],
        nothing[:, 0],
        towers,
        values,
        max_steps=config.loop.max_steps,
    )
    vectors, bias = empty._from_attributes(rows)
    vectors, bias = vectors + weights["ids.weight"], bias + weights["bias"]
    return TwoTower(
        item_ids, vectors, bias, popular, towers, values, max_steps=config.loop.max_steps
    )

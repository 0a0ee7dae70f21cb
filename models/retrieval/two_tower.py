"""Two towers: a visitor's vector from recent steps, an item's from its id and its attributes; the
score is their dot product.

Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys
2019. In training an item's own vector is left out at random (Volkovs et al., "DropoutNet", NIPS
2017), so that an item without history has a vector from category, brand and price alone.

Fitting needs torch; the fitted model predicts in numpy.

    B  visitors    T  steps    N  items    D  width of a vector    R  decay rates of past steps
    M  kinds of attributes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from features.contracts.arrays import AnyArray, Float32Array, Int64Array, ObjectArray
from features.contracts.categories import prefix
from features.contracts.errors import BadInput
from features.contracts.recommendations import ItemFeatures
from features.contracts.sequences import Sequences
from models.artifact import read_meta, read_tensors, write_meta, write_tensors
from models.retrieval.interactions import find_positions
from models.retrieval.layers import gelu, layer_norm, linear
from models.retrieval.next_step_model import NextStepModel
from models.retrieval.steps import (
    Batch,
    LoopConfig,
    NetworkTraining,
    Segment,
    Steps,
    compute_popularity,
    make_batch,
    select_items,
    softmax,
)

KIND = "two_tower"
_PRICES = ("list_price_minor", "price_minor")
_USER_TOWER = ("rates", "kind", "counts", "skip", "up", "down", "norm", "popular")
_ITEM_TOWER = ("values", "value_bias", "attribute")


@dataclass(frozen=True)
class TwoTowerConfig:
    """Shape of the networks; `width` is that of a vector.

    id_dropout   share of the items whose own vector is left out in a mini-batch
    """

    width: int = 64
    n_rates: int = 4
    dropout: float = 0.2
    id_dropout: float = 0.1
    loop: LoopConfig = field(default_factory=LoopConfig)


@dataclass(frozen=True)
class ItemVectors:
    """The item side of the fitted towers.

    item_ids     str objects (N,), sorted
    vectors      float32 (N, D), the output of the item tower
    bias         float32 (N,)
    popularity   float32 (N,), logarithm of recent steps as of the fit, 1 for the most popular item
    """

    item_ids: ObjectArray
    vectors: Float32Array
    bias: Float32Array
    popularity: Float32Array


class TwoTower(NextStepModel):
    """The fitted towers.

    weights   float32 arrays of both towers by their name in the network
    values    rows of the attribute values in `weights`, by "kind=value"
    """

    def __init__(
        self,
        items: ItemVectors,
        weights: Mapping[str, AnyArray],
        values: Mapping[str, int],
        *,
        max_steps: int,
    ) -> None:
        self.items, self.item_ids, self.max_steps = items, items.item_ids, max_steps
        self.weights, self.values = dict(weights), dict(values)

    def score_segments(self, steps: Steps, segments: Sequence[Segment]) -> Float32Array:
        """Return the probability (B, N) of each item to be the next new one after each segment."""
        items = self.items
        states, weight = self._states(make_batch(steps, segments))  # (B, D), (B,)
        popularity = weight[:, None] * items.popularity  # (B, N)
        return softmax(states @ items.vectors.T + items.bias + popularity)

    def _states(self, batch: Batch) -> tuple[Float32Array, Float32Array]:
        """Return what `TwoTowerNetwork.states` does after the last step: (B, D) and (B,)."""
        B, T = batch.kind.shape
        vectors = self.items.vectors
        sizes = np.diff(batch.offsets)  # (B T,)
        n = (sizes.reshape(B, T) * batch.valid).astype(np.float32)  # (B, T)
        ages = (batch.hours[:, -1:] - batch.hours).clip(min=0)  # (B, T)
        weights = np.exp(-ages[:, None] * np.exp(self.weights["rates"])[:, None])  # (B, R, T)
        weights = weights * (np.exp(self.weights["kind"])[batch.kind] * batch.valid)[:, None]
        x = np.zeros((B * T, vectors.shape[1]), np.float32)
        np.add.at(x, np.repeat(np.arange(B * T), sizes), vectors[batch.items])
        total = (weights * n[:, None]).sum(-1, keepdims=True)  # (B, R, 1)
        means = (weights @ x.reshape(B, T, -1) / (total + 1)).reshape(B, -1)  # (B, R D)
        counts = np.log1p(np.stack([total[:, 0, 0], total[:, -1, 0], n.sum(1)], -1))  # (B, 3)
        counts = np.tanh(linear(self.weights, "counts", counts))  # (B, D)
        hidden = np.concatenate([means, counts], -1)  # (B, (R + 1) D)
        hidden = gelu(linear(self.weights, "up", hidden))  # (B, 2 D)
        x = linear(self.weights, "skip", means) + linear(self.weights, "down", hidden)  # (B, D)
        x = layer_norm(self.weights, "norm", x)
        return x, linear(self.weights, "popular", x)[:, 0]

    def save(self, folder: Path) -> None:
        """Write `model.json` and `weights.safetensors`."""
        meta = {
            "item_ids": self.item_ids.tolist(),
            "values": self.values,
            "max_steps": self.max_steps,
        }
        write_meta(folder, KIND, meta)
        items = {
            "items.vectors": self.items.vectors,
            "items.bias": self.items.bias,
            "items.popularity": self.items.popularity,
        }
        write_tensors(folder / "weights.safetensors", {**self.weights, **items})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        meta, weights = read_meta(folder, KIND), read_tensors(folder / "weights.safetensors")
        items = ItemVectors(
            item_ids=np.array(meta["item_ids"], object),
            vectors=weights.pop("items.vectors"),
            bias=weights.pop("items.bias"),
            popularity=weights.pop("items.popularity"),
        )
        return cls(items, weights, meta["values"], max_steps=meta["max_steps"])


def list_attributes(items: ItemFeatures) -> ObjectArray:
    """Return the attributes of items as text "kind=value" (N, 5): three levels of category, brand,
    half octave of the price."""
    columns = [
        [f"category_{depth}={prefix(str(category), depth)}" for category in items.category]
        for depth in (1, 2, 3)
    ]
    columns.append([f"brand={brand}" for brand in items.brand])
    price = np.full(len(items.item_ids), np.nan)
    for name in _PRICES:
        price = np.where(np.isnan(price), items.columns.get(name, np.nan), price)
    half_octaves = np.floor(2 * np.log2(np.maximum(price, 1)))
    columns.append([f"price={'' if np.isnan(step) else int(step)}" for step in half_octaves])
    return np.array(columns, object).T.reshape(len(items.item_ids), len(columns))


def find_value_rows(attributes: ObjectArray, values: Mapping[str, int]) -> Int64Array:
    """Return the rows of attribute values, 0 where the value is empty or unknown."""
    rows = [values.get(attribute, 0) for attribute in attributes.ravel()]
    return np.array(rows, np.int64).reshape(attributes.shape)


def _vectors_from_attributes(
    weights: Mapping[str, AnyArray], rows: Int64Array
) -> tuple[Float32Array, Float32Array]:
    """Return what `TwoTowerNetwork.item_vectors` does without the items' own vectors: (N, D) and
    (N,)."""
    vectors = weights["values.weight"][rows].sum(1)  # (N, D)
    vectors = vectors + np.tanh(linear(weights, "attribute", vectors))
    return vectors, weights["value_bias.weight"][rows].sum(1)[:, 0]


def fit_two_tower(
    sequences: Sequences, items: ItemFeatures, config: TwoTowerConfig, run: NetworkTraining
) -> TwoTower:
    """Fit on the steps before `run.now`. Raises BadInput when there is no visitor."""
    # Here, because a server predicts without torch.
    from models.retrieval.training_loop import copy_weights, train_network
    from models.retrieval.two_tower_network import TwoTowerNetwork

    if not sequences.n_visitors:
        raise BadInput(
            "no visitor did anything before the cut",
            hint="Import more history, or choose a later --until",
        )
    item_ids = select_items(sequences, config.loop)
    steps = Steps.from_sequences(sequences, item_ids)
    attributes = _attributes_of_ids(items, item_ids)  # (N, M)
    known = {value for value in attributes.ravel() if value and not value.endswith("=")}
    values = {value: row for row, value in enumerate(sorted(known), start=1)}
    rows = find_value_rows(attributes, values)  # (N, M)

    def build_network() -> TwoTowerNetwork:
        return TwoTowerNetwork(
            rows, len(values) + 1, config.width, config.n_rates, config.dropout, config.id_dropout
        )

    network = train_network(build_network, steps, len(item_ids), config.loop, run)
    weights = copy_weights(network)
    of_towers = {
        name: weight
        for name, weight in weights.items()
        if name.split(".")[0] in (*_USER_TOWER, *_ITEM_TOWER)
    }
    vectors, bias = _vectors_from_attributes(of_towers, rows)
    fitted = ItemVectors(
        item_ids=item_ids,
        vectors=vectors + weights["ids.weight"],
        bias=bias + weights["bias"],
        popularity=compute_popularity(steps, len(item_ids), run.now, 1)[0],
    )
    return TwoTower(fitted, of_towers, values, max_steps=config.loop.max_steps)


def _attributes_of_ids(items: ItemFeatures, item_ids: ObjectArray) -> ObjectArray:
    """Return the attributes (N, M) of `item_ids`, "" where the catalogue does not hold the item."""
    attributes = list_attributes(items)
    index = {item_id: position for position, item_id in enumerate(items.item_ids)}
    positions = find_positions(index, item_ids)
    known = attributes[positions] if len(attributes) else ""
    return np.where(positions[:, None] >= 0, known, "")

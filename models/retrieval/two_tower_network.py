"""The two towers' network, in torch; `two_tower.py` answers with the same arithmetic in numpy.

B  visitors in the batch    T  steps    N  items with a vector    D  width of a vector
R  rates at which the past fades    M  kinds of attributes    A  attribute values of all kinds
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from features.contracts.sequences import N_KINDS
from models.retrieval.neural import Network, TensorBatch


class TwoTowerNetwork(Network):
    """`attributes` (N, M): the values of each item's attributes, rows of `values`; row 0 of it says
    unknown."""

    def __init__(
        self,
        attributes: np.ndarray,
        n_values: int,
        width: int,
        n_rates: int,
        dropout: float,
        id_dropout: float,
    ) -> None:
        super().__init__()
        n_items = len(attributes)
        self.register_buffer("attributes", torch.from_numpy(attributes), persistent=False)
        self.ids, self.bias = nn.Embedding(n_items, width), nn.Parameter(torch.zeros(n_items))
        self.values = nn.Embedding(n_values, width, padding_idx=0)
        self.value_bias = nn.Embedding(n_values, 1, padding_idx=0)
        self.attribute = nn.Linear(width, width)
        # From a memory of years to one of a day: log of the rate per hour.
        self.rates = nn.Parameter(torch.linspace(-9, -3, n_rates))
        self.kind = nn.Parameter(torch.zeros(N_KINDS))
        self.counts = nn.Linear(3, width)
        self.skip = nn.Linear(n_rates * width, width)
        self.up, self.down = (
            nn.Linear((n_rates + 1) * width, 2 * width),
            nn.Linear(2 * width, width),
        )
        self.norm = nn.LayerNorm(width)
        self.popular = nn.Linear(width, 1)
        self.dropout, self.id_dropout = nn.Dropout(dropout), id_dropout
        nn.init.normal_(self.ids.weight, std=0.1)
        with torch.no_grad():
            self.values.weight.mul_(0.1)
        nn.init.zeros_(self.value_bias.weight)

    def item_vectors(self) -> tuple[Tensor, Tensor]:
        """(N, D) and (N,). In training some items are known by their attributes alone, as new ones
        will be."""
        attributes = self.get_buffer("attributes")
        vectors = self.values(attributes).sum(1)  # (N, D)
        vectors = vectors + torch.tanh(self.attribute(vectors))
        bias = self.value_bias(attributes).sum(1).squeeze(-1)  # (N,)
        own = torch.ones(len(attributes), 1, device=vectors.device)
        if self.training and self.id_dropout:
            own = (torch.rand_like(own) >= self.id_dropout).float()
        return vectors + own * self.ids.weight, bias + own[:, 0] * self.bias

    def states(self, batch: TensorBatch, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) and (B, T): what was done before, averaged at each rate of fading, and how much
        that is."""
        B, T = batch.kind.shape
        x = functional.embedding_bag(
            batch.items, vectors, batch.offsets, mode="sum", include_last_offset=True
        )  # (B T, D)
        x = x.view(B, 1, T, -1)
        n = (batch.offsets[1:] - batch.offsets[:-1]).view(B, T).float()
        age = (batch.hours[:, :, None] - batch.hours[:, None, :]).clamp(min=0)  # (B, T, T)
        weights = torch.exp(-age[:, None] * self.rates.exp()[:, None, None])  # (B, R, T, T)
        weights = (
            weights * self.kind.exp()[batch.kind][:, None, None, :] * batch.valid[:, None, None, :]
        ).tril()
        total = weights @ n[:, None, :, None]  # (B, R, T, 1)
        means = ((weights @ x) / (total + 1)).permute(0, 2, 1, 3).flatten(2)  # (B, T, R D)
        means = self.dropout(means)
        counts = torch.stack([total[:, 0, :, 0], total[:, -1, :, 0], n.cumsum(1)], -1)  # (B, T, 3)
        counts = torch.tanh(self.counts(counts.log1p()))  # (B, T, D)
        hidden = functional.gelu(self.up(torch.cat([means, counts], -1)))  # (B, T, 2 D)
        x = self.norm(self.skip(means) + self.down(hidden))  # (B, T, D)
        return x, self.popular(x).squeeze(-1)

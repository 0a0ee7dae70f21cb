"""The two towers' network, in torch; `two_tower.py` predicts with the same arithmetic in numpy.

B  visitors in the batch    T  steps    N  items with a vector    D  width of a vector
R  decay rates of past steps    M  kinds of attributes    A  attribute values of all kinds
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.contracts.arrays import Int64Array
from features.contracts.sequences import N_KINDS
from models.retrieval.training_loop import Network, TensorBatch


class TwoTowerNetwork(Network):
    """Both towers.

    attributes   int64 (N, M), the values of each item's attributes: rows of `values`, 0 for unknown
    """

    def __init__(
        self,
        attributes: Int64Array,
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
        # Logarithms of decay rates per hour, from years to a day.
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
        """Return (N, D) and (N,).

        In training some items have no vector of their own, as new items will have none.
        """
        attributes = self.get_buffer("attributes")  # (N, M)
        vectors = self.values(attributes).sum(1)  # (N, D)
        vectors = vectors + torch.tanh(self.attribute(vectors))  # (N, D)
        bias = self.value_bias(attributes).sum(1).squeeze(-1)  # (N,)
        own = torch.ones(len(attributes), 1, device=vectors.device)  # (N, 1)
        if self.training and self.id_dropout:
            own = (torch.rand_like(own) >= self.id_dropout).float()
        return vectors + own * self.ids.weight, bias + own[:, 0] * self.bias

    def states(self, batch: TensorBatch, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, T, D) and (B, T), from the means of past items at each decay rate and from how
        many they are."""
        B, T = batch.kind.shape
        x = functional.embedding_bag(
            batch.items, vectors, batch.offsets, mode="sum", include_last_offset=True
        )  # (B T, D)
        x = x.view(B, 1, T, -1)  # (B, 1, T, D)
        n = (batch.offsets[1:] - batch.offsets[:-1]).view(B, T).float()  # (B, T)
        age = (batch.hours[:, :, None] - batch.hours[:, None, :]).clamp(min=0)  # (B, T, T)
        weights = torch.exp(-age[:, None] * self.rates.exp()[:, None, None])  # (B, R, T, T)
        kinds = self.kind.exp()[batch.kind][:, None, None, :]  # (B, 1, 1, T)
        weights = (weights * kinds * batch.valid[:, None, None, :]).tril()  # (B, R, T, T)
        total = weights @ n[:, None, :, None]  # (B, R, T, 1)
        means = ((weights @ x) / (total + 1)).permute(0, 2, 1, 3).flatten(2)  # (B, T, R D)
        means = self.dropout(means)
        counts = torch.stack([total[:, 0, :, 0], total[:, -1, :, 0], n.cumsum(1)], -1)  # (B, T, 3)
        counts = torch.tanh(self.counts(counts.log1p()))  # (B, T, D)
        hidden = functional.gelu(self.up(torch.cat([means, counts], -1)))  # (B, T, 2 D)
        x = self.norm(self.skip(means) + self.down(hidden))  # (B, T, D)
        return x, self.popular(x).squeeze(-1)

"""Forecasts as they are kept: what a later training must not change, in one Parquet document."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts.arrays import BoolArray, Float64Array

if TYPE_CHECKING:
    from models.demand.uncertainty.aggregates import AggregateDistributions

MAX_WEEKS = 8  # over which sums of an item are measured
_USUAL_ALPHA = 0.3  # of a model of an earlier release, which has none
_ABOUT = b"frozen_forecasts"


@dataclass(frozen=True, kw_only=True)
class FrozenForecasts:
    """Forecasts of n items of one zone in W business weeks.

    mean           (n, W) units
    price_minor    (n, W) the offer price that they assume; NaN where none was learnt
    dispersion     (n, MAX_WEEKS) of the units of 1, 2, ... weeks together: variance = mean +
                   dispersion × mean²
    elasticity     (n,) by which units follow the price; NaN where none is known
    common_error   (MAX_WEEKS,) standard deviation of the logarithm that a category misses together
                   in 1, 2, ... weeks
    """

    item_ids: tuple[str, ...]
    week_starts: tuple[datetime, ...]
    mean: Float64Array
    price_minor: Float64Array
    dispersion: Float64Array
    elasticity: Float64Array
    common_error: Float64Array

    def fill_prices(self, price_minor: Mapping[str, float]) -> Float64Array:
        """Return the assumed prices (n, W), where none was learnt those given by item id."""
        given = np.array([price_minor.get(item_id, np.nan) for item_id in self.item_ids])
        return np.where(np.isnan(self.price_minor), given[:, None], self.price_minor)

    def to_bytes(self) -> bytes:
        """Return a Parquet file, in single precision."""
        columns: dict[str, pa.Array] = {"item_id": pa.array(self.item_ids, pa.string())}
        for name in ("mean", "price_minor", "dispersion"):
            columns[name] = _to_lists(getattr(self, name))
        columns["elasticity"] = pa.array(self.elasticity.astype(np.float32))
        about = {
            "week_starts": [start.isoformat() for start in self.week_starts],
            "common_error": self.common_error.tolist(),
        }
        table = pa.table(columns).replace_schema_metadata({_ABOUT: json.dumps(about).encode()})
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> FrozenForecasts:
        """Return what `to_bytes` wrote."""
        table = pq.read_table(io.BytesIO(content))
        about = json.loads((table.schema.metadata or {})[_ABOUT])
        starts = about["week_starts"]
        widths = {"mean": len(starts), "price_minor": len(starts), "dispersion": MAX_WEEKS}
        arrays = {name: _from_lists(table[name], width) for name, width in widths.items()}
        return cls(
            item_ids=tuple(table["item_id"].to_pylist()),
            week_starts=tuple(datetime.fromisoformat(start) for start in starts),
            elasticity=table["elasticity"].to_numpy().astype(np.float64),
            common_error=np.array(about["common_error"], np.float64),
            **arrays,
        )


def measure_spread(
    mean: Float64Array,
    alpha: Float64Array,
    dense: BoolArray,
    aggregates: AggregateDistributions | None,
) -> tuple[Float64Array, Float64Array]:
    """Return the dispersion of sums of n items over 1, 2, ... weeks (n, MAX_WEEKS), and what a
    category misses together (MAX_WEEKS,).

    mean (n, W); alpha (n,) of one week, for a model of an earlier release without sums.
    """
    spans = range(1, MAX_WEEKS + 1)
    if aggregates is None:
        from models.demand.uncertainty.aggregates import FIRST_GUESS

        weekly = np.where(np.isnan(alpha), _USUAL_ALPHA, alpha)
        guess = np.full(MAX_WEEKS, np.sqrt(FIRST_GUESS.common))
        return np.repeat(weekly[:, None], MAX_WEEKS, axis=1), guess
    usual = mean.mean(axis=1) if mean.size else np.zeros(len(mean))
    dispersion = [aggregates.dispersion(usual * weeks, dense, weeks) for weeks in spans]
    common_error = [aggregates.common_error(weeks) for weeks in spans]
    return np.stack(dispersion, axis=1), np.array(common_error, np.float64)


def _to_lists(values: Float64Array) -> pa.Array:
    flat = pa.array(values.astype(np.float32).ravel())
    return (
        pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        if values.size
        else pa.nulls(len(values), pa.list_(pa.float32(), max(values.shape[1], 1)))
    )


def _from_lists(column: pa.ChunkedArray, width: int) -> Float64Array:
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float64).reshape(len(column), width)

"""Slates of many users as Parquet files, for mail: several processes take shares of the users in
turn.

Where the last ranks are to show more of the catalogue, the processes write longer slates, and this
one chooses from all of them together.
"""

from __future__ import annotations

import gc
import multiprocessing
import shutil
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts.arrays import Int64Array
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, RecommendationQuery
from features.online.histories import slice_by_user
from models.ranking.recommender import SlateColumns
from models.ranking.slate.long_tail import LongTail, SlateOptions, assign_last_places
from models.served_recommender import ServedRecommender

SLATES = pa.schema(
    [
        ("user_id", pa.string()),
        ("rank", pa.int32()),
        ("item_id", pa.string()),
        ("score", pa.float64()),
        ("reason", pa.string()),
        ("model_version", pa.string()),
    ]
)
# What is written first where the last ranks are assigned: longer slates.
_LONG_SLATES = pa.schema([*SLATES, ("relevance", pa.float64()), ("open", pa.bool_())])
# A share is a file: at most so many users, on average at least so many.
_MAX_USERS = 2_000
_MIN_USERS = 10
# Shares per process, at least: a process that is done early takes another.
_MIN_SHARES = 6


@dataclass(frozen=True)
class BatchRequest:
    """Whose slates to write, for which placement, and how many items each has.

    off_sale    ids of items that may not be shown
    long_tail   how the last ranks are assigned to items that few of the users are shown
    """

    user_ids: Sequence[str]
    placement: str
    count: int
    off_sale: frozenset[str] = frozenset()
    long_tail: LongTail = field(default_factory=LongTail)


@dataclass(frozen=True)
class _Share:
    """Some of the users, and the file of their slates."""

    path: Path
    user_ids: Sequence[str]


@dataclass(frozen=True)
class _Work:
    """The shares and what each of them needs.

    n_taken   how many shares are taken, in memory that the processes share
    allowed   ids of the items that may be shown; None for all
    """

    shares: Sequence[_Share]
    n_taken: Synchronized[int]
    served: ServedRecommender
    histories: Mapping[str, UserHistory]
    allowed: frozenset[str] | None
    request: BatchRequest


# A worker inherits this from the process that forks it, so that nothing is sent through a pipe.
_inherited: list[_Work] = []


def write_slates(
    folder: Path,
    served: ServedRecommender,
    histories: Mapping[str, UserHistory],
    request: BatchRequest,
    *,
    n_processes: int,
) -> int:
    """Write SLATES rows as `part-NNNNN.parquet` files into `folder`, which is replaced whole;
    return the number of rows.

    A user without history, or who refuses personalization, has no rows. The slates are those that
    the server gives at the instant of the histories, of items on sale and in stock, without an
    experiment's treatment; the last ranks are those of the request's `long_tail`.
    """
    known_ids = [user_id for user_id in dict.fromkeys(request.user_ids) if user_id in histories]
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    retired = staging.with_suffix(".retired")
    staging.mkdir()
    processes = multiprocessing.get_context("fork")
    work = _Work(
        shares=[
            _Share(staging / f"part-{number:05}.parquet", share_ids)
            for number, share_ids in enumerate(_split_users(known_ids, n_processes))
        ],
        n_taken=processes.Value("q"),
        served=served,
        histories=histories,
        allowed=_find_allowed(served.recommender.items, request.off_sale),
        request=request,
    )
    _inherited.append(work)
    try:
        # Garbage collection would copy all that the processes share.
        gc.freeze()
        try:
            n_rows = _write_in_processes(n_processes, processes)
        finally:
            gc.unfreeze()
        if request.long_tail.places and work.shares:
            n_rows = _assign_last_places([share.path for share in work.shares], request)
        if folder.exists():
            folder.replace(retired)
        staging.replace(folder)
        shutil.rmtree(retired, ignore_errors=True)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    finally:
        _inherited.clear()
    return n_rows


def _split_users(user_ids: Sequence[str], n_processes: int) -> list[Sequence[str]]:
    """Return shares of falling size, so that at the end no process waits long for another."""
    n_users = len(user_ids)
    n_shares = max(
        -(-2 * n_users // _MAX_USERS), min(_MIN_SHARES * n_processes, n_users // _MIN_USERS), 1
    )
    left = 1 - np.arange(n_shares + 1) / n_shares
    ends = np.rint(n_users * (1 - left**2)).astype(np.int64).tolist()
    return [user_ids[start:end] for start, end in pairwise(ends) if end > start]


def _find_allowed(items: ItemFeatures, off_sale: frozenset[str]) -> frozenset[str] | None:
    """Return the ids of the items on sale that are not known to be sold out; None when all are."""
    stock = items.columns.get("stock_on_hand")
    in_stock = np.ones(len(items.item_ids), bool) if stock is None else ~(stock <= 0)
    if in_stock.all() and not off_sale:
        return None
    return frozenset(items.item_ids[in_stock].tolist()) - off_sale


def _query(work: _Work, user_id: str) -> RecommendationQuery:
    return RecommendationQuery(
        work.histories[user_id],
        work.request.placement,
        work.request.count,
        allowed_item_ids=work.allowed,
    )


def _write_in_processes(n_processes: int, processes: multiprocessing.context.ForkContext) -> int:
    """Write all shares and return the number of rows; this process takes its part of them."""
    if n_processes == 1:
        return _write_shares()
    pool = ProcessPoolExecutor(n_processes - 1, processes)
    try:
        futures = [pool.submit(_write_shares) for _ in range(n_processes - 1)]
        n_rows = _write_shares() + sum(future.result() for future in futures)
    except BaseException:
        # The files are removed next: wait until nobody writes any more.
        pool.shutdown()
        raise
    # The end of so large a process takes as long as a hundred slates: do not wait for it.
    pool.shutdown(wait=False)
    return n_rows


def _write_shares() -> int:
    """Write shares until none is left, which a failure sees to; return the number of rows."""
    (work,) = _inherited
    n_rows = 0
    try:
        while (share := _take_share(work)) is not None:
            n_rows += _write_share(work, share)
    except BaseException:
        work.n_taken.value = len(work.shares)
        raise
    return n_rows


def _take_share(work: _Work) -> _Share | None:
    with work.n_taken.get_lock():
        number = work.n_taken.value
        work.n_taken.value = number + 1
    return work.shares[number] if number < len(work.shares) else None


def _write_share(work: _Work, share: _Share) -> int:
    user_ids, recommender = share.user_ids, work.served.recommender
    queries = [_query(work, user_id) for user_id in user_ids]
    long_tail, version = work.request.long_tail, work.served.version.version
    if long_tail.places:
        long_slates = recommender.recommend_long_slates(queries, long_tail.pool)
        columns = _make_columns(user_ids, [slate.columns for slate in long_slates], version)
        columns["relevance"] = np.concatenate([slate.relevance for slate in long_slates])
        columns["open"] = np.concatenate([slate.open for slate in long_slates])
        table = pa.Table.from_pydict(columns, schema=_LONG_SLATES)
    else:
        slates = recommender.recommend_columns(queries)
        table = pa.Table.from_pydict(_make_columns(user_ids, slates, version), schema=SLATES)
    pq.write_table(table, share.path, compression="zstd")
    return int(table.num_rows)


def _make_columns(
    user_ids: Sequence[str], slates: Sequence[SlateColumns], version: str
) -> dict[str, object]:
    lengths = np.array([len(slate.item_ids) for slate in slates], np.int64)
    n_rows = int(lengths.sum())
    return {
        "user_id": np.repeat(np.array(user_ids, object), lengths),
        "rank": _number_ranks(lengths),
        "item_id": np.concatenate([slate.item_ids for slate in slates]),
        "score": np.concatenate([slate.falling_scores for slate in slates]),
        "reason": [reason for slate in slates for reason in slate.reasons],
        "model_version": np.full(n_rows, version, object),
    }


def _number_ranks(lengths: Int64Array) -> Int64Array:
    """Return the ranks, from 1, of slates of these lengths one after another."""
    n_rows = int(lengths.sum())
    ranks = np.arange(n_rows) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 1
    return np.asarray(ranks, np.int64)


def _assign_last_places(paths: Sequence[Path], request: BatchRequest) -> int:
    """Replace the longer slates in the files by slates with assigned last ranks.

    Returns the number of rows. All users are in memory at once, about 70 bytes for each row of the
    longer slates.
    """
    tables = [pq.read_table(path, columns=["user_id", "item_id"]) for path in paths]
    ids = pa.concat_tables(tables).combine_chunks()
    items = ids["item_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    users = slice_by_user(ids["user_id"])
    values = pa.concat_tables(
        [pq.read_table(path, columns=["relevance", "open"]) for path in paths]
    )
    options = SlateOptions(
        user_ids=np.array(users.users, object),
        starts=users.starts,
        items=items.astype(np.int64),
        relevance=values["relevance"].to_numpy(),
        open=values["open"].to_numpy(),
        count=request.count,
    )
    rows = assign_last_places(options, request.long_tail)
    first = 0
    for path, table in zip(paths, tables, strict=True):
        of_file = rows[(rows >= first) & (rows < first + table.num_rows)] - first
        first += table.num_rows
        slates = pq.read_table(path).select(SLATES.names).take(of_file)
        lengths = np.diff(slice_by_user(slates["user_id"]).starts)
        ranks = pa.array(_number_ranks(lengths), pa.int32())
        slates = slates.set_column(SLATES.get_field_index("rank"), SLATES.field("rank"), ranks)
        pq.write_table(slates.cast(SLATES), path, compression="zstd")
    return len(rows)

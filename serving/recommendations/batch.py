"""Slates of many users as Parquet files, for mail: several processes take shares of the users in
turn."""

from __future__ import annotations

import gc
import multiprocessing
import shutil
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, RecommendationQuery
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
# A share is a file: at most so many users, on average at least so many.
_MAX_USERS = 2_000
_MIN_USERS = 10
# Shares per process, at least: a process that is done early takes another.
_MIN_SHARES = 6


@dataclass(frozen=True)
class BatchRequest:
    """Whose slates to write, for which placement, and how many items each has."""

    user_ids: Sequence[str]
    placement: str
    count: int


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
    the server gives at the instant of the histories, of items in stock, without an experiment's
    treatment.
    """
    known_ids = [user_id for user_id in request.user_ids if user_id in histories]
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
        allowed=_ids_in_stock(served.recommender.items),
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


def _ids_in_stock(items: ItemFeatures) -> frozenset[str] | None:
    """Return the ids of the items that are not known to be sold out; None when none is."""
    stock = items.columns.get("stock_on_hand")
    if stock is None or not (stock <= 0).any():
        return None
    return frozenset(items.item_ids[~(stock <= 0)].tolist())


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
    user_ids = share.user_ids
    slates = work.served.recommender.recommend_columns(
        [_query(work, user_id) for user_id in user_ids]
    )
    lengths = np.array([len(slate.item_ids) for slate in slates], np.int64)
    n_rows = int(lengths.sum())
    columns = {
        "user_id": np.repeat(np.array(user_ids, object), lengths),
        "rank": np.arange(n_rows) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 1,
        "item_id": np.concatenate([slate.item_ids for slate in slates]),
        "score": np.concatenate([slate.scores for slate in slates]),
        "reason": [reason for slate in slates for reason in slate.reasons],
        "model_version": np.full(n_rows, work.served.version.version, object),
    }
    pq.write_table(pa.Table.from_pydict(columns, schema=SLATES), share.path, compression="zstd")
    return n_rows

"""Slates of many users at once, for mail: the served recommender over shares of the users, one
process each."""

from __future__ import annotations

import gc
import multiprocessing
import shutil
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, RecommendationQuery
from models.ranking.recommender import Recommender
from models.registry import Version

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
_PER_SHARE = 2_000  # users a file, at most
_SHARES = 6  # of each process, at least: who is done early takes another
_FEW = 10  # users a share, on average, at least


@dataclass(frozen=True)
class _Work:
    """What every share needs, the shares, and how many of them are taken (a shared number with a
    lock)."""

    shares: Sequence[tuple[Path, Sequence[str]]]
    taken: Any
    recommender: Recommender
    histories: Mapping[str, UserHistory]
    allowed: frozenset[str] | None
    placement: str
    count: int
    version: str


# What a worker inherits from the process that forks it, so that nothing is sent through a pipe.
_inherited: list[_Work] = []


def write_slates(
    folder: Path,
    recommender: Recommender,
    version: Version,
    histories: Mapping[str, UserHistory],
    user_ids: Sequence[str],
    *,
    placement: str,
    count: int,
    n_processes: int,
) -> int:
    """Writes SLATES rows as `part-NNNNN.parquet` files into `folder`, which is replaced whole;
    returns their number.

    A user without history, or who refuses personalization, has no rows. The slates are those that
    the server gives at the instant of the histories, of items in stock, without an experiment's
    treatment.
    """
    known = [user_id for user_id in user_ids if user_id in histories]
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    retired = staging.with_suffix(".retired")
    staging.mkdir()
    allowed, processes = _in_stock(recommender.items), multiprocessing.get_context("fork")
    shares = enumerate(_shared_out(known, n_processes))
    named = [(staging / f"part-{number:05}.parquet", share) for number, share in shares]
    work = _Work(
        named,
        processes.Value("q"),
        recommender,
        histories,
        allowed,
        placement,
        count,
        version.version,
    )
    _inherited.append(work)
    try:
        # what the processes share is not searched for garbage, which would copy all of it
        gc.freeze()
        try:
            n_rows = _written(n_processes, processes)
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


def _shared_out(users: Sequence[str], n_processes: int) -> list[Sequence[str]]:
    """Each share is smaller than the one before, so that at the end no process waits long for
    another."""
    n_shares = max(
        -(-2 * len(users) // _PER_SHARE), min(_SHARES * n_processes, len(users) // _FEW), 1
    )
    left = 1 - np.arange(n_shares + 1) / n_shares
    ends = np.rint(len(users) * (1 - left**2)).astype(np.int64).tolist()
    return [users[start:end] for start, end in pairwise(ends) if end > start]


def _in_stock(items: ItemFeatures) -> frozenset[str] | None:
    """The items that are not known to be out of stock; None when all are."""
    stock = items.columns.get("stock_on_hand")
    if stock is None or not (stock <= 0).any():
        return None
    return frozenset(items.item_ids[~(stock <= 0)].tolist())


def _query(work: _Work, user_id: str) -> RecommendationQuery:
    return RecommendationQuery(
        work.histories[user_id], work.placement, work.count, allowed_item_ids=work.allowed
    )


def _written(n_processes: int, processes: multiprocessing.context.ForkContext) -> int:
    """Rows of all shares; this process takes its part of them."""
    if n_processes == 1:
        return _write_shares()
    pool = ProcessPoolExecutor(n_processes - 1, processes)
    try:
        others = [pool.submit(_write_shares) for _ in range(n_processes - 1)]
        n_rows = _write_shares() + sum(each.result() for each in others)
    except BaseException:
        pool.shutdown()  # nobody writes any more when the files are removed
        raise
    pool.shutdown(wait=False)  # the end of so large a process takes as long as a hundred slates
    return n_rows


def _write_shares() -> int:
    """Writes shares until none is left; after a failure none is."""
    (work,) = _inherited
    n_rows = 0
    try:
        while (number := _take(work)) is not None:
            n_rows += _write_share(work, *work.shares[number])
    except BaseException:
        work.taken.value = len(work.shares)
        raise
    return n_rows


def _take(work: _Work) -> int | None:
    with work.taken.get_lock():
        number = int(work.taken.value)
        work.taken.value = number + 1
    return number if number < len(work.shares) else None


def _write_share(work: _Work, path: Path, user_ids: Sequence[str]) -> int:
    slates = work.recommender.lines([_query(work, user_id) for user_id in user_ids])
    lengths = np.array([len(slate.item_ids) for slate in slates], np.int64)
    n_rows = int(lengths.sum())
    columns = {
        "user_id": np.repeat(np.array(user_ids, object), lengths),
        "rank": np.arange(n_rows) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 1,
        "item_id": np.concatenate([slate.item_ids for slate in slates]),
        "score": np.concatenate([slate.scores for slate in slates]),
        "reason": [reason for slate in slates for reason in slate.reasons],
        "model_version": np.full(n_rows, work.version, object),
    }
    pq.write_table(pa.Table.from_pydict(columns, schema=SLATES), path, compression="zstd")
    return n_rows

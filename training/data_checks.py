"""Checks of the data before a training replaces a champion: missing days, lost rows, old events.

A training on half of the sales ends without an error, and its model may even pass its baselines,
which saw the same half. So the last weeks are compared with the weeks before them, and all weeks
with what was counted when the champion was trained. Silence that the table `closures` explains is
none: closed time does not age the data, and weeks with closed days are not compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array
from features.contracts.errors import BadInput
from features.contracts.tables import EventType
from features.facts.closed_days import Closure, mark_open_days, read_closures
from features.facts.facts import Facts
from features.pipelines.expressions import before, zone_of

_RECENT, _EARLIER = 28, 84  # days that are checked, and those before them that they must be like
_WEEKS_KEPT = 26
_WEEK = 7
# Of the sales: a zone with less may be closed, and the week is like others.
_SMALL_SHARE = 0.1
_SHARES = {
    "no_user": "no user_id",
    "no_amount": "no amount",
    "unknown": "an item_id that the catalogue does not have",
}


@dataclass(frozen=True)
class DataLimits:
    """How far the data may differ from before.

    max_age_days       open days from the last event until now
    min_share_days     of the days that usually have sales, in the last four weeks
    min_share_volume   of the usual number of sales a day, in the last four weeks
    max_share_lost     of the rows that were there when the champion was trained
    max_share_worse    by which rows without user, amount or known item may grow
    """

    max_age_days: float = 7.0
    min_share_days: float = 0.75
    min_share_volume: float = 0.5
    max_share_lost: float = 0.1
    max_share_worse: float = 0.1

    def __post_init__(self) -> None:
        shares = (
            self.min_share_days,
            self.min_share_volume,
            self.max_share_lost,
            self.max_share_worse,
        )
        if not all(0 <= share <= 1 for share in shares) or self.max_age_days <= 0:
            raise BadInput("shares lie between 0 and 1, max_age_days above 0", where="gate.yaml")


@dataclass(frozen=True)
class DataProfile:
    """Numbers of sales by day (D,), from `first` on; of all events in a shop without sales.

    faults        rows of each kind of fault by day (D,)
    last          the time of the last event
    zone_shares   the share of the rows by zone
    closures      the closed times of zones
    """

    first: date
    rows: Float64Array
    faults: Mapping[str, Float64Array]
    last: datetime
    zone_shares: Mapping[str, float] = field(default_factory=dict)
    closures: Sequence[Closure] = ()

    def measure_open_share(self, first: date, n_days: int) -> Float64Array:
        """Return (n_days,): the share of the usual sales that the zones open on a day have."""
        if not self.closures or not n_days:
            return np.ones(n_days)
        midnight = datetime.combine(first, time(), UTC)
        days = [midnight + timedelta(days=day) for day in range(n_days)]
        is_open = mark_open_days(self.closures, list(self.zone_shares), days)
        return np.array(list(self.zone_shares.values())) @ is_open

    def count_open_days_since_last(self, now: datetime) -> int:
        """Return the days from the last event until `now`, without those when all was closed."""
        n_days = (now - self.last).days
        share = self.measure_open_share(self.last.date() + timedelta(days=1), n_days)
        return int((share > 0).sum())

    def select_open_weeks(self) -> BoolArray:
        """Return (D,): the days that may be compared: of whole weeks, counted back from the last
        day, without a closed day."""
        n_days = len(self.rows)
        is_open = self.measure_open_share(self.first, n_days) >= 1 - _SMALL_SHARE
        n_weeks = n_days // _WEEK
        chosen = np.zeros(n_days, bool)
        in_weeks = is_open[n_days - n_weeks * _WEEK :].reshape(n_weeks, _WEEK)
        chosen[n_days - n_weeks * _WEEK :] = np.repeat(in_weeks.all(axis=1), _WEEK)
        return chosen

    def count_weeks(self) -> dict[str, int]:
        """Return rows by the Monday of the last whole weeks (UTC)."""
        days = [self.first + timedelta(days=n) for n in range(len(self.rows))]
        counts: dict[str, int] = {}
        for day, rows in zip(days, self.rows, strict=True):
            monday = (day - timedelta(days=day.weekday())).isoformat()
            counts[monday] = counts.get(monday, 0) + int(rows)
        return dict(list(counts.items())[:-1][-_WEEKS_KEPT:])


def read_data_profile(facts: Facts, until: datetime | None) -> DataProfile | None:
    """Return the profile of the events before `until`; None without events."""
    events = facts.read("events")
    if until is not None:
        events = before(events, until)
    items = facts.read("items").select("item_id").distinct().mutate(known=True)
    joined = events.left_join(items, "item_id")
    rows = joined.group_by(
        day=joined.occurred_at.date(),
        sale=joined.event_type == EventType.PURCHASE.value,
        zone=zone_of(joined),
    ).aggregate(
        rows=joined.count(),
        no_user=joined.user_id.isnull().sum(),
        no_amount=joined.line_amount_minor.isnull().sum(),
        unknown=joined.known.isnull().sum(),
        last=joined.occurred_at.max(),
    )
    table = rows.to_pyarrow().to_pylist()
    chosen = [row for row in table if row["sale"]] or table
    if not chosen:
        return None
    first = min(row["day"] for row in chosen)
    n_days = (max(row["day"] for row in chosen) - first).days + 1
    columns = {name: np.zeros(n_days) for name in ("rows", *_SHARES)}
    in_zones: dict[str, float] = {}
    for row in chosen:
        in_zones[row["zone"]] = in_zones.get(row["zone"], 0.0) + row["rows"]
        for name, values in columns.items():
            values[(row["day"] - first).days] += row[name]
    total = sum(in_zones.values())
    return DataProfile(
        first=first,
        rows=columns.pop("rows"),
        faults=columns,
        last=max(row["last"] for row in table),
        zone_shares={zone: n_rows / total for zone, n_rows in in_zones.items()},
        closures=read_closures(facts),
    )


def find_data_problems(
    profile: DataProfile, former: Mapping[str, int], now: datetime | None, limits: DataLimits
) -> list[str]:
    """Return what is wrong with the data, in words; empty where nothing is.

    former   rows by week when the champion was trained, as `count_weeks` returned them
    now      None: the age of the last event is not checked
    """
    problems = []
    if now is not None and now - profile.last > timedelta(days=limits.max_age_days):
        age, open_days = (now - profile.last).days, profile.count_open_days_since_last(now)
        if open_days == age:
            problems.append(
                f"the last event is {age} days old (max_age_days is {limits.max_age_days:g}). Was "
                "the shop closed? See: shopwright closures"
            )
        elif open_days > limits.max_age_days:
            problems.append(
                f"the last event is {age} days old, {open_days} of them not closed "
                f"(max_age_days is {limits.max_age_days:g})"
            )
    problems += _compare_with_former(profile, former, limits)
    compared = profile.select_open_weeks()
    if compared.sum() >= _RECENT + _EARLIER:
        problems += _compare_recent_days(profile, compared, limits)
    return problems


def _compare_with_former(
    profile: DataProfile, former: Mapping[str, int], limits: DataLimits
) -> list[str]:
    """Compare the weeks that are whole now with the same weeks at the champion's training."""
    present = profile.count_weeks()
    weeks = sorted(set(former) & set(present)) if present else []
    # A week of before that is gone altogether counts too, unless it is cut off by --until.
    last = max(present, default="")
    weeks += [week for week in former if week not in present and week <= last]
    then, today = sum(former[week] for week in weeks), sum(present.get(w, 0) for w in weeks)
    if today >= (1 - limits.max_share_lost) * then:
        return []
    lost = f"{then - today:,} of {then:,} rows of {len(weeks)} weeks are gone"
    limit = f"(max_share_lost is {limits.max_share_lost:g})"
    return [f"{lost} that were there when the champion was trained {limit}"]


def _compare_recent_days(
    profile: DataProfile, compared: BoolArray, limits: DataLimits
) -> list[str]:
    """Compare the last four weeks with the twelve before them, weekday by weekday."""
    problems = []
    rows = profile.rows[compared]
    earlier = rows[-_RECENT - _EARLIER : -_RECENT].reshape(-1, _WEEK)
    recent = rows[-_RECENT:].reshape(-1, _WEEK)
    usual_days = float((earlier > 0).mean(axis=0).sum()) * len(recent)
    n_days = int((recent > 0).sum())
    if n_days < limits.min_share_days * usual_days:
        problems.append(
            f"{n_days} of the last {_RECENT} days have sales, {usual_days:.0f} are usual "
            f"(min_share_days is {limits.min_share_days:g})"
        )
    usual = float(np.median(earlier.sum(axis=1)))
    present = float(np.median(recent.sum(axis=1)))
    if present < limits.min_share_volume * usual:
        problems.append(
            f"{present:,.0f} sales a week in the last four, {usual:,.0f} are usual "
            f"(min_share_volume is {limits.min_share_volume:g})"
        )
    for name, words in _SHARES.items():
        faults = profile.faults[name][: len(compared)][compared]
        share = faults[-_RECENT:].sum() / max(recent.sum(), 1)
        before_share = faults[-_RECENT - _EARLIER : -_RECENT].sum() / max(earlier.sum(), 1)
        if share > before_share + limits.max_share_worse:
            problems.append(
                f"{share:.0%} of the sales of the last four weeks have {words}, "
                f"{before_share:.0%} are usual (max_share_worse is {limits.max_share_worse:g})"
            )
    return problems


def write_weeks(profile: DataProfile | None) -> str:
    """Return the tag with the rows by week."""
    return json.dumps({} if profile is None else profile.count_weeks())


def read_weeks(tag: str | None) -> dict[str, int]:
    """Return what `write_weeks` wrote; nothing where a version has no such tag."""
    return dict(json.loads(tag or "{}"))

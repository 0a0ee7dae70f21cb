"""Promotions that get in each other's way: at the same time on the same item or in its family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from models.pricing.promotions.mechanics import Campaign


@dataclass(frozen=True)
class PromotionRun:
    """A planned promotion of one item."""

    name: str
    item_id: str
    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True)
class CampaignConflict:
    """Two promotions that affect the same items, and the time in which both run."""

    item_id: str
    other: str
    other_item_id: str
    starts_at: datetime
    ends_at: datetime
    why: str


def find_conflicts(
    campaign: Campaign,
    item_ids: Sequence[str],
    runs: Sequence[PromotionRun],
    family_of: Mapping[str, str | None],
) -> list[CampaignConflict]:
    """Return promotions that run at the same time on the same item or one of its family."""
    conflicts = []
    for item_id in item_ids:
        family = family_of.get(item_id)
        for run in runs:
            starts_at = max(run.starts_at, campaign.starts_at)
            ends_at = min(run.ends_at or campaign.ends_at, campaign.ends_at)
            if starts_at >= ends_at or run.name == campaign.name:
                continue
            if run.item_id == item_id:
                why = "both lower the price of this item"
            elif family and family_of.get(run.item_id) == family and run.item_id not in item_ids:
                why = "two items of one family take buyers from each other"
            else:
                continue
            conflicts.append(
                CampaignConflict(
                    item_id=item_id,
                    other=run.name,
                    other_item_id=run.item_id,
                    starts_at=starts_at,
                    ends_at=ends_at,
                    why=why,
                )
            )
    return sorted(
        conflicts,
        key=lambda conflict: (
            conflict.item_id,
            conflict.starts_at,
            conflict.other,
            conflict.other_item_id,
        ),
    )

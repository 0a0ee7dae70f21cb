"""Constants of feature definitions, shared by the offline and the online computation."""

from __future__ import annotations

SECONDS_PER_DAY = 24 * 3600
# The zone of rows that look at all zones of the shop together.
ALL_ZONES = "*"

# Items viewed lately: how many and how long. Which events count: contracts.tables.VIEW_TYPES.
MAX_VIEWED = 50
VIEWED_DAYS = 28

# Category affinity: the prefix of its feature names.
AFFINITY = "category_affinity:"
# A line counts as reduced when it was paid at least this share below its list price.
REDUCED_SHARE = 0.01
# Observed prices are medians over the sales of this many days.
PRICE_DAYS = 28
# The kind of promotions that name none.
NO_KIND = "other"
# Promotion windows relative to `as_of`, days: name -> (from, to).
PROMOTION_WINDOWS = {"next_1w": (0, 7), "next_4w": (0, 28), "past_4w": (-28, 0)}

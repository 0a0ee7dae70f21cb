"""The kinds of events, and their default zone. Apart from the tables, so that settings and database
know them without Arrow."""

from __future__ import annotations

from enum import StrEnum

DEFAULT_ZONE = "default"


class EventType(StrEnum):
    """The kinds of events, in the e-commerce names of GA4."""

    VIEW_ITEM = "view_item"
    VIEW_ITEM_LIST = "view_item_list"
    SELECT_ITEM = "select_item"
    ADD_TO_CART = "add_to_cart"
    REMOVE_FROM_CART = "remove_from_cart"
    ADD_TO_WISHLIST = "add_to_wishlist"
    BEGIN_CHECKOUT = "begin_checkout"
    PURCHASE = "purchase"
    REFUND = "refund"
    SEARCH = "search"


# The item of a search; what was searched for is its attribute `query`.
NO_ITEM = ""
QUERY = "query"
# The events that count as looking at an item.
VIEW_TYPES = (
    EventType.VIEW_ITEM.value,
    EventType.SELECT_ITEM.value,
    EventType.ADD_TO_CART.value,
    EventType.ADD_TO_WISHLIST.value,
)

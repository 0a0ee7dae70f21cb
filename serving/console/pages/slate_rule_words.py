"""Merchandising rules in words: what a rule does, to which items, when and where."""

from __future__ import annotations

from models.ranking.slate.merchandising_rules import Rule
from serving.console.visit import Visit

_SHOWN_ITEMS = 5


def name_placement(visit: Visit, name: str) -> str:
    """Return the name of a placement for people."""
    return visit.texts.find(f"slates.placement_{name}", name.replace("_", " "))


def name_feature(visit: Visit, name: str) -> str:
    """Return the name of an item feature for people."""
    return visit.texts.find(f"slates.feature_{name}", name.replace("_", " "))


def write_action(visit: Visit, rule: Rule) -> str:
    """Return what a rule does."""
    texts = visit.texts
    if rule.action == "pin":
        return texts.get("slates.rule_pin", place=texts.number(rule.place))
    if rule.action in ("boost", "bury"):
        if rule.places is not None:
            return texts.get(f"slates.rule_{rule.action}_places", n=rule.places)
        factor = texts.get(f"slates.rule_{rule.action}", factor=texts.number(rule.factor, 3))
        if rule.by is None:
            return factor
        return texts.get("slates.rule_by", what=factor, feature=name_feature(visit, rule.by))
    if rule.action == "at_most":
        per = texts.get(f"slates.per_{rule.per or 'together'}")
        return texts.get("slates.rule_at_most", most=texts.number(rule.n), per=per)
    return texts.get(f"slates.rule_{rule.action}")


def write_items(visit: Visit, rule: Rule) -> str:
    """Return to which items a rule applies; reads titles, so it belongs on a thread."""
    items = visit.server.catalogue.find(rule.item_ids[:_SHOWN_ITEMS])
    parts = [*(item.name for item in items.values()), *rule.categories, *rule.brands]
    if len(rule.item_ids) > _SHOWN_ITEMS:
        parts.append(f"+{len(rule.item_ids) - _SHOWN_ITEMS}")
    for name, limits in rule.features.items():
        low = "" if limits.least is None else f"{limits.least:g} ≤ "
        high = "" if limits.most is None else f" ≤ {limits.most:g}"
        parts.append(f"{low}{name_feature(visit, name)}{high}")
    return ", ".join(parts) or visit.texts.get("slates.all_items")


def write_window(visit: Visit, rule: Rule) -> str:
    """Return when and where a rule is valid."""
    texts = visit.texts
    parts = []
    if rule.valid_from is not None and rule.valid_to is not None:
        parts.append(f"{texts.time(rule.valid_from)} – {texts.time(rule.valid_to)}")
    elif rule.valid_from is not None:
        parts.append(texts.get("slates.from", at=texts.time(rule.valid_from)))
    elif rule.valid_to is not None:
        parts.append(texts.get("slates.until", at=texts.time(rule.valid_to)))
    if rule.zones:
        parts.append(", ".join(rule.zones))
    return " · ".join(parts) or texts.get("slates.always")

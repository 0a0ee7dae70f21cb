"""Who may do what: scopes, the roles that give them, and the caller of a request or a page.

Keys are for programs and carry scopes. People carry roles; a role may be limited to categories and
zones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from features.contracts.errors import Forbidden

SCOPES = (
    "storefront",
    "events",
    "browser",
    "catalogue",
    "pricing.read",
    "pricing.propose",
    "pricing.approve",
    "pricing.rollback",
    "pricing.manage",
    "audit.read",
    "experiments.manage",
    "models.manage",
    "privacy.manage",
    "people.manage",
    "slates.manage",
    "metrics",
)
# Whoever may change prices or slates may also read them. A key that approves has always rolled
# back too.
IMPLIED = {
    "pricing.propose": ("pricing.read",),
    "pricing.approve": ("pricing.read", "pricing.rollback"),
    "pricing.rollback": ("pricing.read",),
    "pricing.manage": ("pricing.read",),
    "slates.manage": ("storefront",),
}
_READING = ("storefront", "pricing.read", "audit.read")
_MANAGING = (
    *_READING,
    "pricing.propose",
    "pricing.approve",
    "pricing.rollback",
    "pricing.manage",
    "experiments.manage",
    "slates.manage",
)
# The scopes of a role: these and no others.
ROLE_SCOPES: Mapping[str, tuple[str, ...]] = {
    "analyst": (*_READING, "pricing.propose"),
    "approver": (*_READING, "pricing.approve"),
    "manager": _MANAGING,
    "admin": (*_MANAGING, "models.manage", "privacy.manage", "people.manage", "metrics"),
}
ROLES = tuple(ROLE_SCOPES)


@dataclass(frozen=True, order=True)
class Area:
    """A part of the assortment: a category with all below it, in a zone; "" is every one."""

    category: str = ""
    zone: str = ""

    def contains(self, category: str | None, zone: str) -> bool:
        """Return whether a category of a zone lies inside; an unknown category only in all."""
        if self.zone not in ("", zone):
            return False
        if self.category == "" or category == self.category:
            return True
        return category is not None and category.startswith(f"{self.category} > ")

    def __str__(self) -> str:
        return f"{self.category or 'every category'} in {self.zone or 'every zone'}"


EVERYWHERE = (Area(),)


@dataclass(frozen=True, order=True)
class Grant:
    """A role in an area."""

    role: str
    area: Area = Area()


def covers_zone(areas: Iterable[Area], zone: str) -> bool:
    """Return whether the areas cover every category of a zone."""
    return any(area in (Area(), Area(zone=zone)) for area in areas)


def find_objection(areas: Iterable[Area], category: str | None, zone: str) -> Forbidden | None:
    """Return why the areas do not cover a category of a zone; None where they do."""
    covered = tuple(areas)
    if any(area.contains(category, zone) for area in covered):
        return None
    return Forbidden(
        f"your role covers {'; '.join(map(str, covered))}, "
        f"not {category or 'items of an unknown category'} in {zone}",
        hint="Ask a colleague whose role covers it, or an admin to extend yours",
    )


@dataclass(frozen=True)
class Caller:
    """Who sent a request: a program with a key, or a person who signed in.

    id       as the audit log names the caller: the id of the key, or the person's sign-in name
    name     for people to read
    scopes   what the key or the roles give, and what that implies
    areas    by scope, the areas to which a person's roles limit it; a scope not named is unlimited
    """

    id: str
    name: str
    scopes: frozenset[str]
    is_person: bool = False
    areas: Mapping[str, tuple[Area, ...]] = field(default_factory=dict)

    def require(self, scope: str) -> tuple[Area, ...]:
        """Return the areas in which the caller has the scope. Raises Forbidden without it."""
        if scope in self.scopes:
            return self.areas.get(scope, EVERYWHERE)
        if self.is_person:
            roles = [role for role, scopes in ROLE_SCOPES.items() if scope in scopes]
            raise Forbidden(
                f"your roles do not give the scope {scope}",
                hint=f"Ask an admin for a role that does: {', '.join(roles) or 'none'}",
            )
        raise Forbidden(
            f"this key lacks the scope {scope}", hint=f"Use a key made with --scope {scope}"
        )

    def may_change(self, scope: str, zone: str) -> bool:
        """Return whether the caller has the scope for every category of a zone."""
        return scope in self.scopes and covers_zone(self.areas.get(scope, EVERYWHERE), zone)

    def require_zone(self, scope: str, zone: str) -> None:
        """Raise Forbidden where the caller lacks the scope for a part of a zone."""
        areas = self.require(scope)
        if not covers_zone(areas, zone):
            raise Forbidden(
                f"this concerns all categories of {zone}, and your role covers "
                f"{'; '.join(map(str, areas))}",
                hint="Ask a colleague whose role covers all of the zone",
            )

    def require_everywhere(self, scope: str) -> None:
        """Raise Forbidden where the caller lacks the scope for a part of the assortment."""
        areas = self.require(scope)
        if areas != EVERYWHERE:
            raise Forbidden(
                f"this concerns the whole shop, and your role covers {'; '.join(map(str, areas))}",
                hint="Ask a colleague whose role covers every category and zone",
            )


def compute_areas(grants: Iterable[Grant]) -> dict[str, tuple[Area, ...]]:
    """Return by scope the areas in which the grants give it."""
    areas: dict[str, set[Area]] = {}
    for grant in grants:
        for scope in ROLE_SCOPES[grant.role]:
            areas.setdefault(scope, set()).add(grant.area)
    return {scope: _drop_covered(covered) for scope, covered in areas.items()}


def _drop_covered(areas: set[Area]) -> tuple[Area, ...]:
    return EVERYWHERE if EVERYWHERE[0] in areas else tuple(sorted(areas))

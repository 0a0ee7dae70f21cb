"""`shopwright users create|list|grant|revoke|disable|enable|reset`: the people who sign in."""

from __future__ import annotations

import itertools
import json as json_format
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from features.contracts.errors import BadInput, NotFound
from serving.access import ROLES, Area, Grant
from serving.cli.output import JsonOption, print_json, print_line, print_table, write_secret
from serving.cli.shop import Shop
from serving.people.passwords import Passwords, generate_password
from serving.people.repository import Person
from serving.people.service import NewPerson, PeopleService

_DEMO_PEOPLE = (("anna", "Anna Analyst", "analyst"), ("ben", "Ben Approver", "approver"))

app = typer.Typer(help="The people who sign in, and their roles", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The sign-in name")]
RoleOption = Annotated[list[str], typer.Option("--role", help=f"{', '.join(ROLES)}; repeatable")]
CategoryOption = Annotated[
    list[str] | None,
    typer.Option("--category", help='Only there and below: "Food > Dairy"; repeatable'),
]
ZoneOption = Annotated[
    list[str] | None, typer.Option("--zone", help="Only in this zone; repeatable")
]
GenerateOption = Annotated[
    bool, typer.Option("--generate", help="Make a random password and print it")
]
OpenIdOption = Annotated[
    bool, typer.Option("--openid", help="No password: they sign in by OpenID Connect")
]


@app.command()
def create(
    name: NameArgument,
    role: RoleOption,
    full_name: Annotated[str, typer.Option(help="As people read it")] = "",
    category: CategoryOption = None,
    zone: ZoneOption = None,
    generate: GenerateOption = False,
    openid: OpenIdOption = False,
    json: JsonOption = False,
) -> None:
    """Create a person. The password is asked for, or read from the first line of stdin."""
    service = open_people(Shop())
    password = _choose_password(generate, openid)
    grants = _make_grants(role, category, zone)
    person = service.create(NewPerson(name, full_name, grants, password))
    _print_person(person, "is created", password if generate else None, json)


@app.command("list")
def list_people(json: JsonOption = False) -> None:
    """List everybody with their roles, disabled people too."""
    people = open_people(Shop()).list_people()
    if json:
        print_json({"items": [describe_person(person) for person in people]})
        return
    rows = [
        (
            person.name,
            person.full_name,
            "; ".join(map(_describe_grant, person.grants)),
            _describe_proofs(person),
            f"{person.last_sign_in_at:%Y-%m-%d %H:%M}" if person.last_sign_in_at else "never",
            "disabled" if person.disabled_at else "active",
        )
        for person in people
    ]
    columns = ("name", "full name", "roles", "signs in by", "last (UTC)", "")
    print_table("People", columns, rows)


@app.command()
def grant(
    name: NameArgument,
    role: RoleOption,
    category: CategoryOption = None,
    zone: ZoneOption = None,
    json: JsonOption = False,
) -> None:
    """Give somebody more roles, or a role in more categories or zones."""
    service = open_people(Shop())
    grants = {*service.find(name).grants, *_make_grants(role, category, zone)}
    person = service.set_grants(name, sorted(grants))
    _print_person(
        person, "has the roles " + "; ".join(map(_describe_grant, person.grants)), None, json
    )


@app.command()
def revoke(name: NameArgument, role: RoleOption, json: JsonOption = False) -> None:
    """Take roles from somebody, in every category and zone."""
    service = open_people(Shop())
    before = service.find(name).grants
    unknown = sorted(set(role) - {held.role for held in before})
    if unknown:
        raise NotFound(f"{name} is no {', '.join(unknown)}", hint="See: shopwright users list")
    remaining = [held for held in before if held.role not in role]
    if not remaining:
        raise BadInput(
            f"{name} would have no role left", hint=f"Try: shopwright users disable {name}"
        )
    person = service.set_grants(name, remaining)
    _print_person(
        person, "has the roles " + "; ".join(map(_describe_grant, person.grants)), None, json
    )


@app.command()
def disable(name: NameArgument, json: JsonOption = False) -> None:
    """End somebody's sessions and let them in no more. The name stays theirs."""
    person = open_people(Shop()).disable(name)
    _print_person(person, "is disabled", None, json)


@app.command()
def enable(name: NameArgument, json: JsonOption = False) -> None:
    """Let a disabled person in again."""
    person = open_people(Shop()).enable(name)
    _print_person(person, "may sign in again", None, json)


@app.command()
def reset(
    name: NameArgument,
    generate: GenerateOption = False,
    openid: OpenIdOption = False,
    json: JsonOption = False,
) -> None:
    """Set another password, remove the second factor, and end pauses and sessions."""
    service = open_people(Shop())
    service.find(name)
    password = _choose_password(generate, openid)
    person = service.reset(name, password)
    _print_person(person, "is reset", password if generate else None, json)


def open_people(shop: Shop) -> PeopleService:
    """Return the people of a shop."""
    return PeopleService(shop.engine, shop.system_clock, Passwords())


def read_demo_people(shop: Shop) -> dict[str, str | None]:
    """Return the passwords of the demo's two people, kept in the state folder for this user alone;
    None where somebody set another one."""
    service, path = open_people(shop), shop.settings.home / "demo-people.json"
    known = {person.name for person in service.list_people()}
    kept = json_format.loads(path.read_text()) if path.exists() else {}
    passwords: dict[str, str | None] = {}
    for name, full_name, role in _DEMO_PEOPLE:
        if name not in known:
            kept[name] = generate_password()
            draft = NewPerson(name, full_name, (Grant(role),), kept[name])
            service.create(draft)
        passwords[name] = kept.get(name) if service.has_password(name, kept.get(name)) else None
    write_secret(path, json_format.dumps(kept))
    return passwords


def describe_person(person: Person) -> dict[str, object]:
    """Return a person as JSON; null is every category, or every zone."""
    roles = [
        {
            "role": held.role,
            "category": held.area.category or None,
            "zone": held.area.zone or None,
        }
        for held in person.grants
    ]
    values = {name: value for name, value in vars(person).items() if name != "grants"}
    return values | {"roles": roles}


def _choose_password(generate: bool, openid: bool) -> str | None:
    """Return a random password, none, or the one that is typed: never an argument, which every
    process of the machine can read."""
    if generate and openid:
        raise BadInput("give either --generate or --openid")
    if openid:
        return None
    if generate:
        return generate_password()
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise BadInput(
            "no password came on stdin",
            hint="Pipe one in, or let --generate make one",
        )
    return password


def _make_grants(
    roles: Sequence[str], categories: Iterable[str] | None, zones: Iterable[str] | None
) -> tuple[Grant, ...]:
    """Return each role in each category and each zone."""
    areas = itertools.product(categories or ("",), zones or ("",))
    return tuple(
        Grant(role, Area(category.strip(), zone.strip()))
        for (category, zone), role in itertools.product(areas, roles)
    )


def _describe_grant(held: Grant) -> str:
    return held.role if held.area == Area() else f"{held.role} ({held.area})"


def _describe_proofs(person: Person) -> str:
    proofs = []
    if person.has_password:
        proofs.append("password and code" if person.has_second_factor else "password")
    if person.openid_subject or not person.has_password:
        proofs.append("OpenID Connect")
    return ", ".join(proofs)


def _print_person(person: Person, outcome: str, password: str | None, as_json: bool) -> None:
    """Print what became of a person, with a password that was made for them."""
    if as_json:
        made = {} if password is None else {"password": password}
        print_json(describe_person(person) | made)
        return
    print_line(f"{person.name} {outcome}")
    if password is not None:
        print_line(password)

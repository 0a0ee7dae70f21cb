"""Creating, changing, disabling and resetting the people who sign in."""

import unicodedata

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.errors import BadInput, Conflict, Forbidden, NotFound, UnknownName
from features.database import reading
from serving.access import Area, Grant
from serving.audit.repository import AuditFilter, AuditRecords
from serving.database.tables import people
from serving.people.passwords import Passwords, check_password, generate_password
from serving.people.service import NewPerson
from tests.shops.people import PASSWORDS, QUICK


def draft(name, *roles, password="five long blue rivers"):
    return NewPerson(name, "", tuple(Grant(role) for role in roles), password)


def read_audit(desk, name):
    with reading(desk.engine) as connection:
        assert AuditRecords(connection).verify().intact
        return AuditRecords(connection).page(AuditFilter(subject_id=name))


def test_a_person_is_created_with_roles_and_a_hashed_password(desk):
    person = desk.people.create(draft(" Carla@Example.com ", "manager", "analyst"), actor="dora")
    assert (person.name, person.full_name) == ("carla@example.com", "carla@example.com")
    assert [grant.role for grant in person.grants] == ["analyst", "manager"]
    assert [person.name for person in desk.people.list_people()] == [
        "anna",
        "ben",
        "carla@example.com",
    ]
    with reading(desk.engine) as connection:
        stored = connection.execute(sa.select(people)).all()
    assert all(row.password_hash.startswith("$argon2id$") for row in stored)
    assert "five long blue rivers" not in str(stored)
    (entry,) = read_audit(desk, "carla@example.com")
    assert (entry.actor, entry.action) == ("dora", "create")
    assert entry.details["roles"] == [
        "analyst: every category in every zone",
        "manager: every category in every zone",
    ]
    assert "rivers" not in str(entry)


@pytest.mark.parametrize(
    "name",
    ["", "a", "system", "Operator", "watch", "me", "key_12", "rule:x", "Änna", "a b", "x" * 64],
)
def test_no_name_can_be_taken_for_somebody_else(desk, name):
    with pytest.raises(BadInput, match="is no sign-in name"):
        desk.people.create(draft(name, "analyst"))


def test_a_name_belongs_to_one_person_for_ever(desk):
    desk.people.disable("ben")
    with pytest.raises(Conflict, match="there is a person 'ben' already"):
        desk.people.create(draft("BEN", "analyst"))


def test_a_person_needs_a_role_that_exists(desk):
    with pytest.raises(BadInput, match="needs a role"):
        desk.people.create(draft("carla"))
    with pytest.raises(UnknownName, match="Did you mean 'analyst'"):
        desk.people.create(draft("carla", "analist"))


def test_roles_change_for_the_sessions_that_are_open(desk):
    token = desk.sign_in("ben").token
    assert "pricing.propose" not in desk.sessions.find(token).caller.scopes
    grants = [Grant("analyst"), Grant("approver", Area("Food", "north"))]
    desk.people.set_grants("ben", grants, actor="dora")
    caller = desk.sessions.find(token).caller
    assert caller.areas["pricing.approve"] == (Area("Food", "north"),)
    assert caller.areas["pricing.propose"] == caller.areas["pricing.read"] == (Area(),)
    last = read_audit(desk, "ben")[-1]
    assert (last.actor, last.action) == ("dora", "set_roles")
    assert last.details["from"] == ["approver: Food in north"]


def test_nobody_changes_their_own_roles_or_disables_themselves(desk):
    with pytest.raises(Forbidden, match="you may not change your own roles"):
        desk.people.set_grants("ANNA", [Grant("admin")], actor="anna")
    with pytest.raises(Forbidden, match="you may not disable yourself"):
        desk.people.disable("anna", actor="anna")


def test_a_disabled_person_is_out_at_once_and_in_again_when_enabled(desk):
    token = desk.sign_in("anna").token
    desk.people.disable("anna")
    assert desk.sessions.find(token) is None
    desk.people.enable("anna")
    assert desk.sessions.find(token) is None  # the sessions of before are gone
    assert desk.sign_in("anna").person.disabled_at is None
    actions = [entry.action for entry in read_audit(desk, "anna")]
    assert actions == ["create", "sign_in", "disable", "enable", "sign_in"]


def test_a_reset_sets_another_password_and_ends_what_was(desk):
    token = desk.sign_in("anna").token
    desk.people.reset("anna", "nine warm brown stones")
    assert desk.sessions.find(token) is None
    assert desk.people.has_password("anna", "nine warm brown stones")
    assert not desk.people.has_password("anna", PASSWORDS["anna"])
    for verb in (desk.people.find, desk.people.disable, desk.people.enable):
        with pytest.raises(NotFound, match="no person 'nobody'"):
            verb("nobody")


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "x" * 257,
        "aaaaaaaaaaaaaaaa",
        "abababababab",
        "anna-anna-anna-2026!",
        "１１１１２２２２３３３３",
    ],
)
def test_a_password_that_is_easy_to_guess_is_refused(password):
    with pytest.raises(BadInput):
        check_password(password, "anna")


def test_a_generated_password_is_a_good_one_and_never_the_same():
    passwords = [generate_password() for _ in range(100)]
    for password in passwords:
        check_password(password, "anna")
    assert len(set(passwords)) == 100


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_a_hash_fits_its_own_password_and_no_other(one, other):
    stored = QUICK.hash(one)
    assert QUICK.verify(stored, one)
    assert QUICK.verify(stored, other) == _is_same(one, other)
    assert not QUICK.verify(None, one)


def _is_same(one, other):
    return unicodedata.normalize("NFKC", one) == unicodedata.normalize("NFKC", other)


def test_a_hash_of_weaker_parameters_is_known_as_outdated():
    assert Passwords().is_outdated(QUICK.hash("x"))
    assert not QUICK.is_outdated(QUICK.hash("x"))


def test_no_hash_is_computed_before_somebody_signs_in():
    class CountingHasher(PasswordHasher):
        n_hashes = 0

        def hash(self, *arguments, **options):
            self.n_hashes += 1
            return super().hash(*arguments, **options)

    hasher = CountingHasher(time_cost=1, memory_cost=8, parallelism=1)
    passwords = Passwords(hasher)
    assert hasher.n_hashes == 0
    assert [passwords.verify(None, "nine patient copper kettles") for _ in range(2)] == [False] * 2
    assert hasher.n_hashes == 1

"""Signing in and out: sessions, failed attempts, and the second factor."""

import threading
from datetime import timedelta

import pyotp
import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.errors import (
    BadInput,
    Conflict,
    Forbidden,
    NotFound,
    SecondFactorNeeded,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from features.database import reading
from serving.audit.repository import AuditFilter, AuditRecords
from serving.database.tables import recovery_codes, sessions
from serving.people.passwords import Passwords
from serving.people.pauses import FIRST_PAUSE, LONGEST_PAUSE, Failures, add_failure
from serving.people.second_factor import find_step, hash_recovery_code
from serving.people.sessions import Credentials, Origin
from tests.shops.people import HERE, PASSWORDS, MovableClock

NOW = MovableClock().time


def read_actions(desk, subject):
    with reading(desk.engine) as connection:
        return [entry.action for entry in AuditRecords(connection).page(AuditFilter(subject))]


def test_a_session_is_found_by_its_token_of_which_the_database_has_the_hash(desk):
    signed_in = desk.sign_in("ANNA ", PASSWORDS["anna"])
    active = desk.sessions.find(signed_in.token)
    assert (active.caller.id, active.caller.name, active.caller.is_person) == (
        "anna",
        "Anna A",
        True,
    )
    assert active.session.address == HERE.address
    assert desk.sessions.find(signed_in.token[:-1]) is None
    with reading(desk.engine) as connection:
        stored = str(connection.execute(sa.select(sessions)).all())
    assert signed_in.token not in stored
    assert active.session.id in stored
    assert desk.people.find("anna").last_sign_in_at == NOW


def test_a_session_ends_after_an_hour_without_a_request(desk):
    token = desk.sign_in("anna").token
    for _ in range(5):
        desk.clock.move(minutes=59)
        assert desk.sessions.find(token) is not None
    desk.clock.move(minutes=60)
    assert desk.sessions.find(token) is None
    assert desk.sessions.list_sessions("anna") == []


def test_a_session_ends_after_twelve_hours_however_busy_it_is(desk):
    token = desk.sign_in("anna").token
    for _ in range(23):
        desk.clock.move(minutes=30)
        assert desk.sessions.find(token) is not None
    desk.clock.move(minutes=30)
    assert desk.sessions.find(token) is None
    desk.sign_in("ben")  # tidies up
    with reading(desk.engine) as connection:
        assert len(connection.execute(sa.select(sessions)).all()) == 1


def test_every_sign_in_has_a_new_token_and_replaces_the_one_that_the_browser_had(desk):
    first = desk.sign_in("anna")
    second = desk.sign_in("anna", replaced_token=first.token)
    assert second.token != first.token
    assert desk.sessions.find(first.token) is None
    assert desk.sessions.find(second.token) is not None


def test_signing_out_ends_one_session_or_all(desk):
    tokens = [desk.sign_in("anna").token for _ in range(3)]
    bens = desk.sign_in("ben")
    newest = desk.sessions.list_sessions("anna")[0]
    with pytest.raises(NotFound):
        desk.sessions.sign_out("ben", newest.id)  # somebody else's
    desk.sessions.sign_out("anna", newest.id)
    assert len(desk.sessions.list_sessions("anna")) == 2
    assert desk.sessions.sign_out_everywhere("anna") == 2
    assert [desk.sessions.find(token) for token in tokens] == [None] * 3
    assert desk.sessions.find(bens.token) is not None


def refusal(desk, name, password, code=None):
    with pytest.raises(Unauthorized) as refused:
        desk.sign_in(name, password, code)
    return str(refused.value)


def test_nobody_learns_who_has_an_account(desk, monkeypatch):
    desk.people.disable("ben")
    compared = []
    verify = type(desk.sessions.passwords).verify

    def count(passwords, stored, password):
        compared.append(stored is not None)
        return verify(passwords, stored, password)

    monkeypatch.setattr(type(desk.sessions.passwords), "verify", count)
    texts = {
        refusal(desk, "anna", "wrong password"),
        refusal(desk, "nobody", "wrong password"),
        refusal(desk, "ben", PASSWORDS["ben"]),
        refusal(desk, "", ""),
    }
    assert len(texts) == 1
    # For every name one password is compared, which is what takes the time.
    assert compared == [True, False, True, False]


@pytest.mark.parametrize("name", ["anna", "nobody"])
def test_failed_attempts_pause_the_name_whether_it_exists_or_not(desk, name):
    waits = []
    for _ in range(12):
        try:
            desk.sign_in(name, "wrong password")
        except TooManyRequests as error:
            waits.append(error.retry_after_seconds)
            desk.clock.move(seconds=error.retry_after_seconds)
        except Unauthorized:
            pass
    assert waits == [31, 61, 121, 241]
    assert read_actions(desk, "anna" if name == "anna" else "unknown")[-1] == "pause_sign_in"


def test_the_right_password_waits_too_and_then_forgets_the_failures(desk):
    for _ in range(5):
        refusal(desk, "anna", "wrong password")
    with pytest.raises(TooManyRequests):
        desk.sign_in("anna")
    desk.sign_in("ben")  # another name from the same address
    desk.clock.move(seconds=31)
    desk.sign_in("anna")
    for _ in range(4):
        refusal(desk, "anna", "wrong password")
    desk.sign_in("anna")


def test_many_names_from_one_address_pause_the_address(desk):
    for number in range(30):
        refusal(desk, f"guess{number}", "wrong password")
    with pytest.raises(TooManyRequests):
        desk.sign_in("anna")
    elsewhere = Origin("192.0.2.2")
    credentials = Credentials("anna", PASSWORDS["anna"])
    assert desk.sessions.sign_in(credentials, elsewhere).person.name == "anna"


def test_guesses_at_once_are_no_more_guesses_than_one_after_the_other(desk):
    outcomes = []

    def guess():
        try:
            desk.sign_in("anna", "wrong password")
        except (Unauthorized, TooManyRequests) as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count(Unauthorized), outcomes.count(TooManyRequests)) == (5, 7)


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=30), st.integers(2, 10))
def test_a_pause_grows_with_every_failure_up_to_the_longest(gaps, free):
    failures, now, longest = None, NOW, timedelta(0)
    for count, gap in enumerate(gaps, start=1):
        now += timedelta(seconds=gap)
        before = failures
        failures = add_failure(failures, free, now)
        pause = (failures.paused_until or now) - now
        assert timedelta(0) <= pause <= LONGEST_PAUSE
        if before is None or gap >= 86_400:
            assert failures == Failures(1, now, None)
            longest = timedelta(0)
            continue
        assert failures.count == before.count + 1 <= count
        assert (pause >= FIRST_PAUSE) == (failures.count >= free)
        assert pause >= longest
        longest = pause


def test_a_changed_password_ends_the_other_sessions_and_changes_the_token(desk):
    elsewhere, here = desk.sign_in("anna"), desk.sign_in("anna")
    with pytest.raises(Forbidden):
        desk.sessions.change_password(here, "wrong password", "two new yellow bicycles")
    with pytest.raises(BadInput):
        desk.sessions.change_password(here, PASSWORDS["anna"], "annaannaanna")
    renewed = desk.sessions.change_password(here, PASSWORDS["anna"], "two new yellow bicycles")
    assert desk.sessions.find(elsewhere.token) is desk.sessions.find(here.token) is None
    assert desk.sessions.find(renewed.token).person.name == "anna"
    refusal(desk, "anna", PASSWORDS["anna"])
    assert desk.sign_in("anna", "two new yellow bicycles")


def test_a_password_is_hashed_anew_when_the_parameters_have_grown(desk, monkeypatch):
    monkeypatch.setattr(type(desk.sessions.passwords), "is_outdated", lambda *_: True)
    before = read_hash(desk)
    desk.sign_in("anna")
    assert read_hash(desk) != before
    assert desk.sign_in("anna")


def read_hash(desk):
    with reading(desk.engine) as connection:
        return connection.execute(
            sa.text("SELECT password_hash FROM people WHERE name = 'anna'")
        ).scalar_one()


@pytest.fixture
def protected(desk):
    """Anna's second factor: its app, and the recovery codes."""
    active = desk.sign_in("anna")
    secret = desk.sessions.begin_second_factor(active, PASSWORDS["anna"])
    app = pyotp.TOTP(secret)
    codes = desk.sessions.confirm_second_factor(active, app.at(desk.clock.now()))
    desk.clock.move(minutes=2)
    return app, codes


def test_a_second_factor_counts_once_it_is_confirmed(desk):
    active = desk.sign_in("anna")
    with pytest.raises(Forbidden):
        desk.sessions.begin_second_factor(active, "wrong password")
    with pytest.raises(Conflict, match="no set-up waits"):
        desk.sessions.confirm_second_factor(active, "123456")
    desk.sessions.begin_second_factor(active, PASSWORDS["anna"])
    secret = desk.sessions.begin_second_factor(active, PASSWORDS["anna"])  # begun again
    assert desk.sign_in("anna")  # without a code
    right = pyotp.TOTP(secret).at(desk.clock.now())
    wrong = f"{(int(right) + 1) % 1_000_000:06d}"
    with pytest.raises(Forbidden, match="this code is wrong"):
        desk.sessions.confirm_second_factor(active, wrong)
    codes = desk.sessions.confirm_second_factor(active, right)
    assert len(set(codes)) == 10
    with reading(desk.engine) as connection:
        stored = connection.execute(sa.select(recovery_codes.c.code_hash)).scalars().all()
    assert sorted(stored) == sorted(map(hash_recovery_code, codes))
    assert not set(stored) & set(codes)
    with pytest.raises(Conflict, match="already"):
        desk.sessions.begin_second_factor(active, PASSWORDS["anna"])


def test_with_a_second_factor_the_password_alone_is_not_enough(desk, protected):
    app, _ = protected
    with pytest.raises(SecondFactorNeeded):
        desk.sign_in("anna")
    assert "code" in refusal(desk, "anna", "wrong password")  # without asking for the code
    right = app.at(desk.clock.now())
    refusal(desk, "anna", PASSWORDS["anna"], f"{(int(right) + 1) % 1_000_000:06d}")
    assert desk.sign_in("anna", code=f" {right[:3]} {right[3:]}").person.has_second_factor
    refusal(desk, "anna", PASSWORDS["anna"], right)  # used before


def test_asking_for_the_code_is_no_failure_but_wrong_codes_are(desk, protected):
    for _ in range(10):
        with pytest.raises(SecondFactorNeeded):
            desk.sign_in("anna")
    for _ in range(5):
        refusal(desk, "anna", PASSWORDS["anna"], "abc")
    with pytest.raises(TooManyRequests):
        desk.sign_in("anna", code="abc")


def test_a_recovery_code_signs_in_once(desk, protected):
    _, codes = protected
    assert desk.sign_in("anna", code=codes[0].upper().replace("-", " "))
    refusal(desk, "anna", PASSWORDS["anna"], codes[0])
    assert desk.sign_in("anna", code=codes[1])


def test_a_second_factor_is_removed_with_password_and_code(desk, protected):
    app, codes = protected
    active = desk.sign_in("anna", code=codes[0])
    for password, code in (("wrong password", codes[1]), (PASSWORDS["anna"], "abc")):
        with pytest.raises(Forbidden):
            desk.sessions.remove_second_factor(active, password, code)
    desk.sessions.remove_second_factor(active, PASSWORDS["anna"], app.at(desk.clock.now()))
    bare = desk.sign_in("anna")
    with pytest.raises(Conflict):
        desk.sessions.remove_second_factor(bare, PASSWORDS["anna"], codes[2])
    with reading(desk.engine) as connection:
        assert connection.execute(sa.select(recovery_codes)).all() == []
    assert read_actions(desk, "anna")[-2:] == ["remove_second_factor", "sign_in"]


def test_a_reset_removes_the_second_factor_and_the_pause(desk, protected):
    for _ in range(5):
        refusal(desk, "anna", "wrong password")
    desk.people.reset("anna", "nine warm brown stones")
    assert not desk.sign_in("anna", "nine warm brown stones").person.has_second_factor


@given(st.integers(-200, 200), st.integers(-3, 3))
def test_a_code_is_good_for_its_step_and_those_beside_it_and_once(seconds, steps):
    secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    at = NOW + timedelta(seconds=seconds)
    present = int(at.timestamp()) // 30
    code = pyotp.TOTP(secret).generate_otp(present + steps)
    step = find_step(secret, code, at, after=None)
    assert (step is not None) == (abs(steps) <= 1)
    if step is not None:
        assert find_step(secret, code, at, after=step) is None
        assert find_step(secret, code, at, after=step - 1) == step


def test_a_flood_of_sign_ins_takes_few_places_and_is_told_to_come_back(monkeypatch):
    passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    begun, release, outcomes = threading.Semaphore(0), threading.Event(), []

    def wait(*_):
        begun.release()
        release.wait(10)
        return True

    monkeypatch.setattr(type(passwords._hasher), "verify", wait)

    def compare():
        try:
            outcomes.append(passwords.verify("a hash", "a password"))
        except Unavailable as error:
            outcomes.append(error.retry_after_seconds)
            begun.release()

    threads = [threading.Thread(target=compare) for _ in range(20)]
    for thread in threads:
        thread.start()
    for _ in range(12):  # four that compare, and eight that are told to come back
        assert begun.acquire(timeout=10)
    release.set()
    for thread in threads:
        thread.join()
    refused = [outcome for outcome in outcomes if outcome is not True]
    assert (len(outcomes), refused) == (20, [1] * 8)

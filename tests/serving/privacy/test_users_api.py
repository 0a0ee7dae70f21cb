"""The requests of people over HTTP, at a server that answers them meanwhile."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from features.database_tables import events, slates
from features.facts.facts import Facts
from features.online.histories import compute_offline_histories
from features.online.online_store import OnlineHistories
from serving.database.tables import idempotency_keys
from tests.shops.served_shop import NOW, make_user_id

USER, OTHER = make_user_id(0), make_user_id(3)


def recommend(served, user: str) -> dict:
    body = {"placement": "home", "user_id": user, "visitor_id": "v", "count": 4}
    answer = served.client.post("/v1/recommendations", json=body)
    assert answer.status_code == 200
    return answer.json()


def count_units(served, user: str) -> int:
    """Slates and exposures that name a user, once all are written."""
    served.server.exposures.close()
    with served.server.engine.connect() as connection:
        query = sa.select(sa.func.count()).select_from(slates).where(slates.c.unit_id == user)
        return connection.execute(query).scalar()


def read_fingerprints(served) -> list[str]:
    """The fingerprints of requests that may be repeated."""
    with served.server.engine.connect() as connection:
        return list(connection.execute(sa.select(idempotency_keys.c.fingerprint)).scalars())


def is_known_elsewhere(served, user: str) -> bool:
    """Whether another worker uses the ids of a user now."""
    worker = OnlineHistories(served.settings, served.server.engine)
    return worker.read_visitor(user, None, None, NOW).allowed


def test_who_opts_out_is_impersonal_at_the_next_call_of_every_worker(served) -> None:
    worker = OnlineHistories(served.settings, served.server.engine)
    assert worker.read(USER, None, None, NOW).item_ids.tolist()
    assert recommend(served, USER)["experiments"]
    unknown = [item["item_id"] for item in recommend(served, "a stranger")["items"]]
    answer = served.client.put(f"/v1/users/{USER}", json={"personalization_allowed": False})
    assert answer.json()["personalization_allowed"] is False
    assert worker.read(USER, None, None, NOW).item_ids.tolist() == []
    assert not worker.read_visitor(USER, None, None, NOW).allowed
    slate = recommend(served, USER)
    assert [item["item_id"] for item in slate["items"]] == unknown
    assert slate["experiments"] == []
    assert USER not in compute_offline_histories(Facts(served.settings), NOW)  # as trainings read
    back = served.client.put(f"/v1/users/{USER}", json={"personalization_allowed": True})
    assert back.json()["personalization_allowed"] is True
    assert recommend(served, USER)["experiments"]
    assert count_units(served, USER) == 2


def test_an_erased_person_is_nobody_until_they_consent_anew(served) -> None:
    client, address = served.client, f"/v1/users/{USER}"
    recommend(served, USER)
    document = client.get(address).json()
    assert document["events"][0]["user_id"] == USER
    assert client.get(f"/v1/users/{OTHER}").json()["events"]
    erased = client.delete(address, headers={"Idempotency-Key": "once"})
    assert erased.status_code == 200
    assert erased.json()["imported_rows"] == len(document["events"])
    again = client.delete(address, headers={"Idempotency-Key": "once"})
    assert again.json() == erased.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    request = f"DELETE\n{address}\n\n\n".encode()
    assert hashlib.sha256(request).hexdigest() not in read_fingerprints(served)
    assert client.get(address).status_code == 404
    assert not is_known_elsewhere(served, USER)
    assert recommend(served, USER)["experiments"] == []

    event = {"event_type": "view_item", "occurred_at": NOW.isoformat(), "item_id": "wine"}
    own = event | {"event_id": "own", "user_id": USER, "visitor_id": "v"}
    sent = client.post("/v1/events", json={"events": [own, event | {"user_id": OTHER}]})
    assert sent.json() == {"accepted": 2, "duplicates": 0, "rejected": [], "without_ids": 1}
    repeated = client.post("/v1/events", json={"events": [own]}).json()
    assert repeated == {"accepted": 0, "duplicates": 1, "rejected": [], "without_ids": 1}
    with served.server.engine.connect() as connection:
        users = connection.execute(sa.select(events.c.user_id).order_by(events.c.event_id))
        assert sorted(str(user) for user in users.scalars()) == ["None", OTHER]

    answer = client.put(address, json={"personalization_allowed": True})
    assert answer.json() | {"stated_at": 0, "subject_id": 0} == {
        "personalization_allowed": True,
        "stated_at": 0,
        "erased": False,
        "subject_id": 0,
    }
    assert is_known_elsewhere(served, USER)
    assert client.get(address).json()["events"] == []
    assert count_units(served, USER) == 0


def test_only_who_may_manage_privacy_is_answered_and_ids_stay_out_of_the_log(served) -> None:
    key = served.keys.create("shop", ["storefront", "events", "audit.read"]).key
    others = {"Authorization": f"Bearer {key}"}
    for method in ("GET", "DELETE"):
        assert served.client.request(method, f"/v1/users/{USER}", headers=others).status_code == 403
    body = {"personalization_allowed": False}
    assert served.client.put(f"/v1/users/{USER}", json=body, headers=others).status_code == 403
    bad = served.client.put(f"/v1/users/{USER}", json={"personalization_allowed": "perhaps"})
    assert bad.status_code == 422
    subject = served.client.put(f"/v1/users/{USER}", json=body).json()["subject_id"]
    log = served.client.get("/v1/audit", params={"subject_id": subject}).json()["items"]
    assert [(row["action"], row["subject_type"]) for row in log] == [("state_consent", "shopper")]
    assert log[0]["details"] == body
    assert USER not in str(log)

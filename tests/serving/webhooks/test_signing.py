"""Signatures: the snippet of the docs accepts what is sent, and nothing else."""

import base64
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serving.webhooks.signing import make_headers, make_secret

PAGE = Path(__file__).parents[3] / "docs" / "user-guide" / "webhooks.md"
BODY = '{"type": "price_changes", "title": "牛奶"}'.encode()


def read_snippet():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(code, names)
    return names["is_genuine"]


def test_the_snippet_of_the_docs_accepts_a_message_and_refuses_a_changed_one():
    is_genuine, secret, now = read_snippet(), make_secret(), datetime.now(UTC)
    headers = make_headers([secret], "msg_1", now, BODY)
    assert is_genuine(secret, headers, BODY)
    assert not is_genuine(secret, headers, BODY + b" ")
    assert not is_genuine(make_secret(), headers, BODY)
    assert not is_genuine(secret, headers | {"webhook-id": "msg_2"}, BODY)
    later = str(int(time.time()) + 1)
    assert not is_genuine(secret, headers | {"webhook-timestamp": later}, BODY)


def test_a_message_signed_twice_is_genuine_by_either_secret():
    is_genuine, old, new = read_snippet(), make_secret(), make_secret()
    headers = make_headers([new, old], "msg_1", datetime.now(UTC), BODY)
    assert is_genuine(old, headers, BODY) and is_genuine(new, headers, BODY)
    assert not is_genuine(make_secret(), headers, BODY)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_an_old_message_is_refused(minutes):
    secret = make_secret()
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    assert not read_snippet()(secret, make_headers([secret], "msg_1", at, BODY), BODY)


def test_the_signature_is_that_of_standard_webhooks():
    """The example of the reference implementation of Standard Webhooks."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = make_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert len(base64.b64decode(make_secret().removeprefix("whsec_"))) == 32

"""Signing webhooks: the specification's own example, and what cannot sign."""

from __future__ import annotations

import pytest

from valetkey.errors import InsecureUrl, InvalidInput
from valetkey.values import Secret
from valetkey.vault.webhook import checked_secret, new_secret, signature, webhook_request

# The example of the specification and of its libraries' tests (standard-webhooks/standard-webhooks on GitHub).
SECRET = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
IDENTIFIER = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_signature_is_that_of_the_specifications_example():
    assert signature(SECRET, IDENTIFIER, TIMESTAMP, BODY) == SIGNATURE


def test_a_request_carries_the_three_headers_and_the_body_as_it_was_signed():
    request = webhook_request("https://example.com/hook", SECRET, IDENTIFIER, TIMESTAMP, BODY)
    assert (request.method, request.url, request.body) == ("POST", "https://example.com/hook", BODY)
    assert dict(request.headers) == {
        "content-type": "application/json",
        "webhook-id": IDENTIFIER,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/hook", "http://localhost/hook"])
def test_plain_http_is_for_loopback_alone(url):
    assert webhook_request(url, SECRET, IDENTIFIER, TIMESTAMP, BODY).url == url
    with pytest.raises(InsecureUrl):
        webhook_request("http://example.com/hook", SECRET, IDENTIFIER, TIMESTAMP, BODY)


def test_a_secret_that_is_made_can_sign():
    made = new_secret(bytes(range(32)))
    assert made.reveal() == "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert checked_secret(made) is made


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_not base64!", "whsec_" + "A" * 88],
)
def test_what_is_no_webhook_secret_is_refused_without_being_shown(text):
    with pytest.raises(InvalidInput) as caught:
        checked_secret(Secret(text))
    assert len(text) < 8 or text not in caught.value.explain()

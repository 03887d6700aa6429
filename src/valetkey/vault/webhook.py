"""Signed webhooks as Standard Webhooks wants them (https://www.standardwebhooks.com): headers, secret, signature.

Pure: the time and random bytes are arguments. What may not be here: when to send, and sending.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Final

from valetkey.errors import InvalidInput
from valetkey.values import Request, Secret, secure_url

PREFIX: Final = "whsec_"

SECRET_BYTES: Final = (24, 64)
"""The specification's least and most bytes of a secret, both of them allowed."""

SEND_SECONDS: Final = 15.0
"""The specification advises 15 to 30 seconds."""

ANSWER_LIMIT: Final = 1 << 16
"""What a receiver answers is not read further: only its status counts."""


def new_secret(drawn: bytes) -> Secret:
    """Return random bytes as a secret that both ends hold."""
    return Secret(PREFIX + b64encode(drawn).decode())


def checked_secret(secret: Secret) -> Secret:
    """Return a secret that can sign; raises InvalidInput."""
    _key(secret)
    return secret


def signature(secret: Secret, identifier: str, timestamp: int, body: bytes) -> str:
    """Return the value of webhook-signature: HMAC-SHA256 over identifier, timestamp and body, parted by dots."""
    signed = f"{identifier}.{timestamp}.".encode() + body
    return "v1," + b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def webhook_request(url: str, secret: Secret, identifier: str, timestamp: int, body: bytes) -> Request:
    """Return the request that tells a receiver; raises InvalidInput or InsecureUrl (plain http but for loopback)."""
    headers = {
        "content-type": "application/json",
        "webhook-id": identifier,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, identifier, timestamp, body),
    }
    checked = secure_url(url, "webhook's URL")
    return Request("POST", checked, headers, body, timeout=SEND_SECONDS, limit=ANSWER_LIMIT)


def _key(secret: Secret) -> bytes:
    text = secret.reveal()
    least, most = SECRET_BYTES
    try:
        key = b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or not least <= len(key) <= most:
        raise InvalidInput(
            "this is no webhook secret", fix=f"{PREFIX} and {least} to {most} bytes in base64; or let one be made"
        )
    return key

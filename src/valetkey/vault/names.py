"""The names of things: apps, connections, and the records that hold them.

What may not be here: I/O. Names stand in the clear in the store, in logs and in URLs, so they are narrow on purpose.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

from valetkey.errors import InvalidInput
from valetkey.values import Secret

APP_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?", re.ASCII)
"""A DNS label (63 octets, RFC 1035 section 2.3.4) and the underscore: safe in URLs, file names and shells."""

LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@+-]{0,126}[A-Za-z0-9])?", re.ASCII)
"""Room for an e-mail address; no slash, because a connection is named app/label."""

KEYRING: Final = "keyring"
APPS: Final = "app/"
CONNECTIONS: Final = "connection/"
PENDING: Final = "pending/"
NOTICES: Final = "notice/"
LISTENERS: Final = "notify/listeners"
PUBLISHED: Final = "publish/"
ROUNDS: Final = "schedule/"
SURVEY: Final = "schedule/forecasts"
AUDIT_KEY: Final = "audit/key"
RESEAL: Final = "keys/reseal"


REMEMBERED_NAMES: Final = 4096
"""Names of connections that were found right: looking at one takes as long as opening its box, for every token."""

PART_LIMIT: Final = 512
"""Most characters of a resource or audience: they are kept with the connection, one token each."""


def app_name(name: str) -> str:
    """Return `name` if an app can be called so; raises InvalidInput."""
    if not APP_NAME.fullmatch(name):
        raise InvalidInput(
            f"an app cannot be called {name[:80]!r}",
            fix="use 1 to 63 of a-z, 0-9, - and _, beginning and ending with a letter or digit",
        )
    return name


def split(connection: str) -> tuple[str, str]:
    """Return app and label of a connection's name; raises InvalidInput."""
    app, slash, label = connection.partition("/")
    if not slash or not LABEL.fullmatch(label):
        raise InvalidInput(
            f"a connection cannot be called {connection[:160]!r}",
            fix="write app/label, for example google/alice; a label has 1 to 128 of letters, digits and . _ @ + -",
        )
    return app_name(app), label


def app_record(name: str) -> str:
    """Return the name of an app's record."""
    return APPS + app_name(name)


@lru_cache(REMEMBERED_NAMES)
def connection_record(name: str) -> str:
    """Return the name of a connection's record; raises InvalidInput, every time: only what is right is remembered."""
    app, label = split(name)
    return f"{CONNECTIONS}{app}/{label}"


def notice_record(identifier: str, listener: str) -> str:
    """Return the name of the record of a notice that waits to be delivered to a listener."""
    return f"{NOTICES}{identifier}.{listener}"


def pending_record(state: Secret) -> str:
    """Return the name of a pending authorization's record: it is looked up by a secret, so it is named by its hash."""
    return PENDING + hashlib.sha256(b"valetkey pending\0" + state.reveal().encode()).hexdigest()


def part_of(part: str, resource: str, audience: str) -> str:
    """Return the name of the token that is wanted; raises InvalidInput for more than one wish, or a nameless one."""
    named = [word for word in (part, resource and f"resource={resource}", audience and f"audience={audience}") if word]
    if len(named) > 1 or "=" in part or any(len(word) > PART_LIMIT or not word.isprintable() for word in named):
        raise InvalidInput("this names no token of a connection", fix="give one of part, resource and audience")
    return named[0] if named else ""

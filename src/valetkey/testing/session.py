"""Who sits at the browser: cookie, login, and the guard on every form.

What may not be here: what the person decides about (authorize.py, device.py).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from valetkey.testing import pages, wire
from valetkey.testing.books import Session
from valetkey.testing.realm import Realm
from valetkey.testing.wire import Ask, Params
from valetkey.values import Response

NAME_LIMIT: Final = 64
"""Longest name of a user; it stands in pages and logs."""


def cookie_name(issuer: str) -> str:
    """Return the cookie's name: browsers share cookies between the ports of a host, so the port is in it."""
    return f"sandbox_session_{urlsplit(issuer).port or 0}"


def session_of(realm: Realm, ask: Ask) -> Session | None:
    """Return the browser's session, logged in or not, or None."""
    return realm.books.sessions.find(ask.cookies.get(cookie_name(realm.issuer), ""))


def signed_in(realm: Realm, ask: Ask, action: str, *, to: str = "", code: str = "") -> Session | Response:
    """Return the session of the person who is logged in, or the page or redirect that comes first.

    `action` is the address where the forms go and where a login leads back to; `to` is the client's redirect URI, and
    `code` is what the device shows that is to be connected.
    """
    session = session_of(realm, ask)
    if session is not None and session.user:
        ask.trace["user"] = session.user
        return session
    page = partial(pages.login, action, to=to, code=code)
    if ask.method == "POST" and session is not None:
        return _log_in(realm, ask, session, action, page)
    fresh, cookie = _open(realm, "")
    return page(fresh.csrf, cookie=cookie)


def _log_in(realm: Realm, ask: Ask, session: Session, action: str, page: Callable[..., Response]) -> Response:
    form = wire.read_form(ask)
    guard(session, form)
    name = form("login").strip()
    if not name or len(name) > NAME_LIMIT or not name.isprintable():
        return page(session.csrf, wrong=True)
    # A new session, so that whoever planted the old cookie does not come in with it.
    realm.books.sessions.drop(ask.cookies.get(cookie_name(realm.issuer), ""))
    _session, cookie = _open(realm, name)
    ask.trace.update(user=name, outcome="login")
    return wire.redirect(action, headers={"set-cookie": cookie})


def _open(realm: Realm, user: str) -> tuple[Session, str]:
    secret, session = realm.draw(""), Session(realm.draw(""), user)
    realm.books.sessions.put(secret, session)
    # Not Secure: plain http on loopback is what this server speaks.
    return session, f"{cookie_name(realm.issuer)}={secret}; Path=/; HttpOnly; SameSite=Lax"


def guard(session: Session, form: Params) -> None:
    """Raise RequestRefused unless the form came from one of our pages in this browser (RFC 6749 section 10.12)."""
    if not hmac.compare_digest(session.csrf.encode(), form("csrf").encode()):
        raise wire.refuse("invalid_request", "the form is not from this page; go back and load it again", status=403)

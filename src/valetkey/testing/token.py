"""The token endpoint: who asks, which grant, and the answer in the shape of the manner.

What may not be here: what a grant does (grants.py).
"""

from __future__ import annotations

from typing import Any

from valetkey.errors import RequestRefused
from valetkey.testing import wire
from valetkey.testing.grants import HANDLERS, by_assertion
from valetkey.testing.manner import Manner
from valetkey.testing.proof import prove
from valetkey.testing.realm import Realm
from valetkey.testing.wire import Ask, refuse
from valetkey.values import Response


def token(realm: Realm, ask: Ask) -> Response:
    """Answer POST /token."""
    try:
        members = _granted(realm, ask)
    except RequestRefused as refused:
        ask.trace["outcome"] = refused.code
        return refused_in(realm.manner, refused)
    return shaped(realm.manner, members)


def _granted(realm: Realm, ask: Ask) -> dict[str, Any]:
    form = wire.read_form(ask)
    short = ask.trace["grant"] = wire.GRANTS.get(form("grant_type"), "")
    if form.repeated:
        raise refuse("invalid_request", "a parameter occurs more than once")
    if short == "jwt_bearer":
        return by_assertion(realm, ask, form)
    client = prove(realm, ask, form)
    if not form("grant_type"):
        raise refuse("invalid_request", "grant_type is missing")
    if short not in HANDLERS:
        raise refuse("unsupported_grant_type", "this grant_type is not known here")
    if short not in client.grants:
        raise refuse("unauthorized_client", "this client may not use this grant_type")
    return HANDLERS[short](realm, client, ask, form)


def shaped(manner: Manner, members: dict[str, Any]) -> Response:
    """Answer with the members the way the provider does."""
    whole = {manner.nested: members} if manner.nested else dict(members)
    whole |= {"ok": True} if manner.errors == "ok_false" else {}
    whole |= dict(manner.answer_params)
    return wire.form(whole) if manner.answers == "form" else wire.json(whole)


def refused_in(manner: Manner, refused: RequestRefused) -> Response:
    """Answer with a refusal the way the provider does."""
    if manner.errors == "status":
        return wire.error(refused)
    told: dict[str, Any] = {"error": refused.code, "error_description": refused.message}
    told |= {"ok": False} if manner.errors == "ok_false" else {}
    return wire.form(told) if manner.answers == "form" else wire.json(told)

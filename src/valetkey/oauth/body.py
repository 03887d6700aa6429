"""Read the members of an answer: one JSON object, or a form, whatever its content type says.

What may not be here: what the members mean (reading.py, refusal.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, NoReturn
from urllib.parse import parse_qsl

from valetkey.errors import ClientRefused, ProviderError
from valetkey.oauth.plain import Members, first
from valetkey.oauth.refusal import bad_answer, refused, turned_away
from valetkey.providers.schema import Provider
from valetkey.values import Response, Secret

FIELD_LIMIT: Final = 200
"""Most parameters of a form-encoded answer; real ones have fewer than ten."""

_FORM: Final = re.compile(r"""[^\s<>{}\[\]"'=&]+=[^\s<>{}]*""")
"""What a form looks like, and neither HTML nor JSON nor prose does."""


def good_members(provider: Provider, response: Response, *, proof: str = "", sent: Iterable[Secret] = ()) -> Members:
    """Return the members of an answer that says yes; raises the ProviderError of one that says no.

    A 2xx answer that holds something at the path `proof` says yes even beside an `error` member, because
    throwing away a token that was issued may end the grant. No error repeats one of the secrets that were `sent`.
    """
    gone = turned_away(provider, response)
    if gone:
        raise gone
    fine = response.status // 100 == 2
    try:
        members = _members(provider, response)
    except ProviderError as unreadable:
        if response.status == 401:
            raise ClientRefused(f"{provider.name} does not accept the client (HTTP 401)", status=401) from unreadable
        raise
    if fine and not _says_no(provider, members, proof):
        return members
    raise refused(provider, response, members, sent)


def _says_no(provider: Provider, members: Members, proof: str) -> bool:
    answer = provider.answer
    if answer.ok and str(first(members, answer.ok)).lower() == "false":
        return True
    return bool(first(members, answer.error)) and not (proof and first(members, proof))


def _members(provider: Provider, response: Response) -> Members:
    found = _read(response.body)
    if isinstance(found, _Fault):
        raise bad_answer(provider.name, response, found.reason, found.why)
    return found


class _Fault(NamedTuple):
    """Be why a body is not one object; returned and not raised, so that no traceback leads to the text."""

    reason: str
    why: str


def _read(body: bytes) -> Members | _Fault:
    """Return the one object of the body, by its shape: content types lie more often than first characters."""
    try:
        text = body.decode("utf-8-sig").strip()
        if not text or text.startswith("<"):
            return _Fault("html", "it is a web page") if text else _Fault("empty", "it is empty")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=FIELD_LIMIT) if _FORM.fullmatch(text) else None
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse) if pairs is None else _once(pairs)
    except UnicodeDecodeError:
        return _Fault("not_utf8", "it is not UTF-8 text")
    except _TwiceError:
        return _Fault("duplicate", "it names a member twice")
    except RecursionError:
        return _Fault("too_deep", "it is nested deeper than any token answer")
    except ValueError:
        return _Fault("not_json", "it is neither JSON nor a form")
    return found if isinstance(found, Members) else _Fault("not_an_object", "it is JSON, but not an object")


class _TwiceError(ValueError):
    """Say that a member stands twice: which one counts would be a guess."""


def _once(pairs: list[tuple[str, Any]]) -> Members:
    members = Members(pairs)
    if len(members) != len(pairs):
        raise _TwiceError
    return members


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)

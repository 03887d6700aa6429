"""Errors as a person at a browser meets them: a page's worth of words, and the right HTTP status.

What may not be here: templates, routes. Nothing here is secret: it is made of errors, which hold none.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from valetkey.errors import (
    AlreadyExists,
    CallbackRefused,
    ConsentDenied,
    NotFound,
    ProviderError,
    ProviderTimeout,
    UsageError,
    ValetkeyError,
    VaultError,
    Weather,
)

STATUS_OF_CODE: Final = {
    "form_not_ours": 403,
    "state_not_yours": 403,
    "state_used": 409,
    "state_expired": 410,
    "too_many_begun": 429,
}

STATUS_OF_KIND: Final[tuple[tuple[type[ValetkeyError], int], ...]] = (
    (CallbackRefused, 400),
    (ConsentDenied, 403),
    (NotFound, 404),
    (AlreadyExists, 409),
    (UsageError, 400),
    (ProviderTimeout, 504),
    (Weather, 503),
    (ProviderError, 502),  # the provider refused us, not the person at the browser
    (VaultError, 503),
)
"""The first that fits."""

KEPT_MOST: Final = 1000
"""Results that wait for their page; a browser fetches its own within the second."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Be how something ended, as a page shows it; `connection` is its name where one came of it."""

    title: str
    status: int = 200
    connection: str = ""
    scopes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    code: str = ""
    message: str = ""
    cause: str = ""
    fix: str = ""
    again: str = ""


def status_of(error: ValetkeyError) -> int:
    """Return the HTTP status of an error."""
    told = STATUS_OF_CODE.get(error.code)
    return told or next((status for kind, status in STATUS_OF_KIND if isinstance(error, kind)), 500)


def outcome_of(error: ValetkeyError, title: str, *, again: str = "") -> Outcome:
    """Return an error as a page's words; `again` is the path at which to try again."""
    return Outcome(
        title=title,
        status=status_of(error),
        code=error.code,
        message=error.message,
        cause=error.cause,
        fix=error.fix,
        again=again,
    )


class Outcomes:
    """Keep results for the browsers they belong to, from the redirect to the page that shows them.

    In the memory of this process: with several behind one name, the page may be another's, which then says less.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Outcome] = OrderedDict()

    def put(self, place: str, outcome: Outcome) -> None:
        """Keep a result in place of the last one."""
        self._kept[place] = outcome
        self._kept.move_to_end(place)
        while len(self._kept) > KEPT_MOST:
            self._kept.popitem(last=False)

    def get(self, place: str) -> Outcome | None:
        """Return the last result of a browser; it stays, so that the page can be loaded again."""
        return self._kept.get(place)

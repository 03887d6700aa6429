"""On whose behalf the running code acts, for the log: an API key or an operator, and the request it came with.

A face that serves others says so around its work; it holds for what that work starts, on other threads too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Who:
    """Be who asks, as `sort:name` (api:billing, operator:alice), and the id of the request."""

    actor: str = ""
    request: str = ""


WHO: Final[ContextVar[Who | None]] = ContextVar("valetkey_who", default=None)


@contextmanager
def acting(actor: str = "", *, request: str = "") -> Iterator[None]:
    """Say in the audit log that what happens within was asked by `actor` in `request`; neither may hold a secret."""
    token = WHO.set(Who(actor, request))
    try:
        yield
    finally:
        WHO.reset(token)

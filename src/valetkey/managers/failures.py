"""The two errors of secret managers, made with the evidence that nothing reached a provider.

What may not be here: any manager's own statuses and codes (hashicorp.py, aws.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from valetkey.errors import Fact, ManagerRefused, ManagerUnavailable
from valetkey.values import EMPTY


def refused(
    message: str, facts: Mapping[str, Fact] = EMPTY, *, code: str = "", cause: str = "", fix: str = ""
) -> ManagerRefused:
    """Return the error for what asking again will not change."""
    return ManagerRefused(message, code=code, cause=cause, fix=fix, **{"sent": False, **facts})


def unavailable(
    message: str, facts: Mapping[str, Fact] = EMPTY, *, code: str = "", cause: str = "", fix: str = ""
) -> ManagerUnavailable:
    """Return the error for what passes by itself."""
    return ManagerUnavailable(message, code=code, cause=cause, fix=fix, **{"sent": False, **facts})

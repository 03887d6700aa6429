"""What the first page shows. What may not be here: HTML, and opening more records than a page has room for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

from valetkey.vault.keeper import Keeper
from valetkey.vault.views import AppInfo, ConnectionInfo

CONNECTIONS_SHOWN: Final = 200
"""Each is a record to open; the counts come from the states in the clear, however many there are."""

APPS_SHOWN: Final = 500


@dataclass(frozen=True, slots=True)
class Overview:
    """Be what the first page shows; `more` says that there are connections it does not."""

    states: dict[str, int]
    connections: list[ConnectionInfo]
    more: bool
    apps: list[AppInfo]


def overview(keeper: Keeper) -> Overview:
    """Look at a vault; blocks."""
    connections = list(islice(keeper.connections(), CONNECTIONS_SHOWN + 1))
    return Overview(
        states=keeper.states(),
        connections=connections[:CONNECTIONS_SHOWN],
        more=len(connections) > CONNECTIONS_SHOWN,
        apps=list(islice(keeper.apps(), APPS_SHOWN)),
    )

"""By which grant an app is connected where nobody says: as it was before, as the app says, else the best way it can.

What may not be here: doing it (connect.py, device.py), and imports that cost: help shows the grants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from valetkey.errors import InvalidInput

if TYPE_CHECKING:
    from valetkey.providers.schema import GrantName
    from valetkey.vault.views import AppInfo, ConnectionInfo

GRANTS: Final = ("authorization_code", "device_code", "client_credentials", "jwt_bearer")
"""What can be connected, the best first: a person's consent goes before the app's own power."""


def usual_way(app: AppInfo, before: ConnectionInfo | None) -> GrantName:
    """Return how to connect where nobody says: as the connection was before, else as the app says, else the best way.

    A machine's connection that is connected again opens no browser.
    """
    usable = usable_grants(app)
    return next((grant for grant in usable if before is not None and grant == before.grant), usable[0])


def usable_grants(app: AppInfo) -> Sequence[GrantName]:
    """Return the grants an app can use, the best first; raises InvalidInput if there is none."""
    provider = app.description
    needs = {"authorization_code": provider.endpoints.authorize, "device_code": provider.endpoints.device}
    found = [grant for grant in provider.grants if grant in GRANTS and needs.get(grant, "there")]
    order = {grant: place for place, grant in enumerate(GRANTS)}
    found.sort(key=lambda grant: order[grant])
    if app.has_private_key and not app.has_secret and app.token_auth != "private_key_jwt" and "jwt_bearer" in found:
        found.remove("jwt_bearer")
        found.insert(0, "jwt_bearer")  # the key is for nothing else
    if not app.has_private_key and "jwt_bearer" in found:
        found.remove("jwt_bearer")
    if app.token_auth == "none" and "client_credentials" in found:
        found.remove("client_credentials")  # of clients that prove themselves alone (RFC 6749 section 4.4)
    if app.grant is not None:
        return [app.grant, *(grant for grant in found if grant != app.grant)]
    if not found:
        raise InvalidInput(
            f"app {app.name} has no way to connect",
            cause=f"the description of {provider.name} names no endpoint that this app could use",
            fix=f"look at `valetkey app show {app.name}`; `valetkey app add {app.name} --replace` corrects it, by "
            "--authorize-url or --device-url for a person, by a secret or key for a machine",
        )
    return found

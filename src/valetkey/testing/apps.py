"""The sandbox's clients as a vault's apps, so that a vault can connect to it. What may not be here: opening a vault."""

from __future__ import annotations

import msgspec

from valetkey.providers.schema import Provider
from valetkey.testing.sandbox import Sandbox
from valetkey.vault.records import App

PERSON = ("authorization_code", "device_code")
MACHINE = ("client_credentials",)


def sandbox_apps(sandbox: Sandbox) -> tuple[App, ...]:
    """Return the apps `sandbox` (confidential), `sandbox-cli` (public) and `sandbox-machine` of a started sandbox."""
    whole = sandbox.provider()
    person = msgspec.structs.replace(whole, grants=list(PERSON))
    endpoints = msgspec.structs.replace(whole.endpoints, authorize="", device="")
    machine = msgspec.structs.replace(
        whole, grants=list(MACHINE), endpoints=endpoints, scopes=[], client_credentials_scopes=["read"]
    )
    return (
        _app(sandbox, "sandbox", "sandbox-web", person),
        _app(sandbox, "sandbox-cli", "sandbox-cli", person),
        _app(sandbox, "sandbox-machine", "sandbox-machine", machine),
    )


def _app(sandbox: Sandbox, name: str, client_id: str, provider: Provider) -> App:
    secret = sandbox.clients[client_id].secret
    return App(
        name=name,
        provider=provider.key,
        client_id=client_id,
        created_at=0.0,  # the vault writes the time at which it is added
        secret=secret,
        described=provider,
        token_auth=None if secret is not None else "none",
    )

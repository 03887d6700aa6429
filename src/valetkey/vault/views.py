"""What people and programs may see of apps and connections: everything but the secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from valetkey.errors import ValetkeyError
from valetkey.providers.schema import GrantName, Provider
from valetkey.values import Scopes, Token
from valetkey.vault.desk import fingerprint, method_of
from valetkey.vault.forecast import Drift, Forecast, drift_of, forecasts_of
from valetkey.vault.records import App, Connection, TokenSet


class Validity:
    """Be how long a credential may be used without asking for it again: `until`, in seconds of time.monotonic()."""

    __slots__ = ("until",)

    def __init__(self, until: float = 0.0) -> None:
        self.until = until

    def end(self) -> None:
        """Let nobody use it without asking any more."""
        self.until = 0.0


@dataclass(frozen=True, slots=True)
class Credential:
    """Be all that is needed to put a token on a request: the token, where it may go, and how it is written."""

    token: Token
    hosts: tuple[str, ...] = ()
    scheme: str = "Bearer"
    headers: Mapping[str, str] = field(default_factory=dict)
    told: Callable[[Token, str, str], None] = field(
        default=lambda _token, _host, _reason: None, repr=False, compare=False
    )
    """Told of each host that a token was put on a request to, or with a reason, why it was not."""
    again: Callable[[str], Callable[[], object] | None] = field(default=lambda _host: None, repr=False, compare=False)
    """Give, for a host of which was told, what counts that this token went there once more, on nobody's behalf
    (audit/who.py); None where it must be told each time."""
    validity: Validity = field(default_factory=Validity, init=False, repr=False, compare=False)
    """Until when injectors may use it without asking for it again: never, unless its source says so. A copy that was
    made with dataclasses.replace has one of its own."""


@dataclass(frozen=True, slots=True)
class PartInfo:
    """Be another token of a connection as it may be shown: one for another API, or another person's."""

    name: str
    granted: Scopes
    obtained_at: datetime | None
    expires_at: datetime | None
    fingerprint: str

    def to_dict(self) -> dict[str, object]:
        """Return it for programs: JSON types only."""
        times = {"obtained_at": self.obtained_at, "expires_at": self.expires_at}
        shown = {name: None if at is None else at.isoformat(timespec="seconds") for name, at in times.items()}
        return {"name": self.name, "granted": list(self.granted), **shown, "fingerprint": self.fingerprint}


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """Be a connection as it may be shown. Times are aware, UTC; None where there is none."""

    name: str
    app: str
    provider: str
    grant: str
    state: str
    asked: Scopes
    granted: Scopes
    created_at: datetime | None
    refreshed_at: datetime | None
    expires_at: datetime | None
    refresh_expires_at: datetime | None
    renewable: bool
    refreshes: int
    rotates: bool | None
    hosts: tuple[str, ...]
    kept: Mapping[str, str]
    trouble: Mapping[str, str | int] | None
    access_fingerprint: str
    refresh_fingerprint: str
    forecasts: tuple[Forecast, ...] = ()
    drift: tuple[Drift, ...] = ()
    parts: tuple[PartInfo, ...] = ()
    secret_ref: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return the connection for programs: JSON types only."""
        shown: dict[str, object] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, datetime):
                value = value.isoformat(timespec="seconds")
            elif isinstance(value, tuple):
                value = [one.to_dict() if isinstance(one, Forecast | Drift | PartInfo) else one for one in value]
            elif isinstance(value, Mapping):
                value = dict(value)
            shown[name] = value
        return shown


@dataclass(frozen=True, slots=True)
class AppInfo:
    """Be an app as it may be shown."""

    name: str
    provider: str
    client_id: str
    token_auth: str
    has_secret: bool
    has_private_key: bool
    redirect_uri: str
    scopes: Scopes
    hosts: tuple[str, ...]
    params: Mapping[str, str]
    created_at: datetime
    description: Provider
    secret_expires_at: datetime | None = None
    testing: bool | None = None
    secret_ref: str = ""
    private_key_ref: str = ""
    grant: GrantName | None = None
    own_scopes: Scopes = field(default_factory=Scopes)
    """What it asks for itself; `scopes` are those usual at the provider where it says nothing."""

    def to_dict(self) -> dict[str, object]:
        """Return the app for programs: JSON types only."""
        shown: dict[str, object] = {
            name: getattr(self, name)
            for name in ("name", "provider", "client_id", "token_auth", "has_secret", "has_private_key", "redirect_uri")
        }
        shown |= {"scopes": list(self.scopes), "hosts": list(self.hosts), "params": dict(self.params)}
        shown["created_at"] = self.created_at.isoformat(timespec="seconds")
        shown["secret_expires_at"] = self.secret_expires_at.isoformat() if self.secret_expires_at is not None else None
        shown["testing"] = self.testing
        shown |= {"secret_ref": self.secret_ref, "private_key_ref": self.private_key_ref, "grant": self.grant}
        shown["endpoints"] = msgspec.to_builtins(self.description.endpoints)
        return shown


def _at(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def app_info(app: App, provider: Provider) -> AppInfo:
    """Return an app as it may be shown; hosts that only a connection's own answer names are not known yet."""
    told = [*app.hosts, *provider.api.hosts]
    return AppInfo(
        name=app.name,
        provider=app.provider,
        client_id=app.client_id,
        token_auth=method_of(app, provider),
        has_secret=app.secret is not None or bool(app.secret_ref),
        has_private_key=app.private_key is not None or bool(app.private_key_ref),
        redirect_uri=app.redirect_uri,
        scopes=Scopes(app.scopes or provider.scopes),
        hosts=_bound(told, provider) if told or not provider.api.hosts_from else (),
        params=app.params,
        created_at=datetime.fromtimestamp(app.created_at, UTC),
        description=provider,
        secret_expires_at=_at(app.secret_expires_at),
        testing=app.testing,
        secret_ref=app.secret_ref,
        private_key_ref=app.private_key_ref,
        grant=app.grant,
        own_scopes=Scopes(app.scopes),
    )


def connection_info(connection: Connection, app: App | None, provider: Provider | None, now: float) -> ConnectionInfo:
    """Return a connection as it may be shown; app and provider are None where they cannot be read any more."""
    tokens = connection.tokens
    return ConnectionInfo(
        name=connection.name,
        app=connection.app,
        provider=app.provider if app is not None else "",
        grant=connection.grant,
        state=connection.state(now),
        asked=Scopes(connection.asked.scopes),
        granted=Scopes(tokens.scopes if tokens is not None else ()),
        created_at=datetime.fromtimestamp(connection.created_at, UTC),
        refreshed_at=_at(connection.refreshed_at),
        expires_at=_at(tokens.expires_at if tokens is not None else None),
        refresh_expires_at=_at(tokens.refresh_expires_at if tokens is not None else None),
        renewable=connection.grant in {"client_credentials", "jwt_bearer"} or bool(tokens and tokens.refresh),
        refreshes=max(0, connection.generation - 1),
        rotates=connection.rotates,
        hosts=hosts_of(connection, app, provider) if app is not None and provider is not None else connection.hosts,
        kept=dict(connection.kept),
        trouble=_trouble(connection),
        access_fingerprint=fingerprint(tokens.access if tokens is not None else None),
        refresh_fingerprint=fingerprint(tokens.refresh if tokens is not None else None),
        secret_ref=app.secret_ref or app.private_key_ref if app is not None else "",
        forecasts=tuple(forecasts_of(connection, app, provider, now))
        if app is not None and provider is not None
        else (),
        drift=tuple(drift_of(connection, provider)) if provider is not None else (),
        parts=tuple(_part_info(name, tokens) for name, tokens in sorted(connection.parts.items())),
    )


def _part_info(name: str, tokens: TokenSet) -> PartInfo:
    scopes, ends = Scopes(tokens.scopes), _at(tokens.expires_at)
    return PartInfo(name, scopes, _at(tokens.obtained_at), ends, fingerprint(tokens.access))


def damaged_info(name: str, damage: ValetkeyError) -> ConnectionInfo:
    """Return what can be shown of a connection whose record does not open: its name, and why."""
    told = {"code": damage.code, "message": damage.message, "cause": damage.cause, "fix": damage.fix}
    return ConnectionInfo(
        name=name,
        app=name.partition("/")[0],
        provider="",
        grant="",
        state="damaged",
        asked=Scopes(),
        granted=Scopes(),
        created_at=None,
        refreshed_at=None,
        expires_at=None,
        refresh_expires_at=None,
        renewable=False,
        refreshes=0,
        rotates=None,
        hosts=(),
        kept={},
        trouble={word: text for word, text in told.items() if text},
        access_fingerprint="",
        refresh_fingerprint="",
    )


def _trouble(connection: Connection) -> Mapping[str, str | int] | None:
    trouble = connection.trouble
    if trouble is None:
        return None
    texts: dict[str, Any] = {"code": trouble.code, "message": trouble.message, "reason": trouble.reason}
    texts |= {"cause": trouble.cause, "fix": trouble.fix, "failures": trouble.failures}
    texts["since"] = datetime.fromtimestamp(trouble.at, UTC).isoformat(timespec="seconds")
    return {name: text for name, text in texts.items() if text}


def hosts_of(connection: Connection, app: App, provider: Provider) -> tuple[str, ...]:
    """Return where a connection's token may go: its own hosts, the app's, the provider's, and learned ones.

    Where nothing is said at all, the host of the token endpoint: small servers have their API beside it.
    """
    told = [*connection.hosts, *app.hosts, *provider.api.hosts]
    for member in provider.api.hosts_from:
        learned = connection.kept.get(member, "")
        told.append(urlsplit(learned).netloc.rpartition("@")[2] if "//" in learned else learned)
    return _bound(told, provider)


def _bound(told: Iterable[str], provider: Provider) -> tuple[str, ...]:
    hosts = tuple(dict.fromkeys(host.lower() for host in told if host))
    return hosts or (urlsplit(provider.endpoints.token).netloc.rpartition("@")[2].lower(),)

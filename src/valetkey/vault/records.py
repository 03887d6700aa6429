"""What a vault remembers: apps, connections, pending authorizations. Each is sealed whole; nothing here is I/O.

Times inside records are seconds since the epoch (UTC), because they are compared on every token handed out.
Stored bytes begin with a version, so that a later valetkey can read what this one wrote:

    version (1) | length of the head (2) | head | the record, in MessagePack

The head of a connection says what a fresh token's caller needs (quick.py), so that it can be read without a decoder.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec

from valetkey.errors import VaultDamaged, VaultUnreadable
from valetkey.providers.schema import GrantName, Provider, TokenAuth
from valetkey.values import Secret
from valetkey.vault.layout import LAYOUT, RECORD_VERSION
from valetkey.vault.staged import Staged

State = Literal["pending", "active", "failing", "ambiguous", "needs_reconnect", "revoked"]

PERSON_GRANTS: Final = frozenset({"authorization_code", "device_code"})
"""Grants that need a person again when their refresh token is gone."""


class TokenSet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be what a token answer gave (RFC 6749 section 5.1)."""

    access: Secret
    obtained_at: float
    kind: str = "Bearer"
    expires_at: float | None = None
    refresh: Secret | None = None
    refresh_expires_at: float | None = None
    scopes: tuple[str, ...] = ()
    id_token: Secret | None = None


class Lease(msgspec.Struct, frozen=True):
    """Be the right to renew a connection, for a time. It is for efficiency and never the last word: versions are."""

    owner: str
    until: float


class Intent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Say durably, before it is sent, that a refresh token is about to be spent.

    `fingerprint` is of the refresh token (empty where none is spent). `fate` is what became of it: open while nobody
    knows, otherwise why the answer is not known.
    """

    attempt: str
    fingerprint: str
    started_at: float
    fate: Literal["open", "answer_lost", "server_error", "bad_answer"] = "open"


class Trouble(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be the last failure: `grant` is for good, `client` is our configuration, `weather` passes."""

    sort: Literal["grant", "client", "weather"]
    code: str
    message: str
    at: float
    part: str = ""  # whose refresh token it was: the connection's own, or that of a part with one of its own
    reason: str = ""
    cause: str = ""
    fix: str = ""
    failures: int = 1
    retry_at: float = 0.0


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be what a connection was asked for, so that asking again asks the same."""

    scopes: tuple[str, ...] = ()
    audience: str = ""
    resource: tuple[str, ...] = ()
    extra: dict[str, str] = {}
    subject: str = ""  # whom a JWT bearer assertion speaks for
    named: bool = False  # the scopes: by who connected, and not by the app or the provider


TARGETS: Final = ("resource=", "audience=")
"""Parts that are asked for with the connection's own refresh token, each for another API."""


def owner_of(part: str) -> str:
    """Return whose refresh token renews a part."""
    return "" if part.startswith(TARGETS) else part


class Connection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be one grant: its tokens, and what is going on with them."""

    app: str
    label: str
    grant: GrantName
    created_at: float
    asked: Asked = Asked()
    tokens: TokenSet | None = None
    parts: dict[str, TokenSet] = {}  # other tokens of the grant: "user" (Slack), "resource=https://…" (Microsoft)
    kept: dict[str, str] = {}
    hosts: tuple[str, ...] = ()
    lease: Lease | None = None
    intent: Intent | None = None
    trouble: Trouble | None = None
    revoked_at: float = 0.0
    refreshed_at: float = 0.0
    generation: int = 0  # how often tokens were obtained
    spent: str = ""  # fingerprint of the refresh token that was spent last, for what was saved with it
    spent_part: str = ""  # whose refresh token that was
    spent_for: str = ""  # which of its tokens it renewed: that part, or one of several targets
    rotates: bool | None = None  # learned from answers; None: not seen yet
    idle: float = 0.0  # seconds after which an unused refresh token dies; 0: not known to
    margin: float = 0.0  # the provider's own margin in seconds, as it was when the tokens came; 0: the general rule
    consented_at: float = 0.0  # when the grant was made; 0: when the connection was
    first_end: float | None = None  # when the provider said, at consent, that the refresh token would end
    told: Literal["", "failing", "needs_reconnect"] = ""  # what those who listen were told last

    @property
    def name(self) -> str:
        """Return app/label."""
        return f"{self.app}/{self.label}"

    def held(self, part: str) -> TokenSet | None:
        """Return the tokens of a part, or the connection's own (the empty part)."""
        return self.parts.get(part) if part else self.tokens

    def refresh_token(self, part: str) -> Secret | None:
        """Return the refresh token that renews a part: its own, or the connection's for one of several targets."""
        holder = self.held(owner_of(part))
        return holder.refresh if holder is not None else None

    def state(self, now: float) -> State:
        """Return the one word that says how the connection is."""
        if self.revoked_at:
            return "revoked"
        if self.trouble is not None and self.trouble.sort == "grant":
            return "needs_reconnect"
        if self.intent is not None and self.intent.fingerprint and (self.lease is None or now >= self.lease.until):
            return "ambiguous"
        if self.trouble is not None:
            return "failing"
        return "active" if self.tokens is not None else "pending"


class App(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be a registration at a provider.

    `provider` is a key of the catalogue; `described` is the whole description where the catalogue has none
    (generic and discovered providers, the sandbox).
    """

    name: str
    provider: str
    client_id: str
    created_at: float
    secret: Secret | None = None
    described: Provider | None = None
    params: dict[str, str] = {}
    token_auth: TokenAuth | None = None
    private_key: Secret | None = None  # PEM or JWK, for private_key_jwt and the JWT bearer grant
    key_alg: str = ""
    key_id: str = ""
    redirect_uri: str = ""
    scopes: tuple[str, ...] = ()
    audience: str = ""
    hosts: tuple[str, ...] = ()
    authorize_params: dict[str, str] = {}
    staged: Staged | None = None  # the other secret, while secrets are being changed (rotation.py)
    secret_since: float = 0.0  # when the secret in use was given; 0: with the app
    secret_expires_at: float | None = None  # when the provider ends the client secret, as a person has told us
    testing: bool | None = None  # whether the app is still in testing at the provider; None: nobody has said
    secret_ref: str = ""  # where the client secret is kept instead of here (managers/reference.py)
    private_key_ref: str = ""
    grant: GrantName | None = None  # how it is to be connected, where the provider has several ways


class Pending(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be an authorization that a person has been sent away to give. Good once, for a while, where it was started.

    `binding` is the SHA-256 of a secret that only the starter holds (a cookie, or the terminal's memory).
    """

    app: str
    label: str
    redirect_uri: str
    binding: str
    started_at: float
    expires_at: float
    state: Secret
    verifier: Secret | None = None
    asked: Asked = Asked()
    hosts: tuple[str, ...] = ()
    used_at: float = 0.0


class Canary(msgspec.Struct, frozen=True):
    """Be the record that a right key opens."""

    says: str = "valetkey"


R = TypeVar("R", bound=msgspec.Struct)


def _encode_secret(value: object) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError


def _decode_secret(kind: type[Any], value: object) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise TypeError("not a secret")  # the decoder makes it one of its own errors


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_encode_secret)
_DECODERS: Final[dict[type[Any], msgspec.msgpack.Decoder[Any]]] = {}


def stored_as(kind: type[R]) -> type[R]:
    """Make a Struct a kind of record.

    On import, by one thread: msgspec lays Structs out on first use, and two threads at once crash (schema.py).
    """
    _DECODERS[kind] = msgspec.msgpack.Decoder(kind, dec_hook=_decode_secret)
    return kind


for _kind in (App, Connection, Pending, Canary):
    stored_as(_kind)


def to_bytes(record: msgspec.Struct, head: bytes = b"") -> bytes:
    """Return a record as bytes, to be sealed at once."""
    return LAYOUT.pack(RECORD_VERSION, len(head)) + head + _ENCODER.encode(record)


def from_bytes(kind: type[R], name: str, stored: bytes) -> R:
    """Read a record back; raises VaultUnreadable for a later version, VaultDamaged for bytes that are no record."""
    if len(stored) < LAYOUT.size or stored[0] != RECORD_VERSION:
        raise VaultUnreadable(
            f"record {name} was written by a later valetkey", fix="use the newest valetkey that used this vault"
        )
    _version, head = LAYOUT.unpack_from(stored)
    written = stored[LAYOUT.size + head :]
    try:
        record: R = _decode(kind, written)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # The decoder's own words could quote what it read.
        raise VaultDamaged(f"record {name} opens, but is not a {kind.__name__.lower()}") from None
    return record


def _decode(kind: type[Any], written: bytes) -> Any:
    try:
        return _DECODERS[kind].decode(written)
    except msgspec.ValidationError:
        if kind is not App:
            raise
        # A later valetkey may know more of a provider than we: the schema refuses what it does not know, because it is
        # strict with files that people write. Here it is left out, so that two versions can share a vault.
        told = msgspec.msgpack.decode(written)
        return msgspec.convert(_known(App, told), App, dec_hook=_decode_secret)


def _known(kind: Any, told: Any) -> Any:
    """Return what was told without the members of Structs that this version does not know, at any depth."""
    inner = [part for part in get_args(kind) if part is not type(None)]
    if isinstance(told, dict) and get_origin(kind) is dict:
        return {name: _known(inner[1], value) for name, value in told.items()}
    if isinstance(told, list) and get_origin(kind) is list:
        return [_known(inner[0], value) for value in told]
    struct = next((part for part in (kind, *inner) if _is_struct(part)), None)
    if isinstance(told, dict) and struct is not None:
        kinds = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
        return {name: _known(kinds[name], value) for name, value in told.items() if name in kinds}
    return told


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)

"""Every error, each with a stable code, a cause and a fix.

    ValetkeyError
    ├── UsageError                 you asked for something that cannot be
    │   ├── InvalidInput             invalid_input        a name, URL, option or file that cannot be read as one
    │   ├── NotFound                 not_found            no such app, connection, provider, key
    │   ├── AlreadyExists            already_exists
    │   ├── InsecureUrl              insecure_url         http:// where it is not loopback
    │   ├── KeyRefused               key_refused          not a usable key (.reason from a fixed list)
    │   └── CallbackRefused          what came back to the redirect URI is not for us (.code says which)
    │                                state_missing, state_unknown, state_used, state_expired, state_not_yours,
    │                                issuer_missing, issuer_mismatch, code_missing, invalid_callback
    ├── ProviderError              they said no; itself: blocked_address, where only public addresses may be asked
    │   ├── ConsentDenied            access_denied        a person pressed "deny"
    │   ├── GrantRefused             invalid_grant        for good: a person must consent again
    │   ├── ClientRefused            invalid_client       our registration is wrong; the grant is not spent
    │   ├── RequestRefused           the provider's own code: invalid_scope, redirect_uri_mismatch, …
    │   ├── InsufficientScope        insufficient_scope
    │   ├── AuthorizationPending     authorization_pending, slow_down: the device flow waits for a person
    │   ├── BadAnswer                bad_answer           HTML, too large, not JSON, no token in it
    │   ├── ManagerRefused           manager_refused, manager_secret_missing: by a secret manager, not the provider
    │   └── Weather                  temporary: try again later
    │       ├── ProviderUnavailable    provider_unavailable   5xx, 429, refused or dropped connections
    │       ├── ProviderTimeout        provider_timeout
    │       ├── TlsFailed              tls_failed
    │       └── ManagerUnavailable     manager_unavailable, manager_sealed, manager_throttled
    ├── ConnectionUnusable         the connection is in no state to give a token
    │   ├── NotConnected             not_connected        nobody consented yet
    │   ├── NeedsReconnect           needs_reconnect      .reason says why
    │   └── Revoked                  revoked
    ├── VaultError                 the vault itself
    │   ├── VaultMissing             vault_missing
    │   ├── VaultClosed              vault_closed         asked after close(), or behind its `with` block
    │   ├── VaultUnreadable          vault_unreadable     permissions, not a vault, a newer format
    │   ├── KeyMissing               key_missing          the vault is there, its key is not
    │   ├── WrongKey                 wrong_key            refused before anything is written
    │   ├── VaultDamaged             vault_damaged        the right key does not open a record
    │   ├── AuditBroken              audit_broken         the audit log was changed (.evidence["reason"], a fixed list)
    │   └── StoreUnavailable         store_unavailable    locked, disk full, connection lost
    └── TokenRefused               a JWT that is not to be trusted (.reason from a fixed list, see jose/)

`code` is for programs and never changes. `str(error)` is one line for people; `explain()` and tracebacks add cause and
fix.
No message holds a secret: evidence is names, codes, lengths and fingerprints.
What may not be here: imports of other rooms; and the root, which is how errors are made and shown (failure.py).
"""

from __future__ import annotations

from typing import Final

from valetkey.failure import Fact as Fact  # noqa: PLC0414  # everybody imports the root from here too
from valetkey.failure import ValetkeyError as ValetkeyError  # noqa: PLC0414  # as above

PROVIDER_TEXT_LIMIT: Final = 300
"""Longest text of a provider that we repeat; RFC 6749 names no limit, and some send a page of HTML."""


# ── you did wrong ─────────────────────────────────────────────────────────────────────────────────────────────


class UsageError(ValetkeyError):
    """Say that the request itself cannot be met, whatever the world does."""

    code = "usage"
    exit_code = 2


class InvalidInput(UsageError):
    """Say that a name, URL, option or file cannot be read as one."""

    code = "invalid_input"


class NotFound(UsageError):
    """Say that nothing has this name."""

    code = "not_found"
    exit_code = 3


class AlreadyExists(UsageError):
    """Say that the name is taken."""

    code = "already_exists"


class InsecureUrl(UsageError):
    """Refuse plain http where it is not loopback (RFC 6749 section 3.1.2.1, RFC 8252 section 8.3)."""

    code = "insecure_url"
    cause = "secrets and tokens would cross the network unencrypted"
    fix = "use the https:// address; plain http is accepted only for 127.0.0.1, [::1] and localhost"


class KeyRefused(UsageError):
    """Say that this is not a usable key; `reason` is one of jose's fixed list."""

    code = "key_refused"

    @property
    def reason(self) -> str:
        """Return the stable word for why."""
        return str(self.evidence.get("reason", "key_invalid"))


class CallbackRefused(UsageError):
    """Refuse what came back to the redirect URI; `code` says which check failed (RFC 6749 section 10.12, RFC 9207)."""

    code = "invalid_callback"
    exit_code = 4
    fix = "start again with `valetkey connect`; a link is good once, for ten minutes, where it was started"


# ── they said no ──────────────────────────────────────────────────────────────────────────────────────────────


class ProviderError(ValetkeyError):
    """Say what the provider answered. `status` is its HTTP status, `description` its own words, shortened."""

    code = "provider_error"
    exit_code = 5

    @property
    def status(self) -> int:
        """Return the HTTP status of the answer, 0 if there was none."""
        return int(self.evidence.get("status", 0))

    @property
    def description(self) -> str:
        """Return the provider's own words, shortened."""
        return str(self.evidence.get("description", ""))[:PROVIDER_TEXT_LIMIT]


class ConsentDenied(ProviderError):
    """Say that the person, or a policy of the provider, declined (RFC 6749 section 4.1.2.1)."""

    code = "access_denied"
    exit_code = 4
    cause = "the person pressed deny, or the provider's policy does not let this app ask"
    fix = "connect again and allow it; if the page showed no choice, ask the account's administrator to approve the app"


class GrantRefused(ProviderError):
    """Say that the grant is gone for good: expired, revoked, rotated away, or used twice (RFC 6749 section 5.2)."""

    code = "invalid_grant"
    exit_code = 4
    cause = "the code or refresh token was expired, revoked, already used, or issued to another client"
    fix = "connect again: the connection keeps its name, so no workflow changes"


class ClientRefused(ProviderError):
    """Say that the provider does not know this client or its secret; the grant was not spent (RFC 6749 section 5.2)."""

    code = "invalid_client"
    cause = "the client id or secret is wrong, has expired, or is sent in a way this provider does not take"
    fix = (
        "check id and secret in the provider's console; give another secret with `valetkey app secret stage APP` and "
        "`promote`, another id with `valetkey app add APP --replace --client-id ID`; connections stay"
    )


class RequestRefused(ProviderError):
    """Carry any other refusal under the provider's own code (invalid_scope, …).

    `code_withheld` stands for a code that is not repeated: too long for one, or with something like a secret in it.
    Where it is one that says something else of ours, such as not_found, the code is request_refused, and
    `provider_code` in the evidence is theirs.
    """

    code = "request_refused"


class InsufficientScope(ProviderError):
    """Say which scopes the connection lacks (RFC 6750 section 3.1)."""

    code = "insufficient_scope"
    exit_code = 4


class AuthorizationPending(ProviderError):
    """Say that the person has not finished yet; `code` is authorization_pending or slow_down (RFC 8628 section 3.5)."""

    code = "authorization_pending"


class BadAnswer(ProviderError):
    """Say that the answer cannot be read: HTML, too large, not JSON, or no token in it."""

    code = "bad_answer"
    cause = "the URL is not the provider's token endpoint, or a proxy or login page stands in between"
    fix = "compare the URLs of `valetkey provider show NAME` with the provider's documentation"


class Weather(ProviderError):
    """Be the root of what passes by itself. `sent` tells whether the provider may have seen the request."""

    code = "provider_unavailable"
    exit_code = 6

    @property
    def sent(self) -> bool:
        """Say whether the provider may have seen the request; false only when it surely has not."""
        return bool(self.evidence.get("sent", True))

    @property
    def retry_after(self) -> float:
        """Return the seconds the provider asked us to wait, 0 if it did not."""
        return float(self.evidence.get("retry_after", 0.0))


class ProviderUnavailable(Weather):
    """Say that the provider could not be reached, or answered 5xx or 429."""

    code = "provider_unavailable"
    cause = "the provider is down, overloaded, or not reachable from this machine"
    fix = "nothing is lost: try again later; check the provider's status page and this machine's network"


class ProviderTimeout(Weather):
    """Say that no whole answer came in time."""

    code = "provider_timeout"
    cause = "the provider is slow, or a firewall drops the packets"
    fix = "nothing is lost: try again later"


class TlsFailed(Weather):
    """Say that the provider's certificate does not hold, or no TLS could be spoken."""

    code = "tls_failed"
    cause = "the certificate is expired, for another host, or signed by a CA this machine does not know"
    fix = "check the URL and this machine's clock; behind a company proxy, set SSL_CERT_FILE to its CA"


class ManagerRefused(ProviderError):
    """Say that a secret manager does not let us in, or has no such secret; nothing was sent to the provider."""

    code = "manager_refused"
    cause = "its policy does not allow it, or what we log in with is wrong or has expired"
    fix = "check the reference and the policy behind it; nothing was spent, and it is tried again by itself"


class ManagerUnavailable(Weather):
    """Say that a secret manager is down, sealed, slow or throttles; nothing was sent to the provider."""

    code = "manager_unavailable"
    cause = "the secret manager is down, sealed, overloaded, or not reachable from this machine"
    fix = "nothing is lost: tokens that live are used meanwhile, and it is tried again by itself"


# ── the connection ────────────────────────────────────────────────────────────────────────────────────────────


class ConnectionUnusable(ValetkeyError):
    """Be the root of: the connection is in no state to give a token."""

    code = "connection_unusable"
    exit_code = 4


class NotConnected(ConnectionUnusable):
    """Say that nobody consented yet."""

    code = "not_connected"


class NeedsReconnect(ConnectionUnusable):
    """Say that a person must consent again; `reason` is the stable word for why."""

    code = "needs_reconnect"

    @property
    def reason(self) -> str:
        """Return the stable word for why: invalid_grant, crashed_mid_refresh, answer_lost, no_refresh_token."""
        return str(self.evidence.get("reason", ""))


class Revoked(ConnectionUnusable):
    """Say that the connection was disconnected on purpose."""

    code = "revoked"


# ── the vault ─────────────────────────────────────────────────────────────────────────────────────────────────


class VaultError(ValetkeyError):
    """Be the root of: the vault itself is missing, closed or broken."""

    code = "vault_error"
    exit_code = 7


class VaultMissing(VaultError):
    """Say that there is no vault here."""

    code = "vault_missing"


class VaultClosed(VaultError):
    """Say that the vault was closed: nothing is given any more, and nothing was done."""

    code = "vault_closed"
    cause = "close() or aclose() was called, or the `with` block that opened it has ended"
    fix = "do it before the vault is closed, or open it again with valetkey.open()"


class VaultUnreadable(VaultError):
    """Say that the file cannot be read as a vault: permissions, another format, a newer version."""

    code = "vault_unreadable"


class KeyMissing(VaultError):
    """Say that the vault is there and its key is not; nothing was written."""

    code = "key_missing"


class WrongKey(VaultError):
    """Say that this key belongs to another vault; nothing was written."""

    code = "wrong_key"


class VaultDamaged(VaultError):
    """Say that the right key does not open a record: it was changed, swapped or cut."""

    code = "vault_damaged"
    fix = "restore the vault file from a backup; the other records are not affected"


class AuditBroken(VaultError):
    """Say that the audit log does not hold: `evidence` names the first broken place, by reason, writer and number."""

    code = "audit_broken"
    fix = "keep the database as it is, and compare it with a backup or an export; docs/audit.md says what each means"


class StoreUnavailable(VaultError):
    """Say that the store cannot be read or written now: locked, disk full, connection lost."""

    code = "store_unavailable"
    exit_code = 6


# ── inbound ───────────────────────────────────────────────────────────────────────────────────────────────────


class TokenRefused(ValetkeyError):
    """Refuse a JWT. `reason` is one of jose's fixed list, `claim` the claim or header it is about.

    `expected` and `got` are short, never secret, and never the token.
    """

    code = "token_refused"
    exit_code = 8

    def __init__(  # its own words, because every refusal in jose/ is made of exactly these
        self, reason: str, message: str = "", *, claim: str = "", expected: str = "", got: str = "", fix: str = ""
    ) -> None:
        super().__init__(message or reason, code=reason, fix=fix)
        self.reason = reason
        self.claim = claim
        self.expected = expected
        self.got = got

    def __reduce__(self) -> tuple[object, ...]:
        parts = (self.reason, self.message, self.claim, self.expected, self.got, self.fix)
        return (_rebuild_refusal, parts, self.__getstate__())

    def _told(self) -> dict[str, str]:
        return {"expected": self.expected, "got": self.got, **super()._told()}

    def to_dict(self) -> dict[str, object]:
        """Return the refusal for programs."""
        parts = {"claim": self.claim, "expected": self.expected, "got": self.got}
        return {**super().to_dict(), **{name: value for name, value in parts.items() if value}}


def _rebuild_refusal(*parts: str) -> TokenRefused:
    reason, message, claim, expected, got, fix = parts
    return TokenRefused(reason, message, claim=claim, expected=expected, got=got, fix=fix)

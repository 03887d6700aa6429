"""HashiCorp Vault, and OpenBao, which speaks the same: log in, stay logged in, ask; every failure is one of our errors.

The library hvac is an extra, imported late. What may not be here: which secrets are asked for (kv.py, transit.py).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from valetkey.errors import Fact, InvalidInput, ValetkeyError
from valetkey.installing import to_add
from valetkey.managers.failures import refused, unavailable
from valetkey.managers.quiet import HTTP, mask_logs
from valetkey.values import Secret, Unpicklable, secure_url

if TYPE_CHECKING:
    import hvac

T = TypeVar("T")

Method = Literal["token", "approle", "kubernetes"]

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 5.0
"""A manager stands near. Both are well below the time between a lease's claim and its request (vault/renew.py)."""

RENEW_SHARE: Final = 2 / 3
"""Of a login's lifetime: then it is renewed. The rest is there for trying again."""

RELOGIN_SECONDS: Final = 10.0
"""How often a refusal may lead to another login: what a policy forbids is refused however often one logs in."""

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Where Kubernetes puts the token of a pod's service account; it is replaced there before it expires."""

CREDENTIAL_MOST: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Settings(Unpicklable):
    """Be how a Vault is reached and logged in to. `credential` or the file `credential_file` is read at each login.

    `role` is the role id for AppRole, and the role's name for Kubernetes.
    """

    address: str
    method: Method = "token"
    role: str = ""
    credential: Secret | None = None
    credential_file: Path | None = None
    mount: str = ""
    namespace: str = ""
    ca_file: str = ""

    def __post_init__(self) -> None:
        secure_url(self.address, "address of the HashiCorp Vault")

    @classmethod
    def of(cls, environ: Mapping[str, str] | None = None, *, address: str = "") -> Settings:
        """Read the variables of Vault's own tools, and a few beside them (docs/managers.md); raises InvalidInput."""
        told = os.environ if environ is None else environ
        address = address or told.get("VAULT_ADDR", "")
        if not address:
            raise InvalidInput(
                "the address of the HashiCorp Vault is not known", fix="set VAULT_ADDR, as for Vault's own tools"
            )
        shared: Any = {"address": address, "namespace": told.get("VAULT_NAMESPACE", "")}
        shared |= {"ca_file": told.get("VAULT_CACERT", ""), "mount": told.get("VAULT_AUTH_MOUNT", "")}
        if told.get("VAULT_ROLE_ID"):
            return cls(
                **shared,
                method="approle",
                role=told["VAULT_ROLE_ID"],
                credential=_secret(told, "VAULT_SECRET_ID"),
                credential_file=_path(told, "VAULT_SECRET_ID_FILE"),
            )
        if told.get("VAULT_KUBERNETES_ROLE"):
            return cls(
                **shared,
                method="kubernetes",
                role=told["VAULT_KUBERNETES_ROLE"],
                credential_file=_path(told, "VAULT_KUBERNETES_TOKEN_FILE") or SERVICE_ACCOUNT,
            )
        token = _secret(told, "VAULT_TOKEN")
        file = None if token else _path(told, "VAULT_TOKEN_FILE") or Path.home() / ".vault-token"
        return cls(**shared, credential=token, credential_file=file)

    def read_credential(self) -> Secret:
        """Return the token, secret id or service account's token as it is now; raises ManagerRefused."""
        if self.credential is not None:
            return self.credential
        try:
            if self.credential_file is None:
                raise FileNotFoundError
            with self.credential_file.open("rb") as file:
                text = file.read(CREDENTIAL_MOST).decode().strip()
        except (OSError, ValueError) as refusal:
            why = refusal.strerror or "there is none" if isinstance(refusal, OSError) else "it is no text"
            raise refused(f"what to log in to {self.shown} with cannot be read: {why}", fix=_HOW[self.method]) from None
        if not text:
            raise refused(f"what to log in to {self.shown} with is empty", fix=_HOW[self.method])
        return Secret(text)

    @property
    def shown(self) -> str:
        """Return the address as it may be shown."""
        return self.address


_HOW: Final[dict[Method, str]] = {
    "token": "set VAULT_TOKEN, or VAULT_TOKEN_FILE to a file that holds the token",
    "approle": "set VAULT_SECRET_ID_FILE to a file that holds the secret id",
    "kubernetes": "mount the service account's token, or name its file in VAULT_KUBERNETES_TOKEN_FILE",
}


@dataclass(slots=True)
class _Login:
    """Be a login: until when it is good, and from when it is to be renewed; by the monotonic clock, `inf` for never."""

    at: float
    renew_at: float = float("inf")
    ends_at: float = float("inf")
    renewable: bool = False
    tried: float = field(default=float("-inf"))


class HashiCorp:
    """Ask a Vault. Thread-safe; logs in at the first question, renews its login, and logs in anew when refused."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._client: hvac.Client | None = None
        self._login: _Login | None = None

    def ask(self, work: Callable[[hvac.Client], T], doing: str) -> T:
        """Let `work` ask through a client that is logged in; `doing` names it in errors ("read kv/google").

        It is called a second time where the first is answered by 403 and another login may help.
        Raises ManagerRefused, ManagerUnavailable or InvalidInput.
        """
        client = self._ready()
        first = self._tried(client, work, doing)
        if isinstance(first, _Failed):
            again = first.status == 403 and self._login_again(client)
            second = self._tried(client, work, doing) if again else first
            if isinstance(second, _Failed):
                raise second.error
            return second
        return first

    def close(self) -> None:
        """Let go of the connections, and forget the login."""
        with self._lock:
            if self._client is not None:
                self._client.adapter.close()
            self._client = self._login = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.settings.shown}>"

    # ── logging in ────────────────────────────────────────────────────────────────────────────────────────────

    def _ready(self) -> hvac.Client:
        """Return the client, logged in and not about to expire."""
        with self._lock:
            if self._client is None:
                self._client = _client(self.settings)
            moment = self._clock()
            if self._login is not None and self._login.renewable and moment >= self._login.renew_at:
                self._renew(self._client, self._login, moment)
            if self._login is None or moment >= self._login.ends_at:
                self._login = self._log_in(self._client)
            return self._client

    def _renew(self, client: hvac.Client, login: _Login, moment: float) -> None:
        if moment - login.tried < RELOGIN_SECONDS:
            return
        login.tried = moment
        renewed = self._tried(client, lambda c: c.auth.token.renew_self(), "renew the login")
        if isinstance(renewed, _Failed):
            # While it lives it is used; where it was revoked, the question itself will be refused.
            return
        self._login = _login_of(renewed.get("auth") or {}, self._clock())

    def _login_again(self, client: hvac.Client) -> bool:
        """Log in anew after a refusal, but not again and again; say whether that was done."""
        with self._lock:
            login, moment = self._login, self._clock()
            if login is not None and moment - login.at < RELOGIN_SECONDS:
                return False
            before = Secret(client.token or "")
            self._login = self._log_in(client)
            return self.settings.method != "token" or Secret(client.token or "") != before  # compared: by Secret

    def _log_in(self, client: hvac.Client) -> _Login:
        settings = self.settings
        credential = settings.read_credential()
        client.token = ""
        if settings.method == "token":
            client.token = credential.reveal()
            return self._looked_up(client)
        mount = {"mount_point": settings.mount or settings.method}
        answered = self._tried(
            client,
            lambda c: (
                c.auth.approle.login(settings.role, credential.reveal(), use_token=False, **mount)
                if settings.method == "approle"
                else c.auth.kubernetes.login(settings.role, credential.reveal(), use_token=False, **mount)
            ),
            f"log in by {settings.method}",
        )
        if isinstance(answered, _Failed):
            if answered.status in {400, 403}:
                raise refused(
                    f"{settings.shown} does not let us log in by {settings.method}",
                    cause="the role, or what proves it, is unknown there, was used up or has expired",
                    fix=_HOW[settings.method],
                )
            raise answered.error
        auth = answered.get("auth") or {}
        client.token = str(auth.get("client_token", ""))
        return _login_of(auth, self._clock())

    def _looked_up(self, client: hvac.Client) -> _Login:
        """Return how long a token that was given to us lives; one that may not ask is used as it is."""
        found = self._tried(client, lambda c: c.auth.token.lookup_self(), "look at the token")
        if isinstance(found, _Failed):
            if found.status == 0 or found.status >= 429:
                raise found.error
            return _Login(self._clock())
        told = found.get("data") or {}
        return _login_of({"lease_duration": told.get("ttl"), "renewable": told.get("renewable")}, self._clock())

    def _tried(self, client: hvac.Client, work: Callable[[Any], T], doing: str) -> T | _Failed:
        """Do the work; return what hindered it as a value, so that no frame of a library hangs on the error."""
        try:
            return work(client)
        except ValetkeyError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a library raises holds URLs, headers or bodies
            return _explained(error, doing, self.settings.shown)


@dataclass(frozen=True, slots=True)
class _Failed:
    """Be a question that failed: with which HTTP status (0: no answer), and the error to raise."""

    status: int
    error: ValetkeyError


def _login_of(auth: Mapping[str, Any], moment: float) -> _Login:
    lifetime = float(auth.get("lease_duration") or 0)
    if lifetime <= 0:
        return _Login(moment)  # a root token, or one whose end is not told
    renewable = bool(auth.get("renewable"))
    return _Login(moment, moment + lifetime * RENEW_SHARE, moment + lifetime, renewable)


def _client(settings: Settings) -> hvac.Client:
    """Make a client that follows no redirect and takes nothing from the environment but proxies."""
    try:
        import hvac  # late: an extra, and costs to import
        import requests
    except ImportError:
        raise InvalidInput(
            "a HashiCorp Vault needs the library hvac, which is not installed", fix=to_add("hashicorp")
        ) from None
    mask_logs(*HTTP)
    session = requests.Session()
    session.auth = _no_netrc
    session.verify = settings.ca_file or os.environ.get("SSL_CERT_FILE") or True
    session.hooks["response"].append(_no_redirect)
    return hvac.Client(
        url=settings.address.rstrip("/"),
        token="",
        timeout=(CONNECT_SECONDS, READ_SECONDS),
        namespace=settings.namespace or None,
        session=session,
        verify=session.verify,
        allow_redirects=False,
    )


def _no_netrc(request: Any) -> Any:
    """Be the authentication of requests, so that it does not send what stands in ~/.netrc."""
    return request


def _no_redirect(response: Any, *_: object, **__: object) -> None:
    """Refuse redirects: the login would be sent along, to whatever address is named; and tell a status hvac does not.

    A standby answers 412 while it has not caught up with a write that the request speaks of.
    """
    if response.status_code == 412 or response.is_redirect:
        response.close()  # its body is not read yet, and an error that leaves here would leave the socket open
    if response.status_code == 412:
        raise unavailable("the HashiCorp Vault has not caught up with an earlier write", {"status": 412})
    if response.is_redirect:
        raise refused(
            "the HashiCorp Vault sends us to another address, which is not followed",
            {"status": int(response.status_code)},
            cause="the address is that of a standby node that does not forward, or of something in front of it",
            fix="set VAULT_ADDR to the address of the active node or of the whole cluster",
        )


_UNAVAILABLE: Final = {429: "manager_throttled", 503: "manager_sealed", 501: "manager_sealed"}

_SAYS: Final = {
    429: ("says that we ask too often", "a rate limit of the Vault"),
    501: ("is not initialised", "a Vault is initialised once, with `vault operator init`"),
    503: ("is sealed, or down for maintenance", "after a restart somebody must unseal it"),
}


def _explained(error: Exception, doing: str, where: str) -> _Failed:
    """Return a library's error as ours; its own words hold addresses and bodies, and are not repeated."""
    import hvac.exceptions
    import requests

    status = _status(error)
    facts: dict[str, Fact] = {"status": status, "reason": type(error).__name__}
    if status in _SAYS or status >= 500:
        said, cause = _SAYS.get(status, (f"failed (HTTP {status})", ""))
        code = _UNAVAILABLE.get(status, "")
        return _Failed(status, unavailable(f"{where} {said}: could not {doing}", facts, code=code, cause=cause))
    if status == 404:
        message = f"{where} has nothing there: could not {doing}"
        cause = "the path or mount is misspelt, the secret was deleted, or its namespace is another"
        return _Failed(status, refused(message, facts, code="manager_secret_missing", cause=cause))
    if isinstance(error, hvac.exceptions.VaultError):
        said = "does not allow it" if status in {401, 403} else f"refuses the request (HTTP {status})"
        return _Failed(status, refused(f"{where} {said}: could not {doing}", facts))
    if isinstance(error, requests.exceptions.SSLError):
        cause = "its certificate is expired, for another host, or signed by a CA this machine does not know"
        fix = "check VAULT_ADDR; set VAULT_CACERT to the CA's certificate"
        message = f"no TLS could be spoken with {where}: could not {doing}"
        return _Failed(0, unavailable(message, facts, cause=cause, fix=fix))
    if isinstance(error, requests.exceptions.RequestException):
        late = isinstance(error, requests.exceptions.Timeout)
        said = "gave no answer in time" if late else "could not be reached"
        return _Failed(0, unavailable(f"{where} {said}: could not {doing}", facts))
    message = f"the answer of {where} cannot be read: could not {doing}"
    return _Failed(status, refused(message, facts, cause="something else than a Vault answers there"))


_STATUSES: Final = {
    "InvalidRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "InvalidPath": 404,
    "UnsupportedOperation": 405,
    "RateLimitExceeded": 429,
    "InternalServerError": 500,
    "VaultNotInitialized": 501,
    "BadGateway": 502,
    "VaultDown": 503,
}
"""hvac tells the status by the class alone."""


def _status(error: Exception) -> int:
    return _STATUSES.get(type(error).__name__, 0)


def _secret(told: Mapping[str, str], name: str) -> Secret | None:
    return Secret(told[name]) if told.get(name) else None


def _path(told: Mapping[str, str], name: str) -> Path | None:
    try:
        return Path(told[name]).expanduser() if told.get(name) else None
    except RuntimeError:
        raise InvalidInput(f"{name} lies in a home folder that is not known", fix="write the whole path") from None

"""Which app the options of `valetkey app add` make: a new one, or one that is there with what they name changed.

What may not be here: the options themselves (app.py), how a provider is found (describing.py), keeping the app.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from valetkey.cli import ask
from valetkey.cli.base import hosts_to_bind, pairs
from valetkey.cli.redirect import listening_place
from valetkey.cli.show import say
from valetkey.errors import InvalidInput
from valetkey.values import Scopes

if TYPE_CHECKING:
    from valetkey.cli.keyfiles import AppKey
    from valetkey.providers.schema import GrantName, Provider, TokenAuth
    from valetkey.vault.records import App


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApp:
    """Be what `valetkey app add` was given; None, and nothing in a tuple, is what was not; "" takes back."""

    name: str
    provider: str | None
    client_id: str | None
    secret_stdin: bool
    secret_ref: str | None
    public: bool
    params: tuple[str, ...]
    scopes: tuple[str, ...]
    redirect_uri: str | None
    grant: GrantName | Literal[""] | None
    token_auth: TokenAuth | Literal[""] | None
    private_key: str | None
    private_key_ref: str | None
    key_alg: str | None
    key_id: str | None
    audience: str | None
    hosts: tuple[str, ...]
    authorize_params: tuple[str, ...]
    issuer: str
    allow_private: bool
    token_url: str
    authorize_url: str
    device_url: str
    revoke_url: str
    introspect_url: str
    secret_expires: datetime | Literal[""] | None
    testing: bool | None
    check: bool
    replace: bool

    def urls(self) -> dict[str, str]:
        """Return the endpoints given by hand, by their names in the schema."""
        return {name: url for name, url in self._endpoints().items() if url}

    def taken_back(self) -> list[str]:
        """Return the endpoints that are to be the catalogue's again."""
        return [name for name, url in self._endpoints().items() if url == ""]

    def _endpoints(self) -> dict[str, str | None]:
        return {
            "token": self.token_url,
            "authorize": self.authorize_url,
            "device": self.device_url,
            "revoke": self.revoke_url,
            "introspect": self.introspect_url,
        }

    @property
    def with_secret(self) -> bool:
        """Say whether a client secret was given, or where it is kept."""
        return self.secret_stdin or bool(self.secret_ref)

    @property
    def with_key(self) -> bool:
        """Say whether a private key was given, or where it is kept."""
        return bool(self.private_key or self.private_key_ref)

    @property
    def proves(self) -> bool:
        """Say whether anything was given that changes how the client proves itself."""
        return self.with_secret or self.with_key or self.public or self.token_auth is not None


def whole(given: NewApp) -> bool:
    """Say whether enough was given for an app that is not there yet: its provider, and who the client is there."""
    from valetkey.providers import keys

    placed = given.provider or given.issuer or given.urls() or given.name in keys()
    return bool(placed and (given.client_id or given.private_key))


def registered(given: NewApp, before: App | None = None) -> App:
    """Return the app of the options, its secret read last; of one that was there before, what they name is changed.

    Raises InvalidInput and the errors of describing.py.
    """
    from msgspec.structs import replace

    from valetkey.providers import load
    from valetkey.vault.records import App

    key, description = _description(given, before)
    params = pairs(given.params, "--param")
    if before is not None and before.provider == key:
        params = {**before.params, **params}
    provider = _usable(description or load(key), params)
    if before is not None:
        _refuse_other(before, provider)
    if given.redirect_uri:
        listening_place(given.redirect_uri)
    _judge_references(given)
    signing = _signing_key(given)
    if before is not None and given.client_id == "":
        raise InvalidInput(
            "an app cannot be without a client id", fix="leave out --client-id, or name another one with it"
        )
    client_id = given.client_id or (signing.client_id if signing else "") or (before.client_id if before else "")
    if not client_id:
        raise InvalidInput("no client id was given", fix=f"--client-id ID, as {_console(provider)} shows it")
    # The vault puts the time in.
    app = before or App(name=given.name, provider=key, client_id=client_id, created_at=0.0)
    app = replace(app, provider=key, described=description, params=params, client_id=client_id)
    app = _with_wishes(app, given, new=before is None)
    if before is not None and not given.proves:
        return _renamed_key(app, given)
    return _with_proof(app, given, provider, signing, new=before is None)


# ── at which provider ─────────────────────────────────────────────────────────────────────────────────────────


def _description(given: NewApp, before: App | None) -> tuple[str, Provider | None]:
    """Return the provider's key, and its description where the catalogue's own does not do."""
    from valetkey.cli.describing import described, laid_over
    from valetkey.providers import load, overridden

    _refuse_secret_as_provider(given)
    urls = given.urls()
    if before is not None:
        _refuse_turning(given, before)
    named = given.provider and not (before is not None and given.provider == before.provider == "sandbox")
    if before is None or named or given.issuer or given.allow_private:
        return described(given.name, given.provider, given.issuer, urls, allow_private=given.allow_private)
    back = given.taken_back()
    if not urls and not back:
        return before.provider, before.described
    if back and before.provider in {"discovered", "sandbox"}:
        raise InvalidInput(
            f"app {before.name} has its URLs from its issuer, and not from the catalogue",
            fix="name the URL; the sandbox writes its own anew at its next start"
            if before.provider == "sandbox"
            else "name the URL; or --issuer with the issuer's address reads its description anew",
        )
    listed = load(before.provider) if back else None
    base = before.described or load(before.provider)
    if listed is not None:
        again = {name: getattr(listed.endpoints, name) or None for name in back}
        base = overridden(base, {f"endpoints.{name}": url for name, url in again.items()})
    after = laid_over(base, urls)
    return before.provider, None if after == listed else after


def _refuse_turning(given: NewApp, before: App) -> None:
    """Refuse what would describe an app in another way without saying so; raises InvalidInput."""
    if given.issuer and not given.provider and before.provider not in {"discovered", "generic"}:
        fix = f"to change what is named, leave out --issuer; or choose another name for an app of {given.issuer}; "
        raise InvalidInput(
            f"app {before.name} is one of provider {before.provider}, whose description it has",
            cause="described by its issuer alone it would lose what is known of that provider: hosts, scopes, manners",
            fix=f"{fix}`valetkey app add {before.name} generic --issuer … --replace` does it all the same",
        )
    if given.provider == "sandbox" != before.provider:
        raise InvalidInput(
            f"app {before.name} is not the sandbox's, and cannot be made its",
            cause="the sandbox keeps its apps by itself, each time it starts",
            fix=f"`valetkey app rm {before.name}`; then `valetkey serve --sandbox` (or `make run`) keeps it anew",
        )


def _refuse_secret_as_provider(given: NewApp) -> None:
    """Refuse what stands behind --secret-stdin and so was taken for the provider, without a word of it."""
    from valetkey.providers import keys, near

    if not given.secret_stdin or not given.provider or given.provider in {*keys(), "sandbox"}:
        return
    if not near(given.provider):  # what is like one was mistyped
        raise InvalidInput(
            "there is no such provider; its name is not repeated, for it may be the secret",
            cause="--secret-stdin takes no value: the secret comes on standard input",
            fix="`… | valetkey app add NAME PROVIDER --secret-stdin`; `valetkey provider list` shows the providers",
        )


def _refuse_other(before: App, provider: Provider) -> None:
    """Refuse to make an app one of another provider: what is kept of it would be sent there; raises InvalidInput.

    The same server may be described in another way: then its tokens come from the same host as before.
    """
    from urllib.parse import urlsplit

    from valetkey.errors import UsageError
    from valetkey.providers import filled, load

    by_itself = provider.key in {"discovered", "sandbox"}
    if provider.key == before.provider and not by_itself:
        return
    try:
        was = filled(before.described or load(before.provider), before.params)
    except UsageError:
        return  # of a provider that is not known any more nothing can be said
    if urlsplit(was.endpoints.token).netloc == urlsplit(provider.endpoints.token).netloc:
        return
    raise InvalidInput(
        f"app {before.name} is a registration at {was.name}, and not at {provider.name}",
        cause="its client id, its secret and its connections are of the one, and would be sent to the other",
        fix=f"choose another name; or `valetkey app rm {before.name}` first; if the same server has moved, "
        "--token-url and --authorize-url change its addresses",
    )


def _usable(described: Provider, params: dict[str, str]) -> Provider:
    """Return a provider with its parameters filled in; raises InvalidInput that names the options to give them by."""
    from valetkey.providers import filled

    try:
        provider = filled(described, params)
    except InvalidInput as refusal:
        raise _by_option(refusal, described) from None
    if not provider.endpoints.token:
        raise InvalidInput(f"{provider.name} needs its token endpoint", fix="give --token-url, or --issuer")
    return provider


def _by_option(refusal: InvalidInput, provider: Provider) -> InvalidInput:
    """Return a refusal of parameters with the options to give them by as its fix."""
    named = provider.parameters.get(str(refusal.evidence.get("parameter", "")))
    if named is None:
        return refusal
    needed = {name: one.about for name, one in provider.parameters.items() if one is named or not one.default}
    fix = "; ".join(f"--param {name}=… ({about})" for name, about in needed.items())
    return InvalidInput(refusal.message, cause=refusal.cause, fix=fix, parameter=str(refusal.evidence["parameter"]))


def _console(provider: Provider) -> str:
    return provider.console or "the provider's console"


# ── what it asks for ──────────────────────────────────────────────────────────────────────────────────────────


def _with_wishes(app: App, given: NewApp, *, new: bool) -> App:
    """Return an app with all that was given and is no proof: an empty text takes a member back to its default."""
    from msgspec.structs import replace

    named: dict[str, object] = {
        "redirect_uri": given.redirect_uri,
        "audience": given.audience,
        "grant": given.grant or None,
        "testing": given.testing,
        "scopes": tuple(Scopes(" ".join(given.scopes).split())) if given.scopes else None,
        "hosts": hosts_to_bind(host for host in given.hosts if host or new) if given.hosts else None,
        "secret_expires_at": given.secret_expires.replace(tzinfo=UTC).timestamp() if given.secret_expires else None,
    }
    wishes = {name: value for name, value in named.items() if value is not None}
    taken_back = {"grant": given.grant, "secret_expires_at": given.secret_expires}
    wishes |= {name: None for name, value in taken_back.items() if value == ""}
    if given.authorize_params:
        wishes["authorize_params"] = {**app.authorize_params, **pairs(given.authorize_params, "--authorize-param")}
    return replace(app, **wishes)


# ── how it proves itself ──────────────────────────────────────────────────────────────────────────────────────


def _with_proof(app: App, given: NewApp, provider: Provider, signing: AppKey | None, *, new: bool) -> App:
    """Return an app that proves itself as was given; what goes with another way of proving it goes."""
    from msgspec.structs import replace

    from valetkey.vault.desk import method_of

    usual = provider.asking.token_auth
    had = None if new else method_of(app, provider)
    method = _method(given, provider, had, app.grant)
    app = replace(app, token_auth=method if method != usual else None)
    if given.with_key:
        pem, alg, key_id = (
            (signing.pem, signing.alg, signing.key_id) if signing else (None, given.key_alg, given.key_id)
        )
        app = replace(
            app, private_key=pem, private_key_ref=given.private_key_ref or "", key_alg=alg or "", key_id=key_id or ""
        )
    elif method == "none" and had == "private_key_jwt":
        app = replace(app, private_key=None, private_key_ref="", key_alg="", key_id="")
    else:
        app = _renamed_key(app, given)
    by_secret = method.startswith("client_secret")
    if by_secret and not given.with_secret and (app.secret is not None or app.secret_ref):
        return app
    if given.secret_expires is None:
        app = replace(app, secret_expires_at=None)  # that was the end of the secret before
    secret = ask.secret_line("client secret") if given.secret_stdin else None
    if by_secret and not given.with_secret:
        instead = "--secret-stdin reads it from standard input; --public has none"
        secret = ask.secret_prompt("client secret", instead=instead)
    return replace(app, secret=secret, secret_ref=given.secret_ref or "")


def _renamed_key(app: App, given: NewApp) -> App:
    """Return an app whose key is called, or signs, as was given."""
    from msgspec.structs import replace

    key_alg = app.key_alg if given.key_alg is None else given.key_alg
    return replace(app, key_alg=key_alg, key_id=app.key_id if given.key_id is None else given.key_id)


def _signing_key(given: NewApp) -> AppKey | None:
    if given.private_key is None:
        return None
    from valetkey.cli.keyfiles import read_app_key

    return read_app_key(given.private_key, given.key_alg or "", given.key_id or "")


def _method(given: NewApp, provider: Provider, had: TokenAuth | None, grant: GrantName | None) -> TokenAuth:
    """Return how the client proves itself: as told, else by what it was given, else as it did, or as is usual there."""
    if given.public and (given.with_secret or given.token_auth not in {None, "none"}):
        raise InvalidInput("a public client has no secret", fix="leave out --public, or the secret and --token-auth")
    if given.token_auth == "":
        return provider.asking.token_auth
    if given.token_auth or given.public:
        return given.token_auth or "none"
    if given.with_key and not given.with_secret:
        # Where the key can be the grant itself (RFC 7523 section 2.1), nobody proves the client beside it; client
        # credentials are only for a client that proves itself, and there the key does that (section 2.2).
        for_proof = grant == "client_credentials" and grant in provider.grants and had in {None, "none"}
        return (had or "none") if "jwt_bearer" in provider.grants and not for_proof else "private_key_jwt"
    usual = provider.asking.token_auth
    if had is None or had.startswith("client_secret"):
        return had or usual
    return usual if usual.startswith("client_secret") else "client_secret_basic"


def _judge_references(given: NewApp) -> None:
    """Refuse what is no reference, or stands beside the thing itself; warn of variables. Raises InvalidInput."""
    from valetkey.managers.reference import Reference

    for reference, beside in ((given.secret_ref, given.secret_stdin), (given.private_key_ref, given.private_key)):
        if reference and beside:
            raise InvalidInput("a secret was given, and also where it is kept", fix="give one of the two")
        if reference and Reference.parse(reference).kind == "env":
            say("warning: variables are seen by child processes, crash reports and whoever may read /proc;")
            say("         file: and the secret managers are not")

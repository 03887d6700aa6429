"""`valetkey app`: registrations at providers. What may not be here: how a provider is found (describing.py)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from valetkey.cli import ask
from valetkey.cli.appsecret import secret
from valetkey.cli.base import FormCommand, Group, Session, hosts_to_bind, pairs
from valetkey.cli.completing import complete_apps
from valetkey.cli.connect import GRANTS
from valetkey.cli.provider import complete_keys
from valetkey.cli.redirect import DEFAULT, WITH_PORT, listening_place
from valetkey.cli.show import clean, facts, moment, out, out_json, say, table
from valetkey.errors import InvalidInput
from valetkey.values import Scopes, Secret

if TYPE_CHECKING:
    from valetkey.cli.keyfiles import AppKey
    from valetkey.providers.schema import GrantName, Provider, TokenAuth
    from valetkey.vault.records import App
    from valetkey.vault.views import AppInfo

METHODS: Final = (
    "none",
    "client_secret_basic",
    "client_secret_post",
    "client_secret_json",
    "client_secret_jwt",
    "private_key_jwt",
)
"""The schema's TokenAuth, written out so that help need not load the schema."""


@click.group(cls=Group)
def app() -> None:
    """Keep your registrations at providers."""


# ── add ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApp:
    """Be what `valetkey app add` was given."""

    name: str
    provider: str | None
    client_id: str
    secret_stdin: bool
    secret_ref: str
    public: bool
    params: tuple[str, ...]
    scopes: tuple[str, ...]
    redirect_uri: str
    grant: GrantName | None
    token_auth: TokenAuth | None
    private_key: str | None
    private_key_ref: str
    key_alg: str
    key_id: str
    audience: str
    hosts: tuple[str, ...]
    authorize_params: tuple[str, ...]
    issuer: str
    allow_private: bool
    token_url: str
    authorize_url: str
    device_url: str
    revoke_url: str
    introspect_url: str
    secret_expires: datetime | None
    testing: bool | None
    check: bool
    replace: bool

    def urls(self) -> dict[str, str]:
        """Return the endpoints given by hand, by their names in the schema."""
        given = {
            "token": self.token_url,
            "authorize": self.authorize_url,
            "device": self.device_url,
            "revoke": self.revoke_url,
            "introspect": self.introspect_url,
        }
        return {name: url for name, url in given.items() if url}


@app.command(cls=FormCommand, form=NewApp)
@click.argument("name")
@click.argument("provider", required=False, shell_complete=complete_keys)
@click.option("--client-id", default="", help="The client id from the provider's console.")
@click.option("--secret-stdin", is_flag=True, help="Read the client secret from standard input; else it is asked for.")
@click.option("--secret-ref", default="", metavar="REF", help="Where the secret is kept instead: vault:PATH#FIELD, …")
@click.option("--public", is_flag=True, help="A public client: it has no secret.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the provider (tenant).")
@click.option("--scope", "scopes", multiple=True, help="Scopes to ask for (repeat, or separate by blanks).")
@click.option("--redirect-uri", default="", help=f"The redirect URI you registered [default: {DEFAULT}].")
@click.option("--grant", type=click.Choice(GRANTS), help="How it is connected [default: by a person, where it can be].")
@click.option("--token-auth", type=click.Choice(METHODS), help="How the client proves itself, if not as usual there.")
@click.option("--private-key", metavar="FILE", help="A private key in PEM, or the JSON file of a service account.")
@click.option("--private-key-ref", default="", metavar="REF", help="Where the private key is kept instead.")
@click.option("--key-alg", default="", help="What the key signs with [default: RS256 for RSA, else by the curve].")
@click.option("--key-id", default="", help="The key's id (kid) at the provider.")
@click.option("--audience", default="", help="The audience to ask for, where the provider has that.")
@click.option("--host", "hosts", multiple=True, help="A host the tokens may go to, beside the provider's; repeatable.")
@click.option(
    "--authorize-param", "authorize_params", multiple=True, metavar="NAME=VALUE", help="Sent with each login."
)
@click.option(
    "--issuer", default="", metavar="URL", help="Let the provider describe itself (RFC 8414, OpenID Connect)."
)
@click.option(
    "--allow-private",
    is_flag=True,
    help="Let that issuer, and what it names, lie in your own network or behind a proxy.",
)
@click.option("--token-url", default="", metavar="URL", help="The token endpoint of a provider not in the catalogue.")
@click.option("--authorize-url", default="", metavar="URL", help="Its authorization endpoint.")
@click.option("--device-url", default="", metavar="URL", help="Its device authorization endpoint.")
@click.option("--revoke-url", default="", metavar="URL", help="Its revocation endpoint.")
@click.option("--introspect-url", default="", metavar="URL", help="Its introspection endpoint.")
@click.option(
    "--secret-expires",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The day the client secret ends (2026-12-31), for `valetkey forecast`.",
)
@click.option(
    "--testing/--published", "testing", default=None, help="Whether the provider still has the app in testing (Google)."
)
@click.option("--check/--no-check", default=True, help="Whether references are looked up now [default: check].")
@click.option("--replace", is_flag=True, help="Change an app that is there; its connections stay.")
def add(session: Session, given: NewApp) -> None:
    """Keep a registration under NAME, for PROVIDER (default: the provider called NAME).

    The vault is made if it is not there, and that is said. The client secret is asked for, or read from standard input;
    it is never an argument, because every user of a machine can list those. Or it stays where it is, and only the
    reference is kept: vault:PATH#FIELD, aws-sm:NAME#FIELD, file:PATH or env:NAME (docs/managers.md).
    """
    made = _read(given)

    def fits() -> None:
        from valetkey.vault.unmade import refuse_unfit  # late: only for the first app of all

        refuse_unfit(made, check=given.check)

    with session.open_or_make(fits) as vault:
        info = vault.add_app(made, replace=given.replace, check=given.check)
    _added(session, info)


def _read(given: NewApp) -> App:
    """Return the app of the options, its secret read last; raises InvalidInput and the errors of describing.py."""
    from valetkey.cli.describing import described
    from valetkey.providers import load
    from valetkey.vault.records import App

    params = pairs(given.params, "--param")
    key, description = described(
        given.name, given.provider, given.issuer, given.urls(), allow_private=given.allow_private
    )
    provider = _usable(description or load(key), params)
    if given.redirect_uri:
        listening_place(given.redirect_uri)
    refs = _references(given)
    signing = _signing_key(given)
    client_id = _client_id(given, signing, provider)
    method = _method(given, provider)
    return App(
        name=given.name,
        provider=key,
        client_id=client_id,
        created_at=0.0,  # the vault puts the time in
        secret=_secret(given, method),
        described=description,
        params=params,
        token_auth=method if method != provider.asking.token_auth else None,
        secret_ref=refs[0],
        private_key=signing.pem if signing else None,
        private_key_ref=refs[1],
        key_alg=signing.alg if signing else given.key_alg,
        key_id=signing.key_id if signing else given.key_id,
        redirect_uri=given.redirect_uri,
        grant=given.grant,
        scopes=tuple(Scopes(" ".join(given.scopes).split())),
        audience=given.audience,
        hosts=hosts_to_bind(given.hosts),
        authorize_params=pairs(given.authorize_params, "--authorize-param"),
        secret_expires_at=given.secret_expires.replace(tzinfo=UTC).timestamp() if given.secret_expires else None,
        testing=given.testing,
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


def _client_id(given: NewApp, signing: AppKey | None, provider: Provider) -> str:
    client_id = given.client_id or (signing.client_id if signing else "")
    if not client_id:
        raise InvalidInput("no client id was given", fix=f"--client-id ID, as {_console(provider)} shows it")
    return client_id


def _signing_key(given: NewApp) -> AppKey | None:
    if given.private_key is None:
        return None
    from valetkey.cli.keyfiles import read_app_key

    return read_app_key(given.private_key, given.key_alg, given.key_id)


def _method(given: NewApp, provider: Provider) -> TokenAuth:
    """Return how the client proves itself: as told, else by what it was given, else as the provider usually has it."""
    with_secret = given.secret_stdin or bool(given.secret_ref)
    if given.public and (with_secret or given.token_auth not in {None, "none"}):
        raise InvalidInput("a public client has no secret", fix="leave out --public, or the secret and --token-auth")
    if given.token_auth or given.public:
        return given.token_auth or "none"
    if (given.private_key or given.private_key_ref) and not with_secret:
        # Where the key can be the grant itself (RFC 7523 section 2.1), nobody proves the client beside it.
        return "none" if "jwt_bearer" in provider.grants else "private_key_jwt"
    return provider.asking.token_auth


def _references(given: NewApp) -> tuple[str, str]:
    """Return the references of secret and key; raises InvalidInput for what is none, or stands beside the thing."""
    from valetkey.managers.reference import Reference

    for reference, beside in ((given.secret_ref, given.secret_stdin), (given.private_key_ref, given.private_key)):
        if reference and beside:
            raise InvalidInput("a secret was given, and also where it is kept", fix="give one of the two")
        if reference and Reference.parse(reference).kind == "env":
            say("warning: variables are seen by child processes, crash reports and whoever may read /proc;")
            say("         file: and the secret managers are not")
    return given.secret_ref, given.private_key_ref


def _secret(given: NewApp, method: str) -> Secret | None:
    if given.secret_ref:
        return None
    if given.secret_stdin:
        return ask.secret_line("client secret")
    if not method.startswith("client_secret"):
        return None
    return ask.secret_prompt("client secret", instead="--secret-stdin reads it from standard input; --public has none")


def _console(provider: Provider) -> str:
    return provider.console or "the provider's console"


def _added(session: Session, info: AppInfo) -> None:
    provider = info.description
    uri = ""
    by_redirect = info.grant in {None, "authorization_code"} and "authorization_code" in provider.grants
    if provider.endpoints.authorize and by_redirect:
        uri = info.redirect_uri or DEFAULT
    if session.json:
        further = {"register": uri, "console": provider.console, "docs": provider.docs, "notes": provider.notes}
        out_json({**info.to_dict(), **further})
        return
    out(f"{clean(info.name)}: kept, for {clean(provider.name)}")
    if uri:
        out(f"  register exactly this redirect URI:  {clean(uri)}")
        if not info.redirect_uri:
            out(f"  (the port is chosen at each login; if the provider wants one, register {WITH_PORT}")
            out("  and say so here with --redirect-uri)")
    facts({"  console": provider.console, "  documentation": provider.docs})
    for note in provider.notes:
        out(f"  - {clean(note)}")
    both = uri and info.grant is None and info.has_secret and "client_credentials" in provider.grants
    machine = "; a person consents, or none with --grant client_credentials" if both else ""
    say(f"next: valetkey connect {clean(info.name)}/LABEL{machine}")


# ── the rest ──────────────────────────────────────────────────────────────────────────────────────────────────


@app.command("list")
@click.pass_obj
def list_(session: Session) -> None:
    """List apps."""
    with session.open() as vault:
        found = list(vault.apps())
    if session.json:
        out_json([info.to_dict() for info in found])
    elif not found:
        say("no apps; `valetkey app add NAME PROVIDER` keeps one")
    else:
        rows = [(info.name, info.provider, info.client_id, info.token_auth, info.scopes.join()) for info in found]
        table(("NAME", "PROVIDER", "CLIENT ID", "PROOF", "SCOPES"), rows)


@app.command()
@click.argument("name", shell_complete=complete_apps)
@click.pass_obj
def show(session: Session, *, name: str) -> None:
    """Show an app; its secret is never shown."""
    with session.open() as vault:
        info = vault.app(name)
    if session.json:
        out_json(info.to_dict())
        return
    ends = info.description.endpoints
    facts(
        {
            "name": info.name,
            "provider": f"{info.description.name} ({info.provider})",
            "client id": info.client_id,
            "proves itself by": info.token_auth,
            "secret": info.secret_ref or ("kept" if info.has_secret else "none"),
            "private key": info.private_key_ref or ("kept" if info.has_private_key else "none"),
            "connected by": info.grant,
            "redirect URI": info.redirect_uri or f"{DEFAULT} (any port)",
            "scopes": info.scopes.join(),
            "hosts": ", ".join(info.hosts),
            "parameters": ", ".join(f"{key}={value}" for key, value in info.params.items()),
            "token endpoint": ends.token,
            "authorization endpoint": ends.authorize,
            "device endpoint": ends.device,
            "revocation endpoint": ends.revoke,
            "added": moment(info.created_at),
            "secret ends": moment(info.secret_expires_at),
            "in testing": {None: "", True: "yes", False: "no"}[info.testing],
        }
    )


app.add_command(secret)


@app.command()
@click.argument("name", shell_complete=complete_apps)
@click.pass_obj
def rm(session: Session, *, name: str) -> None:
    """Forget an app; its connections must be removed first."""
    with session.open() as vault:
        vault.remove_app(name)
    if session.json:
        out_json({"name": name, "removed": True})
    else:
        out(f"{clean(name)}: forgotten; the registration at the provider is still there")

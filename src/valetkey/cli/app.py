"""`valetkey app`: registrations at providers. What may not be here: which app the options make (registering.py)."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Final

import click

from valetkey.cli.appsecret import secret
from valetkey.cli.base import ChoiceOrNone, DayOrNone, FormCommand, Group, Session
from valetkey.cli.completing import complete_apps, complete_new_apps, complete_providers
from valetkey.cli.redirect import DEFAULT, WITH_PORT
from valetkey.cli.registering import NewApp, registered, whole
from valetkey.cli.show import clean, facts, moment, out, out_json, say, table
from valetkey.errors import NotFound
from valetkey.vault.ways import GRANTS

if TYPE_CHECKING:
    from valetkey.library import Vault
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

WORDS: Final = {"described": "endpoints", "token_auth": "how it proves itself", "secret_ref": "reference of the secret"}
"""Members of an app that are not called as people would call them."""


@click.group(cls=Group)
def app() -> None:
    """Keep your registrations at providers."""


# ── add ───────────────────────────────────────────────────────────────────────────────────────────────────────


@app.command(cls=FormCommand, form=NewApp)
@click.argument("name", shell_complete=complete_new_apps)
@click.argument("provider", required=False, shell_complete=complete_providers)
@click.option("--client-id", help="The client id from the provider's console.")
@click.option("--secret-stdin", is_flag=True, help="Read the client secret from standard input; else it is asked for.")
@click.option("--secret-ref", metavar="REF", help="Where the secret is kept instead: vault:PATH#FIELD, …")
@click.option("--public", is_flag=True, help="A public client: it has no secret.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the provider (tenant).")
@click.option("--scope", "scopes", multiple=True, help="Scopes to ask for (repeat, or separate by blanks).")
@click.option("--redirect-uri", help=f"The redirect URI you registered [default: {DEFAULT}].")
@click.option("--grant", type=ChoiceOrNone(GRANTS), help="How it is connected [default: by a person, where it can be].")
@click.option("--token-auth", type=ChoiceOrNone(METHODS), help="How the client proves itself, if not as usual there.")
@click.option("--private-key", metavar="FILE", help="A private key: PEM, a JWK, or the JSON file of a service account.")
@click.option("--private-key-ref", metavar="REF", help="Where the private key is kept instead.")
@click.option("--key-alg", help="What the key signs with [default: RS256 for RSA, else by the curve].")
@click.option("--key-id", help="The key's id (kid) at the provider.")
@click.option("--audience", help="The audience to ask for, where the provider has that.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    help="A host the tokens may go to, beside the provider's; where the provider names none (generic, --issuer), in "
    "the place of the token endpoint's. Repeatable.",
)
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
@click.option("--token-url", metavar="URL", help="The token endpoint of a provider not in the catalogue.")
@click.option("--authorize-url", metavar="URL", help="Its authorization endpoint.")
@click.option("--device-url", metavar="URL", help="Its device authorization endpoint.")
@click.option("--revoke-url", metavar="URL", help="Its revocation endpoint.")
@click.option("--introspect-url", metavar="URL", help="Its introspection endpoint.")
@click.option(
    "--secret-expires",
    type=DayOrNone(["%Y-%m-%d"]),
    metavar="DATE",
    help="The day the client secret ends (2026-12-31), for `valetkey forecast`.",
)
@click.option(
    "--testing/--published", "testing", default=None, help="Whether the provider still has the app in testing (Google)."
)
@click.option("--check/--no-check", default=True, help="Whether references are looked up now [default: check].")
@click.option(
    "--replace",
    is_flag=True,
    help="Change what is named of an app that is there; the rest stays, and so do its connections.",
)
def add(session: Session, given: NewApp) -> None:
    """Keep a registration under NAME, for PROVIDER (default: the provider called NAME).

    The vault is made if it is not there, and that is said. The client secret is asked for, or read from standard input;
    it is never an argument, because every user of a machine can list those. Or it stays where it is, and only the
    reference is kept: vault:PATH#FIELD, aws-sm:NAME#FIELD, file:PATH or env:NAME (docs/managers.md).

    --replace takes an app that is there as it is and changes what is named: --scope alone leaves secret, grant and all
    else. Scopes and hosts are named as a whole (those of before once more), parameters one by one. An empty text takes
    back what was said: a URL to the catalogue's, all else to its default; how the client proves itself is changed by
    another proof, or by --public.
    """
    made = cache(partial(registered, given))
    if not given.replace:
        _refuse_taken(session, given.name)
        made()  # what is wrong is said ahead of everything about the vault

    def fits() -> None:
        from valetkey.vault.unmade import refuse_unfit  # late: only for the first app of all

        refuse_unfit(made(), check=given.check)

    changing = given.replace and not whole(given)
    with session.open() if changing else session.open_or_make(fits) as vault:
        if changing:
            vault.app(given.name)  # says that it is not there, and which names are alike
        if given.replace and _is_there(vault, given.name):
            _change(session, vault, given)
        else:
            _added(session, vault.add_app(made(), replace=given.replace, check=given.check), given)


def _refuse_taken(session: Session, name: str) -> None:
    """Refuse a name that is taken, before anything is asked for; where it cannot be told yet, it is when it is kept."""
    from valetkey.vault.glance import names_in
    from valetkey.vault.quick import places

    if name in names_in(session.vault or places()[0], "app/", name):
        from valetkey.vault.registry import taken

        raise taken(name)


def _is_there(vault: Vault, name: str) -> bool:
    try:
        vault.app(name)
    except NotFound:
        return False
    return True


def _change(session: Session, vault: Vault, given: NewApp) -> None:
    changed: list[str] = []

    def change(before: App) -> App:
        after = registered(given, before)
        members = [name for name in after.__struct_fields__ if getattr(before, name) != getattr(after, name)]
        changed.extend(WORDS.get(name, name.replace("_", " ")) for name in members)
        return after

    info = vault.change_app(given.name, change, check=given.check)
    if session.json:
        out_json({**info.to_dict(), "changed": changed})
    else:
        out(f"{clean(info.name)}: {'changed: ' + ', '.join(changed) if changed else 'nothing to change'}")
        if "hosts" in changed:
            out(f"  hosts:  {clean(', '.join(info.hosts))}")


def _added(session: Session, info: AppInfo, given: NewApp) -> None:
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
            out(f"  and say so here: valetkey app add {clean(info.name)} --replace --redirect-uri {WITH_PORT})")
    if given.hosts:
        out(f"  hosts:  {clean(', '.join(info.hosts))}")
    facts({"  console": provider.console, "  documentation": provider.docs})
    for note in provider.notes:
        out(f"  - {clean(note)}")
    both = uri and info.grant is None and info.has_secret and "client_credentials" in provider.grants
    # Whether this registration may use that grant is not told by the provider.
    machine = "; a person consents, or nobody has to with --grant client_credentials, if the app is registered for it"
    say(f"next: valetkey connect {clean(info.name)}/LABEL{machine if both else ''}")


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

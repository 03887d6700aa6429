"""`valetkey connect`: obtain a connection, by browser, pasted answer, device code, or without a person.

What may not be here: the protocol (oauth/), the listener (loopback.py), whether an answer is good (vault/).
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import click

from valetkey.cli.base import FormCommand, Session, hosts_to_bind, pairs
from valetkey.cli.completing import complete_new_connections
from valetkey.cli.exits import interrupted
from valetkey.cli.show import clean, moment, out, out_json, say
from valetkey.errors import InvalidInput, NotFound
from valetkey.values import Scopes, Secret
from valetkey.vault.ways import GRANTS, usual_way

if TYPE_CHECKING:
    from valetkey.library import Vault
    from valetkey.providers.schema import GrantName
    from valetkey.vault.connect import Started, Wish
    from valetkey.vault.views import AppInfo, ConnectionInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Be what `valetkey connect` was asked for."""

    name: str
    scopes: tuple[str, ...]
    no_browser: bool
    device: bool
    grant: GrantName | None
    subject: str
    audience: str
    resources: tuple[str, ...]
    params: tuple[str, ...]
    hosts: tuple[str, ...]

    def wish(self) -> Wish:
        """Return what the vault is asked for."""
        from valetkey.vault.connect import Wish

        scopes = tuple(Scopes(" ".join(self.scopes).split()))
        extra = pairs(self.params, "--param")
        return Wish(scopes, self.audience, self.resources, extra, self.subject, hosts_to_bind(self.hosts))


@click.command(cls=FormCommand, form=Asked)
@click.argument("name", metavar="APP/LABEL", shell_complete=complete_new_connections)
@click.option("--scope", "scopes", multiple=True, help="Ask for these scopes (repeat, or separate by blanks).")
@click.option("--no-browser", is_flag=True, help="Show the address; paste where the browser ended on standard input.")
@click.option("--device", is_flag=True, help="Show a code to type on another machine.")
@click.option("--grant", type=click.Choice(GRANTS), help="The grant; else as before, as the app says, or by a person.")
@click.option("--subject", default="", help="Whom a JWT bearer assertion speaks for.")
@click.option("--audience", default="", help="The audience to ask for, where the provider has that.")
@click.option("--resource", "resources", multiple=True, help="A resource indicator (RFC 8707); repeatable.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="One more parameter of the request.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    help="A host the token may go to, beside the app's and the provider's; where those name none, in the place of the "
    "token endpoint's. Repeatable.",
)
def connect(session: Session, asked: Asked) -> None:
    """Obtain a connection: a person consents, its tokens are kept.

    The browser is opened, and the answer comes to a port of this machine. Connecting a name that is there already
    renews its consent and keeps its name, so that nothing that uses it has to change. It is asked for as it was:
    scopes, audience, resources, parameters and subject that are not named stay.
    """
    wish = asked.wish()
    if asked.device and asked.grant not in {None, "device_code"}:
        raise InvalidInput(f"--device and --grant {asked.grant} are two ways", fix="leave one of them out")
    if asked.no_browser and (asked.device or asked.grant == "device_code"):
        raise InvalidInput(
            f"{'--device' if asked.device else '--grant device_code'} and --no-browser are two ways",
            cause="the one shows a code to type elsewhere, the other takes back an address that is pasted here",
            fix="leave one of them out; neither opens a browser",
        )
    with session.open() as vault:
        app = vault.app(asked.name.partition("/")[0])
        before = _known(vault, asked.name)
        way = "device_code" if asked.device else asked.grant or usual_way(app, before)
        if way == "client_credentials" or way == "jwt_bearer":  # noqa: PLR1714  # so mypy knows which two are left
            made = vault.connect_machine(asked.name, way, wish=wish)
        elif way == "device_code":
            made = _by_device(session, vault, asked.name, wish)
        else:
            made = _by_redirect(vault, app, asked.name, wish, browser=not asked.no_browser)
        _show(session, made, reconnected=before is not None)


def _known(vault: Vault, name: str) -> ConnectionInfo | None:
    try:
        return vault.connection(name)
    except NotFound:
        return None


# ── by redirect ───────────────────────────────────────────────────────────────────────────────────────────────


def _by_redirect(vault: Vault, app: AppInfo, name: str, wish: Wish, *, browser: bool) -> ConnectionInfo:
    from valetkey.cli.redirect import DEFAULT, listening_place

    redirect_uri = app.redirect_uri or DEFAULT
    place = listening_place(redirect_uri)
    # Who pastes must hold what who started holds, so that nobody can be given a link of somebody else's account.
    binding = Secret(secrets.token_urlsafe(32))
    if place is None or not browser:
        started = vault.begin(name, redirect_uri=redirect_uri, binding=binding, wish=wish)
        return vault.finish(_pasted(started, app, elsewhere=place is None).reveal(), binding=binding)
    from valetkey.cli.loopback import Listener
    from valetkey.cli.window import opened

    with Listener(place) as listener:
        started = vault.begin(name, redirect_uri=listener.redirect_uri, binding=binding, wish=wish)
        with opened(started.url) as tried:
            _say_where(started, opening=tried)
            until = started.expires_at.timestamp()
            answer = listener.wait(_state(started), until, overdue=lambda: say(f"still waiting; {_to_register(app)}"))
        strangers = listener.strangers
    if strangers:
        say(f"sent away {strangers} answers that did not belong to this login")
    return vault.finish(answer, binding=binding)


def _state(started: Started) -> str:
    return parse_qs(urlsplit(started.url).query)["state"][0]


def _say_where(started: Started, *, opening: bool) -> None:
    lead = "opening a browser; if none opens, or it shows no page," if opening else "no browser could be opened:"
    say(f"{lead} open this address on this machine:\n\n  {clean(started.url)}\n")
    say("waiting until it comes back (Ctrl-C ends it; --no-browser is for machines without one)")


def _to_register(app: AppInfo) -> str:
    """Say what to do where the provider shows an error and nobody comes back: mostly it does not know where to."""
    from valetkey.cli.redirect import DEFAULT, WITH_PORT

    uri = app.redirect_uri or DEFAULT
    lead = f"if the page shows an error, see that exactly this redirect URI is registered: {clean(uri)}"
    if app.description.console:
        lead += f" (at {clean(app.description.console)})"
    if app.redirect_uri:
        return lead
    again = f"`valetkey app add {clean(app.name)} --replace --redirect-uri {WITH_PORT}`"
    return f"{lead}; if the provider wants a port, register {WITH_PORT}, and say so here: {again}"


def _pasted(started: Started, app: AppInfo, *, elsewhere: bool) -> Secret:
    from valetkey.cli.ask import pasted

    say(f"open this address in a browser and consent:\n\n  {clean(started.url)}\n")
    if elsewhere:
        say("the app's redirect URI is on another machine, so its answer cannot be received here")
    say(_to_register(app))
    shown = f"`valetkey app show {clean(app.name)}` shows it"
    say(f"if no page comes at all: the provider is down, or its address is mistyped; {shown}")
    say("the browser ends on a page that may not load; copy that page's whole address and paste it here")
    by_code = (
        f"; `valetkey connect {started.connection} --device` needs none" if app.description.endpoints.device else ""
    )
    while True:
        # Judged before the vault sees it: what is no answer must not use up the login.
        answer = Secret(pasted("address", instead=f"run it where somebody can paste it{by_code}"))
        wrong = _no_answer(answer, started)
        if not wrong:
            return answer
        if not sys.stdin.isatty():
            raise InvalidInput(wrong, fix="copy the address of the page on which the browser ended")
        say(f"{wrong}; once more")


def _no_answer(answer: Secret, started: Started) -> str:
    """Say what is wrong with what was pasted, or nothing where that is for the vault to judge."""
    text = answer.reveal().strip()
    if text.partition("?")[0] == started.url.partition("?")[0] and "client_id=" in text:
        return "that is the address to open, not the one it ended on"
    if not any(mark in text for mark in "=?/&"):
        return "the whole address is needed, not only the code"
    return ""


# ── by device code ────────────────────────────────────────────────────────────────────────────────────────────


def _by_device(session: Session, vault: Vault, name: str, wish: Wish) -> ConnectionInfo:
    started = vault.begin_device(name, wish=wish)
    shown = started.shown
    say(
        f"on any device, open\n\n  {clean(shown.verification_uri)}\n\nand type the code\n\n  {clean(shown.user_code)}\n"
    )
    say(f"the code is good for {shown.expires_in / 60:.0f} minutes; waiting (Ctrl-C ends it)")
    try:
        return vault.finish_device(started)
    except KeyboardInterrupt:
        # The asking goes on, on a thread that would outlive us by minutes; nothing of it is worth keeping.
        code = interrupted(as_json=session.json)
        sys.stderr.flush()
        os._exit(code)


# ── what came of it ───────────────────────────────────────────────────────────────────────────────────────────


def _show(session: Session, made: ConnectionInfo, *, reconnected: bool) -> None:
    if session.json:
        out_json({**made.to_dict(), "reconnected": reconnected})
        return
    out(f"{clean(made.name)}: {'reconnected; its name stays' if reconnected else 'connected'}")
    out(f"  asked for:  {clean(made.asked.join()) or 'nothing by name; --scope asks for more'}")
    out(f"  granted:    {clean(made.granted.join()) or 'not said'}")
    missing = made.granted.missing(made.asked)
    if made.granted and missing:
        out(f"  not granted: {clean(missing.join())}")
    out(f"  good until: {moment(made.expires_at, 'not said')}")
    if not made.renewable:
        say("the provider gave no refresh token: when this token ends, a person must connect again")

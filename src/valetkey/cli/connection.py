"""`valetkey connection`: look at connections, renew them, end them. What may not be here: obtaining them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import click

from valetkey.cli.base import Group, Session
from valetkey.cli.completing import complete_apps, complete_connections
from valetkey.cli.show import clean, distance, facts, moment, out, out_json, say, table
from valetkey.errors import NotFound, ProviderError

if TYPE_CHECKING:
    from valetkey.vault.views import ConnectionInfo

STATES: Final = ("pending", "active", "failing", "ambiguous", "needs_reconnect", "revoked")


@click.group(cls=Group)
def connection() -> None:
    """List, show, renew and end connections."""


@connection.command("list")
@click.argument("app", required=False, default="", shell_complete=complete_apps)
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--count", is_flag=True, help="Only how many there are in each state; opens none of them.")
@click.pass_obj
def list_(session: Session, *, app: str, state: str | None, count: bool) -> None:
    """List connections, all or those of one app."""
    with session.open() as vault:
        if app and not vault.states(app):
            vault.app(app)  # raises NotFound: a mistyped name is no app without connections
        if count:
            _show_counts(session, vault.states(app))
            return
        found = [info for info in vault.connections(app) if state in {None, info.state}]
    if session.json:
        out_json([info.to_dict() for info in found])
    elif not found:
        say("no connections; `valetkey connect APP/LABEL` makes one")
    else:
        table(("NAME", "PROVIDER", "STATE", "EXPIRES", "RENEWS"), [_row(info) for info in found])
        out()
        out(_counted(Counter(info.state for info in found)))


def _row(info: ConnectionInfo) -> tuple[str, ...]:
    expires = distance(info.expires_at, "not said")
    return info.name, info.provider or "?", info.state, expires, "by itself" if info.renewable else "by a person"


def _show_counts(session: Session, counts: dict[str, int]) -> None:
    if session.json:
        out_json(counts)
    else:
        out(_counted(counts))


def _counted(counts: dict[str, int]) -> str:
    parts = [f"{counts[state]} {state}" for state in STATES if counts.get(state)]
    total = sum(counts.values())
    return f"{total} {'connection' if total == 1 else 'connections'}" + (f": {', '.join(parts)}" if parts else "")


@connection.command()
@click.argument("name", metavar="APP/LABEL", shell_complete=complete_connections)
@click.pass_obj
def show(session: Session, *, name: str) -> None:
    """Show a connection: state, scopes, times, hosts, and what went wrong last."""
    with session.open() as vault:
        info = vault.connection(name)
    if session.json:
        out_json(info.to_dict())
        return
    facts(
        {
            "name": info.name,
            "provider": info.provider,
            "state": info.state,
            "grant": info.grant,
            "scopes asked": info.asked.join(),
            "scopes granted": info.granted.join(),
            "not granted": info.granted.missing(info.asked).join() if info.granted else "",
            "token expires": moment(info.expires_at, "not said"),
            "refresh token ends": moment(info.refresh_expires_at),
            "renews": "by itself" if info.renewable else "by a person",
            "connected": moment(info.created_at),
            "last token": moment(info.refreshed_at),
            "refreshes": info.refreshes,
            "rotates": {None: "not seen yet", True: "yes", False: "no"}[info.rotates],
            "hosts": ", ".join(info.hosts),
            "kept": ", ".join(f"{key}={value}" for key, value in info.kept.items()),
            "token fingerprint": info.access_fingerprint,
            "client secret from": info.secret_ref,
        }
    )
    if info.parts:
        out()
        out("other tokens of the same grant:")
        facts(
            {f"  {part.name}": f"until {moment(part.expires_at, 'the provider says otherwise')}" for part in info.parts}
        )
    if info.trouble:
        out()
        out("what went wrong last:")
        facts({f"  {key}": value for key, value in info.trouble.items()})
    _show_outlook(info)


def _show_outlook(info: ConnectionInfo) -> None:
    if info.forecasts:
        out()
        out("what is to come:")
        for one in info.forecasts:
            out(f"  {moment(one.when)}, {one.sure}: {clean(one.what)}")
    if info.drift:
        out()
        out("what the provider does otherwise than the catalogue says (valetkey goes by what it does):")
        facts({f"  {one.fact}": f"{one.seen}; the catalogue says: {one.catalogue}" for one in info.drift})


@connection.command()
@click.argument("name", metavar="APP/LABEL", shell_complete=complete_connections)
@click.pass_obj
def refresh(session: Session, *, name: str) -> None:
    """Renew a connection's token now, whether it is time or not."""
    with session.open() as vault:
        info = vault.refresh_connection(name)
    if session.json:
        out_json(info.to_dict())
    else:
        out(f"{clean(info.name)}: renewed; good until {moment(info.expires_at, 'the provider says otherwise')}")


ENDED: Final = {
    "revoked": "revoked at the provider, and forgotten",
    "unsupported": "forgotten here; the provider has no way to revoke it, so take the app's access away on its pages",
    "nothing_to_revoke": "forgotten; there was no token to revoke",
    "failed": "forgotten here; the provider did not take the revocation, so its tokens live until they expire",
}
"""What became of a connection, by the word of vault/disconnect.py."""


@connection.command()
@click.argument("name", metavar="APP/LABEL", shell_complete=complete_connections)
@click.option("--force", is_flag=True, help="Forget it even if the provider cannot be told.")
@click.pass_obj
def rm(session: Session, *, name: str, force: bool) -> None:
    """End a connection: revoke it at the provider where that can be done, and forget it."""
    with session.open() as vault:
        try:
            outcome = vault.disconnect(name, force=force)
        except NotFound as refusal:
            names_only, _, _ = refusal.fix.partition("; ")  # who ends it does not want to make it
            raise NotFound(refusal.message, fix=names_only) from None
        except ProviderError as refusal:
            aside = f"`valetkey connection rm {name} --force` forgets it here, whatever the provider says"
            refusal.fix = f"{refusal.fix}; {aside}" if refusal.fix else aside
            raise
    if session.json:
        out_json({"name": name, "revocation": outcome})
    else:
        out(f"{clean(name)}: {ENDED[outcome]}")

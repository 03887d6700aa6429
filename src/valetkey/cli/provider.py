"""`valetkey provider`: what is known of providers, with the source of each fact.

What may not be here: changing them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from valetkey.cli.base import Group, Session
from valetkey.cli.completing import complete_shown_providers
from valetkey.cli.show import clean, fold, out, out_json, table

if TYPE_CHECKING:
    from valetkey.providers.schema import Provider


@click.group(cls=Group)
def provider() -> None:
    """Show what is known of providers."""


@provider.command("list")
@click.pass_obj
def list_(session: Session) -> None:
    """List the providers of the catalogue."""
    from valetkey.providers import keys, load

    found = [load(key) for key in keys()]
    if session.json:
        out_json(
            [{"key": entry.key, "name": entry.name, "grants": entry.grants, "docs": entry.docs} for entry in found]
        )
        return
    rows = [(entry.key, entry.name, ", ".join(entry.grants), ", ".join(entry.parameters)) for entry in found]
    table(("KEY", "NAME", "GRANTS", "PARAMETERS"), rows)


@provider.command()
@click.argument("key", shell_complete=complete_shown_providers)
@click.pass_obj
def show(session: Session, *, key: str) -> None:
    """Show a provider: every fact with where and when it was read, and the notes."""
    found = _described(key)
    if session.json:
        out_json(found)
        return
    out(f"{clean(found.name)} ({found.key})")
    for name, url in (("documentation", found.docs), ("console", found.console)):
        if url:
            out(f"  {name}: {clean(url)}")
    _show_parameters(found)
    _show_facts(found)
    if found.notes:
        from valetkey.cli.trial import typed_here

        for note in found.notes:
            out(fold(clean(typed_here(note)), first="  - ", rest="    "))


def _described(key: str) -> Provider:
    """Return a provider of the catalogue, or what is known of the sandbox, which is in none; raises NotFound."""
    if key == "sandbox":
        from valetkey.cli.trial import usual_sandbox

        return usual_sandbox()
    from valetkey.providers import load

    return load(key)


def _show_parameters(found: Provider) -> None:
    if found.parameters:
        out()
        rows = [(name, given.default or "(needed)", given.about) for name, given in found.parameters.items()]
        table(("PARAMETER", "DEFAULT", "MEANING"), rows)


def _show_facts(found: Provider) -> None:
    from valetkey.providers.facts import leaves, source_of

    rows = []
    for path, value in leaves(found).items():
        if path.startswith(("notes.", "parameters.")):
            continue
        source = source_of(found, path)
        rows.append((path, _plain(value), *((source.sure, source.date, source.where) if source else ("", "", ""))))
    if rows:
        told = 5 if any(row[2] for row in rows) else 2  # of the sandbox nothing was read anywhere: it says so itself
        out()
        table(("FACT", "VALUE", "KNOWN", "READ ON", "SOURCE")[:told], [row[:told] for row in rows])
        out()


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)

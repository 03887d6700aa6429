"""What a shell may complete to: names of providers, and of apps and connections of the vault that the line names.

What may not be here: the script for the shell (completion.py), and anything that fails or is said.
"""

from __future__ import annotations

from typing import Any

import click


def complete_apps(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the apps whose names begin so."""
    return _names(context, "app/", begun)


def complete_connections(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the connections whose names begin so; none behind the dashes, where another program's words stand."""
    from valetkey.cli.base import BEHIND

    return [] if BEHIND in context.meta else _names(context, "connection/", begun)


def complete_new_connections(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Return connections, which may be renewed, and apps with a slash behind, for what is to be connected."""
    return [*(f"{app}/" for app in complete_apps(context, parameter, begun)), *_names(context, "connection/", begun)]


def complete_providers(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the providers of the catalogue whose keys begin so."""
    from valetkey.providers import keys

    return [key for key in keys() if key.startswith(begun)]


def complete_shown_providers(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Return all that can be shown: the catalogue, and the sandbox, which is in none."""
    return sorted(
        [*complete_providers(context, parameter, begun), *(["sandbox"] if "sandbox".startswith(begun) else [])]
    )


def complete_new_apps(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Return what an app may be called: as its provider, which then need not be said; with --replace, what apps are."""
    return (complete_apps if context.params.get("replace") else complete_providers)(context, parameter, begun)


def _names(context: click.Context, prefix: str, begun: str) -> list[str]:
    from valetkey.vault.glance import names_in
    from valetkey.vault.quick import places

    session: Any = context.find_root().obj
    return names_in(getattr(session, "vault", None) or places()[0], prefix, begun)

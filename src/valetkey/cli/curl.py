"""`valetkey curl`: run the real curl with the token on the request, and the token in nobody's argument list.

Which addresses curl would ask is found in curlargs.py; where a token may go, in inject/rule.py. What may not be here:
tokens in arguments or files.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import click

from valetkey.cli.base import AfterDashes, Session, behind
from valetkey.cli.completing import complete_connections
from valetkey.cli.show import clean, say
from valetkey.errors import InvalidInput

if TYPE_CHECKING:
    from valetkey.inject.rule import Target
    from valetkey.library import Vault
    from valetkey.vault.views import AppInfo, Credential

IN_CLEAR = ", and goes by plain http to this machine alone"


@click.command(cls=AfterDashes, tail="URL [CURL ARGUMENTS]...")
@click.argument("name", metavar="APP/LABEL", shell_complete=complete_connections)
@click.pass_context
def curl(context: click.Context, *, name: str) -> None:
    """Run curl with a connection's token on the request.

    \b
        valetkey curl google/alice -- https://www.googleapis.com/drive/v3/about -G -d fields=user

    The token goes into the Authorization header, and only to hosts of the connection, over https (loopback excepted).
    curl itself keeps it from other hosts when it follows redirects with --location. It stands in no argument and no
    file. curl's own configuration file is not read, and options that would lead the request elsewhere (--proxy,
    --connect-to, --resolve and their like) need TLS with the certificates of this machine. The exit code is curl's.
    """  # noqa: D301  # \b is click's mark for lines that stay as they are
    session: Session = context.obj
    example = "APP/LABEL" if "://" in name else name  # the address may have been given in its place
    given = behind(context, f"valetkey curl {example} -- https://api.example.com/me")
    from valetkey.cli.curlargs import curl_here, judge_ways, read_arguments
    from valetkey.cli.handover import become, inherited_path
    from valetkey.inject.rule import ENCRYPTED, headers, missing

    here = curl_here()
    reading = read_arguments(given, here)
    with session.open() as vault:
        credential = vault.credential(name)
        targets = [_checked(address, credential, vault, name) for address in reading.addresses]
        over_tls = {target.scheme in ENCRYPTED for target in targets}
        plain = False in over_tls
        judge_ways(reading, plain=plain, encrypted=True in over_tls)
        for target in targets:
            credential.told(credential.token, target.host, "")
    if reading.shows_headers:
        say("curl shows the token with this option; take care where its output goes")
    own = {header for header in credential.headers if header.lower() in reading.headers}
    lines = "".join(f"{header}: {value}\r\n" for header, value in missing(headers(credential), own).items())
    # -q goes first: a configuration file could name other addresses, or --location-trusted.
    command = [here.path, "-q", "-H", f"@{inherited_path(lines.encode())}"]
    # On loopback the token may travel unencrypted, so no proxy may stand in between. This goes before what was given,
    # which may end in an option that still wants a value; a --noproxy that could undo it is refused.
    command += ["--noproxy", "*"] if plain else []
    become([*command, *given], os.environ)


def _checked(address: str, credential: Credential, vault: Vault, name: str) -> Target:
    """Return where an address leads; raises InvalidInput if the token may not go there."""
    from valetkey.cli.curlargs import destination
    from valetkey.inject.rule import Target, allowed

    scheme, host, port = destination(address)
    target = Target(scheme, host, port)
    if not allowed(credential.hosts, target):
        credential.told(credential.token, target.host, "host_not_allowed")
        raise InvalidInput(
            f"the token of {name} may not go to {scheme}://{target.shown}",
            code="host_not_allowed",
            cause=f"it is bound to {clean(', '.join(credential.hosts))}" + (IN_CLEAR if target.in_clear else ""),
            fix=_fix(target, credential, vault.app(name.partition("/")[0])),
        )
    return target


def _fix(target: Target, credential: Credential, app: AppInfo) -> str:
    """Return what lets a token go to a place: the app's hosts with it, because they are named as a whole."""
    from valetkey.inject.rule import allowed

    if target.in_clear:
        encrypted = target.over_tls()
        if allowed(credential.hosts, encrypted):
            return "ask by https"
        return f"ask by https, and {_fix(encrypted, credential, app)}"
    pattern = target.pattern
    if not pattern:
        return "correct the address"
    # Without hosts of its own an app has that of its token endpoint, until others are named.
    own = [host for host in app.hosts if host in credential.hosts and host not in app.description.api.hosts]
    words = " ".join(f"--host {shlex.quote(host)}" for host in (*own, pattern))
    return (
        f"correct the address; or let the tokens of {clean(app.name)} go there too: "
        f"`valetkey app add {clean(app.name)} --replace {clean(words)}`"
    )

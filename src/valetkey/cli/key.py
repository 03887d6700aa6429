"""`valetkey key`: keys that sign tokens.

What may not be here: a private half shown to somebody who did not ask for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from valetkey.cli.base import Group, Session
from valetkey.cli.show import facts, out, out_bytes, out_json, say

if TYPE_CHECKING:
    from valetkey.jose import Key


@click.group(cls=Group)
def key() -> None:
    """Make and look at keys that sign tokens."""


@key.command()
@click.option("--alg", default="ES256", show_default=True, help="What it signs with: ES256, EdDSA, RS256, HS256, …")
@click.option("--kid", default="", help="Its name in token headers [default: its thumbprint, RFC 7638].")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jwk", "pem"]),
    help="The form [default: pem for a pair whose FILE ends in .pem, else jwk].",
)
@click.option("--out", "path", metavar="FILE", help="Write it to a new file that only you can read.")
@click.pass_obj
def generate(session: Session, *, alg: str, kid: str, form: str | None, path: str | None) -> None:
    """Make a new private key, or a shared secret.

    Without --out it goes to standard output, to be piped into a secret manager.
    """
    from valetkey.cli.signingkeys import keep, written
    from valetkey.jose import Key

    made = Key.generate(alg, kid=kid or None)
    if form is None:  # of a shared secret there is no PEM
        form = "pem" if path is not None and path.lower().endswith(".pem") and not made.is_secret else "jwk"
    data = written(made, form, private=True)
    if path is None:
        out_bytes(data)
        return
    keep(path, data)
    if session.json:
        out_json({**_shown(made), "file": path})
    else:
        told = (
            "it both signs and verifies"
            if made.is_secret
            else f"give verifiers `valetkey key public {path}{_for(made, form)}`"
        )
        say(f"a new {made.alg} key is in {path}, as {form.upper()}; {told}")
        if kid and form == "pem":
            say("PEM has no place for its kid: name it where the key is used")


@key.command()
@click.argument("path", metavar="FILE")
@click.option("--alg", default="", help="What the key is for, where the file does not say (RSA in PEM).")
@click.pass_obj
def show(session: Session, *, path: str, alg: str) -> None:
    """Show what is in a key file (JWK, JWK Set or PEM), without the key."""
    from valetkey.cli.signingkeys import read_keys

    found = [_shown(one) for one in read_keys([path], alg=alg)]
    if session.json:
        out_json(found)
        return
    for place, one in enumerate(found):
        if place:
            out()
        facts(one)


@key.command()
@click.argument("path", metavar="FILE")
@click.option("--alg", default="", help="What the key is for, where the file does not say (RSA in PEM).")
@click.option(
    "--format", "form", type=click.Choice(["jwk", "jwks", "pem"]), default="jwk", show_default=True, help="The form."
)
@click.pass_obj
def public(session: Session, *, path: str, alg: str, form: str) -> None:
    """Print the public half of a key, for those who verify. JWK and JWK Set are JSON by themselves."""
    from valetkey.cli.signingkeys import read_key, written

    half = read_key(path, alg=alg).public()
    data = written(half, form, private=False)
    if session.json and form == "pem":
        out_json({**_shown(half), "pem": data.decode()})
    else:
        out_bytes(data)


def _for(made: Key, form: str) -> str:
    """Return the option that says what a key is for, where its file does not."""
    return f" --alg {made.alg}" if form == "pem" and made.alg.startswith(("RS", "PS")) else ""


def _shown(one: Key) -> dict[str, str]:
    kind = "secret" if one.is_secret else "private" if one.is_private else "public"
    return {"alg": one.alg, "kid": one.kid, "kind": kind, "thumbprint": "" if one.is_secret else one.thumbprint()}

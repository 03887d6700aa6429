"""`valetkey jwt`: sign, verify and explain tokens. What may not be here: rules (jose/), keys (signingkeys.py)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from valetkey.cli.ask import file_text
from valetkey.cli.base import FormCommand, Group, Session, pairs
from valetkey.cli.exits import KEYS_NOT_HERE, REFUSED
from valetkey.cli.show import clean_lines, out, out_json, say
from valetkey.cli.wording import SETTINGS, for_commands
from valetkey.errors import InvalidInput, TokenRefused
from valetkey.values import shown_path

if TYPE_CHECKING:
    from valetkey.jose import Policy
    from valetkey.tokens import Keys

C = TypeVar("C", bound=Callable[..., Any])

NOT_NOW: Final = 503
"""The status of reasons that say nothing of the token: its keys could not be had."""

UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@click.group(cls=Group)
def jwt() -> None:
    """Sign, verify and explain tokens."""


def duration(text: str, option: str) -> timedelta:
    """Read 90s, 15m, 12h or 1d; raises InvalidInput."""
    read = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    if read is None:
        raise InvalidInput(f"{option} takes a length of time", fix=f"for example: {option} 15m (s, m, h or d)")
    return timedelta(seconds=int(read[1]) * UNITS[read[2] or "s"])


# ── sign ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """Be what `valetkey jwt sign` was given."""

    key: str | None
    secret_file: str | None
    secret_ref: str
    alg: str
    issuer: str
    subject: str
    audience: tuple[str, ...]
    scope: tuple[str, ...]
    lifetime: str
    allow_long_lifetime: bool
    typ: str
    claim: tuple[str, ...]


@jwt.command(cls=FormCommand, form=Signing)
@click.option("--key", metavar="FILE", help="The private key: JWK or PEM.")
@click.option(
    "--secret-file", metavar="FILE", help="A shared secret (HS256): the bytes of a file; - is standard input."
)
@click.option("--secret-ref", default="", metavar="REF", help="Where secret or key is kept: vault:PATH#FIELD, …")
@click.option("--alg", default="", help="What the key is for, where its file does not say.")
@click.option("--issuer", default="", help="Who issues it (iss).")
@click.option("--subject", default="", help="Whom it speaks of (sub).")
@click.option("--audience", multiple=True, help="Whom it is for (aud); repeatable.")
@click.option("--scope", multiple=True, help="What it allows (repeat, or separate by blanks).")
@click.option("--lifetime", default="15m", show_default=True, help="How long it is good: 90s, 15m, 1h.")
@click.option("--allow-long-lifetime", is_flag=True, help="Let it live longer than an hour.")
@click.option("--typ", default="JWT", show_default=True, help="Its kind; at+jwt for access tokens (RFC 9068).")
@click.option(
    "--claim", multiple=True, metavar="NAME=VALUE", help="One more claim; a value that is JSON is taken as JSON."
)
def sign(session: Session, given: Signing) -> None:
    """Print a signed token, issued now, with an expiry and an id.

    Where --vault or VALETKEY_VAULT names a vault, it is in that vault's audit log before it is printed.
    """
    from valetkey import tokens
    from valetkey.cli.signingkeys import read_key

    token = tokens.sign(
        read_key(given.key, given.secret_file, given.alg, secret_ref=given.secret_ref),
        issuer=given.issuer or None,
        subject=given.subject or None,
        audience=given.audience or None,
        scope=" ".join(given.scope) or None,
        lifetime=duration(given.lifetime, "--lifetime"),
        typ=given.typ,
        claims={name: _json_or_text(text) for name, text in pairs(given.claim, "--claim").items()} or None,
        allow_long_lifetime=given.allow_long_lifetime,
    )
    with session.open_if_named() as vault:
        if vault is not None:
            vault.issued(token)
    if session.json:
        out_json({"token": token})
    else:
        out(token)
        _remark_for_all(given)


def _remark_for_all(given: Signing) -> None:
    missing = [name for name in ("issuer", "audience") if not getattr(given, name)]
    if not missing:
        return
    meaning = {"issuer": "from nobody in particular", "audience": "for everybody"}
    say(
        f"this token is {' and '.join(meaning[name] for name in missing)}: `valetkey jwt verify`, as other careful "
        f"verifiers, will not take it; {' '.join(f'--{name} …' for name in missing)} would say"
    )


def _json_or_text(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


# ── verify and explain ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """Be what a token is held against: keys, and what the policy demands."""

    token_file: str
    key: tuple[str, ...]
    secret_file: str | None
    secret_ref: str
    jwks_url: str
    discover: bool
    allow_private: bool
    alg: str
    issuer: str
    audience: tuple[str, ...]
    scope: tuple[str, ...]
    any_scope: tuple[str, ...]
    subject: str | None
    typ: tuple[str, ...]
    required: tuple[str, ...]
    max_age: str
    max_lifetime: str
    leeway: str

    def policy(self) -> Policy:
        """Return the policy; raises InvalidInput."""
        from valetkey.jose import Policy

        demanded: dict[str, Any] = {"issuer": self.issuer, "audience": self.audience, "subject": self.subject}
        demanded |= {"scope": " ".join(self.scope), "any_scope": " ".join(self.any_scope), "required": self.required}
        if self.typ:
            demanded["typ"] = self.typ
        for name in ("max_age", "max_lifetime", "leeway"):
            if text := getattr(self, name):
                demanded[name] = duration(text, f"--{name.replace('_', '-')}")
        return Policy(**demanded)

    def keys(self) -> Keys | None:
        """Return the keys of files, or those that the issuer publishes; None if none were named."""
        here = bool(self.key or self.secret_file or self.secret_ref)
        if here + bool(self.jwks_url) + self.discover > 1:
            raise InvalidInput("keys were named in two ways", fix="give --key, --jwks-url or --discover")
        if self.jwks_url or self.discover:
            from valetkey.jose import RemoteKeys

            return RemoteKeys(
                self.issuer, self.jwks_url or None, alg=self.alg or None, allow_private=self.allow_private
            )
        if not here:
            return None
        from valetkey.cli.signingkeys import read_keys

        return read_keys(self.key, self.secret_file, self.alg, secret_ref=self.secret_ref)

    @contextmanager
    def wording(self, token: str) -> Iterator[None]:
        """Say in a refusal what of the command line may be wrong: the keys' address, or that no token came."""
        try:
            yield
        except TokenRefused as refusal:
            if not token:
                where = "standard input" if self.token_file == "-" else shown_path(self.token_file)
                refusal.message, refusal.expected, refusal.got = f"{where} is empty", "a token", ""
            if (self.jwks_url or self.discover) and refusal.reason in KEYS_NOT_HERE:
                option = "--jwks-url" if self.jwks_url else "--issuer"
                refusal.fix = f"check the address that {option} gives; if it is right, try again later"
            raise

    def token(self) -> str:
        """Read the token."""
        if self.token_file == "-" in {*self.key, self.secret_file}:
            raise InvalidInput("token and key cannot both come from standard input", fix="put one into a file")
        return file_text(self.token_file, "token").strip()


def _demands(command: C) -> C:
    """Add the options of Demands to a command."""
    options: Iterable[Callable[[C], C]] = (
        click.argument("token_file", metavar="[FILE]", default="-"),
        click.option("--key", multiple=True, metavar="FILE", help="A key: JWK, JWK Set or PEM; repeatable."),
        click.option("--secret-file", metavar="FILE", help="A shared secret (HS256): the bytes of a file."),
        click.option("--secret-ref", default="", metavar="REF", help="Where that secret is kept: vault:PATH#FIELD, …"),
        click.option("--jwks-url", default="", metavar="URL", help="Where the issuer publishes its keys."),
        click.option("--discover", is_flag=True, help="Find the issuer's keys by its metadata (RFC 8414, OpenID)."),
        click.option("--allow-private", is_flag=True, help="Fetch keys from a private network too."),
        click.option("--alg", default="", help="What a key is for, where neither file nor key set says."),
        click.option("--issuer", default="", help="The issuer it must come from (iss)."),
        click.option("--audience", multiple=True, help="The audience it must be for (aud); of several, one."),
        click.option("--scope", multiple=True, help="Scopes it must all have."),
        click.option("--any-scope", multiple=True, help="Scopes of which it must have one."),
        click.option("--subject", help="The subject it must speak of (sub)."),
        click.option("--typ", multiple=True, help="The kinds it may be, instead of JWT and at+jwt."),
        click.option("--required", multiple=True, help="A claim it must have; repeatable."),
        click.option("--max-age", default="", help="The longest time since it was issued: 10m."),
        click.option("--max-lifetime", default="", help="The longest lifetime it may have [default: 24h]."),
        click.option("--leeway", default="", help="How far clocks may differ, at most 5m [default: not at all]."),
    )
    for option in reversed(list(options)):
        command = option(command)
    return command


@jwt.command(cls=FormCommand, form=Demands)
@_demands
def verify(session: Session, demands: Demands) -> None:
    """Verify a token and print its claims as JSON.

    The token is read from FILE, or from standard input. Signature, expiry, issuer and audience are always checked.
    A token that is refused ends with exit code 8, and with --json the reason stands in the error; keys that cannot
    be fetched now end with 6. Where --vault or VALETKEY_VAULT names a vault, the verdict is in that vault's audit log.
    """
    from valetkey.tokens import Verifier

    policy, keys = demands.policy(), demands.keys()
    if keys is None:
        raise InvalidInput("no key was given", fix="--key FILE, --secret-file FILE, --jwks-url URL, or --discover")
    token = demands.token()
    with session.open_if_named() as vault:
        verifier = Verifier(policy, keys) if vault is None else vault.verifier(policy, keys)
        with demands.wording(token):
            claims = verifier.verify(token)
    out_json(claims.to_dict())


@jwt.command(cls=FormCommand, form=Demands)
@_demands
def explain(session: Session, demands: Demands) -> None:
    """Show every check of a token with pass or fail, and the setting that changes it.

    Without key, issuer and audience it shows what can be seen without them. Signature and secrets are masked. For
    people: nothing it shows of a token that was refused may be trusted. The exit code is 8 if a check failed.
    """
    from valetkey import tokens
    from valetkey.jose.reasons import REASONS

    policy = demands.policy() if demands.issuer or demands.audience else None
    keys, token = demands.keys(), demands.token()
    if isinstance(keys, tokens.RemoteKeys):
        if policy is None:
            raise InvalidInput("whose keys?", fix="give --issuer and --audience with --jwks-url or --discover")
        verifier = tokens.Verifier(policy, keys)
        try:
            with demands.wording(token):
                verifier.verify(token)  # which fetches the keys
        except TokenRefused as refusal:
            if REASONS[refusal.reason].status == NOT_NOW:
                raise  # of the keys, not of the token
        found = verifier.explain(token)
    else:
        found = tokens.explain(token, policy, keys)
    found = replace(found, checks=tuple(replace(check, fix=for_commands(check.fix)) for check in found.checks))
    if session.json:
        out_json(found.to_dict())
    else:
        out(clean_lines(found.text(SETTINGS.__getitem__)))
    if found.reason:
        raise click.exceptions.Exit(REFUSED)

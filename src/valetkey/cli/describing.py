"""Which provider an app is for: of the catalogue, discovered from an issuer, or put together from URLs.

What may not be here: the app itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from valetkey.cli.trial import USUAL_SANDBOX
from valetkey.errors import InvalidInput, NotFound, ProviderError, Weather
from valetkey.values import secure_url

if TYPE_CHECKING:
    from valetkey.providers.schema import Provider


FOUND: Final = frozenset({"issuer_mismatch", "no_token_endpoint", "no_client_auth", "bad_endpoint"})
"""Reasons for which a description that was found is refused; they say more than that there is none."""


def described(
    name: str, key: str | None, issuer: str, urls: dict[str, str], *, allow_private: bool = False
) -> tuple[str, Provider | None]:
    """Return the provider's key, and its description where the catalogue's own does not do.

    `urls` are endpoints by their name in the schema; `allow_private` is for an issuer in one's own network.
    Raises NotFound, InvalidInput, InsecureUrl, ProviderError.
    """
    from valetkey.providers import load

    if key == "generic" and issuer:
        key = None  # whoever describes itself needs no description by hand
    if key == "sandbox" or (name == "sandbox" and not (key or urls or issuer)):
        raise NotFound(
            "the sandbox is in no catalogue",
            cause="it describes itself, for as long as it runs",
            fix=f"--issuer {USUAL_SANDBOX}; `valetkey provider show sandbox` says what its clients are",
        )
    if key and issuer:
        raise InvalidInput("a provider and --issuer were given", fix="leave one of them out")
    if allow_private and not issuer:
        raise InvalidInput("--allow-private is for --issuer", fix="leave it out: URLs given by hand may lie anywhere")
    _judge(urls)
    base = discovered(issuer, allow_private=allow_private) if issuer else load(key or _guessed(name, urls))
    if not urls and not issuer:
        return base.key, None
    return base.key, laid_over(base, urls)


def laid_over(base: Provider, urls: dict[str, str]) -> Provider:
    """Return a description with endpoints in the place of its own; raises InvalidInput, InsecureUrl."""
    from valetkey.providers import overridden

    _judge(urls)
    return overridden(base, {f"endpoints.{endpoint}": url for endpoint, url in urls.items()})


def _judge(urls: dict[str, str]) -> None:
    for endpoint, url in urls.items():
        secure_url(url, f"{endpoint} URL")  # said by its own code (insecure_url), ahead of the general check


def _guessed(name: str, urls: dict[str, str]) -> str:
    from valetkey.providers import keys, near

    if name in keys():
        return name
    if urls:
        return "generic"
    alike = near(name)
    raise InvalidInput(
        f"which provider is {name[:80]!r} for?",
        fix=(f"did you mean {' or '.join(alike)}? " if alike else "")
        + f"`valetkey app add {name[:80]} PROVIDER` (`valetkey provider list` shows them), or --issuer URL, "
        "or --token-url and --authorize-url",
    )


def discovered(issuer: str, *, allow_private: bool = False) -> Provider:
    """Ask an issuer to describe itself (RFC 8414); raises Weather, or what read_discovery raises."""
    from valetkey.oauth.discovery import discovery_requests, read_discovery
    from valetkey.transport.sync import Transport

    transport = Transport()
    refusals: list[tuple[str, ProviderError]] = []
    try:
        for request in discovery_requests(issuer, allow_private=allow_private):
            try:
                return read_discovery(issuer, transport.send(request), allow_private=allow_private)
            except Weather as weather:
                weather.fix = f"check the address that --issuer names; if it is right, {weather.fix}"
                raise
            except ProviderError as refusal:
                refusals.append((request.url, refusal))  # the document may stand at the other place
    finally:
        transport.close()
    read = next((refusal for _url, refusal in refusals if refusal.evidence.get("reason") in FOUND), None)
    if read is not None:
        raise read
    raise ProviderError(
        f"{issuer} does not describe itself",
        code="discovery_failed",
        cause="; ".join(f"{url}: {refusal.message}" for url, refusal in refusals),
        fix="check the issuer's address; a server without discovery is described by --token-url and --authorize-url",
    )

"""Who sits at the browser: one random cookie, and the guard on every form.

The cookie is the secret that an authorization is bound to, so that an answer is good only in the browser that asked.
A form carries its hash: who does not know the cookie cannot make a form, and who sees the form learns nothing.
What may not be here: routes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from valetkey.values import Secret

COOKIE_BYTES: Final = 32

COOKIE_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
"""32 bytes in base64url; anything else is not ours, and a new one is set."""


def cookie_name(public_url: str, what: str = "browser") -> str:
    """Return the cookie's name: `__Host-` where there is https, else with the port in it.

    Browsers share cookies between the ports of a host, and take `__Host-` over https only (RFC 6265bis section 4.1.3).
    """
    parts = urlsplit(public_url)
    return f"__Host-valetkey-{what}" if parts.scheme == "https" else f"valetkey_{what}_{parts.port or 80}"


def cookie_header(public_url: str, value: str, what: str = "browser") -> str:
    """Return a Set-Cookie header; Lax, because the provider sends the person back from another site."""
    secure = "; Secure" if public_url.startswith("https:") else ""
    return f"{cookie_name(public_url, what)}={value}; Path=/; HttpOnly; SameSite=Lax{secure}"


def browser_of(cookies: Mapping[str, str], public_url: str) -> Secret | None:
    """Return the browser's secret, or None where it has none of ours yet."""
    value = cookies.get(cookie_name(public_url), "")
    return Secret(value) if COOKIE_VALUE.fullmatch(value) else None


def form_token(browser: Secret) -> str:
    """Return what a form must carry (synchronizer of RFC 6749 section 10.12)."""
    return _hash(b"form", browser)


def place_of(browser: Secret) -> str:
    """Return the name under which something is kept for this browser."""
    return _hash(b"place", browser)


def from_our_page(browser: Secret | None, headers: Mapping[str, str], token: str, public_url: str) -> bool:
    """Say whether a form came from one of our pages in this browser; the caller refuses if not.

    The token decides. What the browser itself says of the sender is asked too, because a neighbour on another port can
    plant a cookie; "null" is what browsers send from a page without referrer, as ours are.
    """
    site, origin = headers.get("sec-fetch-site", ""), headers.get("origin", "")
    if site not in {"", "same-origin"} or (not site and origin not in {"", "null", public_url}):
        return False
    return browser is not None and hmac.compare_digest(form_token(browser).encode(), token.encode())


def _hash(what: bytes, browser: Secret) -> str:
    return hashlib.sha256(b"valetkey " + what + b"\0" + browser.reveal().encode()).hexdigest()

"""The pages a person sees: login, consent, device code, done, sorry. Plain HTML forms, one style, no script.

Whatever comes from outside goes through `escape`. What may not be here: decisions.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from typing import Final
from urllib.parse import urlsplit

from valetkey.testing.clients import SCOPES
from valetkey.testing.wire import NO_STORE
from valetkey.values import Response, Scopes

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fff; --ground: #eef1f5; --line: #cdd5df; --key: #1f5fbf }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --paper: #1b2028; --ground: #11151b; --line: #3a4452; --key: #7fb0ff }
}
* { box-sizing: border-box }
body { margin: 0; padding: 8vh 1rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif }
main { max-width: 26rem; margin: auto; padding: 2rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: .75rem }
h1 { margin: 0 0 1rem; font-size: 1.35rem; line-height: 1.25 }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600 }
input { width: 100%; padding: .6rem; font: inherit; color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: .4rem }
.row { display: flex; gap: .75rem; margin-top: 1.5rem }
button { flex: 1; padding: .65rem; font: inherit; font-weight: 600; color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: .4rem; cursor: pointer }
button.go { color: var(--paper); background: var(--key); border-color: var(--key) }
:focus-visible { outline: 3px solid var(--key); outline-offset: 2px }
code { overflow-wrap: anywhere }
.small { margin: 1.5rem 0 0; font-size: .85rem; opacity: .75 }
.code { font: 600 1.5rem/1 ui-monospace, monospace; letter-spacing: .1em }
"""

STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
"""So that the policy lets this one style in and nothing else."""

FOOT: Final = "This is a sandbox on your own machine. It knows nobody; any password will do."


def page(title: str, body: str, *, status: int = 200, to: str = "", cookie: str = "") -> Response:
    """Answer with a page. `to` is the redirect URI its form may end at, `cookie` a cookie to set."""
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · valetkey sandbox</title><style>{STYLE}</style></head>"
        f'<body><main><h1>{escape(title)}</h1>{body}<p class="small">{FOOT}</p></main></body></html>'
    )
    # Browsers apply form-action to the redirect that follows a form, so the client's own origin must be named.
    policy = (
        f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self'{_origin(to)}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        **NO_STORE,
        **({"set-cookie": cookie} if cookie else {}),
    }
    return Response(status, headers, html.encode())


def _origin(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.scheme in {"http", "https"}:
        return f" {parts.scheme}://{parts.netloc}"
    return f" {parts.scheme}:" if parts.scheme else ""


def login(action: str, csrf: str, *, to: str = "", code: str = "", cookie: str = "", wrong: bool = False) -> Response:
    """Ask who is there, to connect the device with this `code`; `wrong`: what was typed before was no name."""
    why = f'<p>To connect the device that shows this code:</p><p class="code">{escape(code)}</p>' if code else ""
    sorry = '<p role="alert">Please type a name of up to 64 characters.</p>' if wrong else ""
    body = (
        f'{why}{sorry}<form method="post" action="{escape(action)}"><input type="hidden" name="csrf" value="{csrf}">'
        '<label for="login">Name</label>'
        '<input id="login" name="login" required maxlength="64" autocomplete="username" autofocus placeholder="alice">'
        '<label for="password">Password</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password">'
        '<div class="row"><button class="go">Sign in</button></div></form>'
    )
    return page("Sign in to the sandbox", body, to=to, cookie=cookie)


def consent(action: str, csrf: str, *, client: str, user: str, scopes: Scopes, to: str = "") -> Response:
    """Ask whether the client may."""
    asked = "".join(f"<li>{escape(SCOPES.get(scope, scope))} <code>{escape(scope)}</code></li>" for scope in scopes)
    where = f"<p>Then you go back to <code>{escape(to.split('?', 1)[0])}</code>.</p>" if to else ""
    body = (
        f"<p>You are <strong>{escape(user)}</strong>. If you allow it, this app can:</p><ul>{asked}</ul>{where}"
        f"{_decide(action, csrf)}"
    )
    return page(f"{client} wants to act for you", body, to=to)


def confirm_device(action: str, csrf: str, *, client: str, user: str, scopes: Scopes, code: str) -> Response:
    """Ask whether the device with this code may (RFC 8628 section 3.3.1: show the code, let the person compare)."""
    asked = ", ".join(escape(SCOPES.get(scope, scope)) for scope in scopes)
    body = (
        f'<p>You are <strong>{escape(user)}</strong>. Does your device show this code?</p><p class="code">'
        f"{escape(code)}</p><p>If you allow it, it can: {asked}.</p>{_decide(action, csrf)}"
    )
    return page(f"{client} wants to act for you", body)


def _decide(action: str, csrf: str) -> str:
    return (
        f'<form method="post" action="{escape(action)}"><input type="hidden" name="csrf" value="{csrf}">'
        '<div class="row"><button name="decision" value="deny">Deny</button>'
        '<button class="go" name="decision" value="allow">Allow</button></div></form>'
    )


NO_SUCH_CODE: Final = "No device waits with this code. Is it typed right?"
USED_CODE: Final = "This code was answered already. If the device still waits, let it show a new one."
OLD_CODE: Final = "This code is too old. Let the device show a new one."


def ask_code(typed: str = "", wrong: str = "") -> Response:
    """Ask for the code that the device shows; what was typed stays there, and `wrong` says what is wrong with it."""
    sorry = f'<p role="alert">{escape(wrong)}</p>' if wrong else ""
    value = f' value="{escape(typed[:20])}"' if typed else ""
    body = (
        f'{sorry}<form method="get" action="/device"><label for="user_code">Code on your device</label>'
        f'<input id="user_code" name="user_code" class="code" required maxlength="20" autofocus{value} '
        'autocomplete="off" autocapitalize="characters" spellcheck="false" placeholder="BCDF-GHJK">'
        '<div class="row"><button class="go">Next</button></div></form>'
    )
    return page("Connect a device", body, status=400 if wrong else 200)


def done(title: str, text: str) -> Response:
    """Say that all is done."""
    return page(title, f"<p>{escape(text)}</p>")


def sorry(code: str, text: str, status: int = 400) -> Response:
    """Show an error that must not go to the client, because nobody knows who that is (RFC 6749 section 4.1.2.1)."""
    body = (
        f"<p>{escape(text)}</p><p>Error: <code>{escape(code)}</code></p>"
        "<p>Nothing was given away, and you were not sent back.</p>"
    )
    return page("This request cannot be met", body, status=status)


def home(issuer: str, clients: Iterable[tuple[str, str]]) -> Response:
    """Say what this is, to whoever opens the address."""
    rows = "".join(f"<li><code>{escape(name)}</code> {escape(about)}</li>" for name, about in clients)
    body = (
        "<p>An OAuth 2.0 authorization server and a protected API, for trying things out.</p>"
        f"<p>Issuer: <code>{escape(issuer)}</code></p><p>Registered clients:</p><ul>{rows}</ul>"
        '<p><a href="/.well-known/oauth-authorization-server">What it offers</a> (RFC 8414), '
        '<a href="/device">connect a device</a>.</p>'
    )
    return page("valetkey sandbox", body)

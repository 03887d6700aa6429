"""Templates, the one style, and the policy that lets nothing else in. What may not be here: routes, decisions."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Response
from markupsafe import Markup, escape

from valetkey._version import __version__
from valetkey.web.answers import Outcome

FOLDER: Final = files("valetkey.web") / "templates"
STYLE: Final = (FOLDER / "style.css").read_text("utf-8")
STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
ICON: Final = (FOLDER / "icon.svg").read_bytes()
ENTER_SCRIPT: Final = (FOLDER / "enter.js").read_bytes()

SCRIPTED: Final = frozenset({"enter.html"})
"""Pages that may run a script of ours; all others may run none."""

UNITS: Final = (("days", 86_400), ("hours", 3_600), ("minutes", 60))


def _away(at: datetime | None) -> str:
    """Return how far away an expiry is: "for 58 minutes", "expired 3 days ago"."""
    if at is None:
        return "no expiry told"
    seconds = int((at - datetime.now(UTC)).total_seconds())
    far = abs(seconds)
    span = next((f"{far // size} {unit}" for unit, size in UNITS if far >= 2 * size), f"{far} seconds")
    return f"for {span}" if seconds > 0 else f"expired {span} ago"


def _words(state: str) -> str:
    return state.replace("_", " ")


def _prose(text: str) -> Markup:
    """Return an error's words as they stand in a page: a capital at the beginning, code where the backticks are."""
    parts = (text[:1].upper() + text[1:]).split("`")
    return Markup().join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("valetkey.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(away=_away, prose=_prose, words=_words)
    # The style is a file of this package; nothing from outside is ever in it.
    made.globals.update(style=Markup(STYLE), version=__version__)  # noqa: S704  # see the line above
    return made


TEMPLATES: Final = _environment()


def policy(leads_to: str = "", *, scripted: bool = False) -> str:
    """Return a content security policy; `leads_to` is where the page's form may end up after redirects.

    Browsers apply form-action to every redirect behind a form, and providers pass people on among hosts of their own.
    So a form that leads to an https provider may end at any https address, and one that leads to loopback only there.
    """
    parts = urlsplit(leads_to)
    behind = {"": "", "https": " https:"}.get(parts.scheme, f" {parts.scheme}://{parts.netloc}")
    scripts = "script-src 'self'; " if scripted else ""
    return (
        f"default-src 'none'; {scripts}style-src 'sha256-{STYLE_HASH}'; img-src 'self'; form-action 'self'{behind}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def page(
    template: str, here: str, *, status: int = 200, leads_to: str = "", cookie: str = "", **shown: Any
) -> Response[str]:
    """Answer with a page; `here` is the public URL, `cookie` a Set-Cookie header, `shown` what the template shows."""
    text = TEMPLATES.get_template(template).render(here=urlsplit(here).netloc, **shown)
    allowed = policy(leads_to, scripted=template in SCRIPTED)
    headers = {"content-security-policy": allowed, **({"set-cookie": cookie} if cookie else {})}
    return Response(text, status_code=status, media_type=MediaType.HTML, headers=headers)


def outcome_page(outcome: Outcome, here: str, *, retry_after: int = 0) -> Response[str]:
    """Answer with how something ended; `retry_after` is seconds."""
    made = page("done.html", here, status=outcome.status, outcome=outcome)
    if retry_after:
        made.set_header("retry-after", str(retry_after))
    return made

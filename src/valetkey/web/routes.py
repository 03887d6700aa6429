"""The routes: one function per page. Each reads the request, asks the vault, and answers with a page or a redirect.

What may not be here: OAuth, HTML, decisions about who may (door.py, browser.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, quote

import litestar
from litestar import MediaType, Response, get, post, route
from litestar.exceptions import NotAuthorizedException

from valetkey.effects import Event
from valetkey.errors import CallbackRefused, InvalidInput, NotFound, ValetkeyError
from valetkey.library import AsyncVault
from valetkey.providers.schema import GrantName
from valetkey.values import Scopes, Secret
from valetkey.vault import names
from valetkey.vault.akeeper import landing
from valetkey.vault.connect import Wish
from valetkey.vault.records import PERSON_GRANTS
from valetkey.vault.views import AppInfo, ConnectionInfo
from valetkey.vault.ways import usual_way
from valetkey.web.allowance import Allowance, checked_scopes, too_many
from valetkey.web.answers import Outcome, Outcomes, outcome_of
from valetkey.web.browser import (
    COOKIE_BYTES,
    browser_of,
    cookie_header,
    cookie_name,
    form_token,
    from_our_page,
    place_of,
)
from valetkey.web.door import Door
from valetkey.web.overview import overview
from valetkey.web.pages import ENTER_SCRIPT, ICON, outcome_page, page

Request: TypeAlias = litestar.Request[Any, Any, Any]

FIELDS_MOST = 20
"""Fields of a form; ours have three."""


@dataclass(frozen=True)
class Site:
    """Be what the routes work on."""

    vault: AsyncVault
    public_url: str
    door: Door
    sandbox_url: str = ""
    outcomes: Outcomes = field(default_factory=Outcomes)
    allowance: Allowance = field(default_factory=Allowance)

    @property
    def redirect_uri(self) -> str:
        """Return where providers send people back to; this is what is registered there."""
        return f"{self.public_url}/callback"


def site_of(request: Request) -> Site:
    """Return the site a request is for."""
    site: Site = request.app.state.site
    return site


# ── for programs ──────────────────────────────────────────────────────────────────────────────────────────────


@route("/health", http_method=["GET", "HEAD"])
async def health(request: Request) -> Response[dict[str, Any]]:
    """Say whether the vault can be read, and how many connections are in which state. No names."""
    vault = site_of(request).vault
    try:
        states = await landing(vault.sync.aside(("states",), vault.sync.states))
    except ValetkeyError as failure:
        return Response({"status": "failing", "code": failure.code}, status_code=503)
    return Response({"status": "ok", "connections": states})


@get("/icon.svg")
async def icon() -> Response[bytes]:
    """Give the icon; the one thing a browser may keep."""
    return Response(ICON, media_type="image/svg+xml", headers={"cache-control": "public, max-age=86400"})


# ── the pages ─────────────────────────────────────────────────────────────────────────────────────────────────


@get("/")
async def home(request: Request) -> Response[str]:
    """Show the connections by state, and where to start."""
    site = _entered(request)
    seen = await landing(site.vault.sync.aside(("overview",), lambda: overview(site.vault.sync)))
    return page(
        "home.html",
        site.public_url,
        overview=seen,
        sandbox_url=site.sandbox_url,
        redirect_uri=site.redirect_uri,
    )


@get("/connect")
async def choose(request: Request) -> Response[str]:
    """Go from the first page's form to the page of one connection."""
    _entered(request)
    name = f"{request.query_params.get('app', '')}/{request.query_params.get('label', '').strip()}"
    names.split(name)
    return _see_other(f"/connect/{quote(name)}")


@get("/connect/{app:str}/{label:str}")
async def ask(request: Request) -> Response[str]:
    """Say what will be asked for, with one button; a link to here may be sent to a person."""
    site = _entered(request)
    name = _name(request)
    info, known = await _known(site, name)
    way = usual_way(info, known)
    asked = Scopes.parse(checked_scopes(request.query_params.get("scope", ""))) or (
        known.asked if known is not None else Scopes()
    )
    browser = browser_of(request.cookies, site.public_url)
    fresh = browser or Secret(secrets.token_urlsafe(COOKIE_BYTES))
    return page(
        "connect.html",
        site.public_url,
        leads_to=info.description.endpoints.authorize if way == "authorization_code" else "",
        cookie="" if browser else cookie_header(site.public_url, fresh.reveal()),
        name=name,
        app=info,
        known=known is not None,
        way=way,
        asked=asked.join(),
        scopes=asked or _usual_scopes(info, way),
        redirect_uri=site.redirect_uri,
        csrf=form_token(fresh),
    )


@post("/connect/{app:str}/{label:str}", status_code=303)
async def start(request: Request) -> Response[str]:
    """Begin an authorization bound to this browser and send it to the provider; a machine connects at once.

    By the grant the connection has, else that of the app: what the page said before its button was pressed.
    """
    site = _entered(request)
    name = _name(request)
    browser, form = await _own_form(request, site, again=f"/connect/{quote(name)}")
    info, known = await _known(site, name)
    way = usual_way(info, known)
    wish = Wish(scopes=tuple(Scopes.parse(checked_scopes(form.get("scope", "")))))
    if way == "authorization_code":
        seconds = site.allowance.take(place_of(browser))
        if seconds:
            refused = outcome_of(too_many(seconds), "Not now", again=f"/connect/{quote(name)}")
            return outcome_page(refused, site.public_url, retry_after=seconds)
        begun = await site.vault.begin(name, redirect_uri=site.redirect_uri, binding=browser, wish=wish)
        return _see_other(begun.url)
    try:
        made = await site.vault.connect_machine(name, way, wish=wish)
        outcome = _connected(made)
    except ValetkeyError as refusal:
        outcome = outcome_of(refusal, f"{name} was not connected", again=f"/connect/{quote(name)}")
    site.outcomes.put(place_of(browser), outcome)
    return _see_other("/done")


@get("/callback")
async def callback(request: Request) -> Response[str]:
    """Take what the provider sent the browser back with, and go on to a page whose address tells nothing."""
    site = site_of(request)
    browser = browser_of(request.cookies, site.public_url)
    here = browser or Secret(secrets.token_urlsafe(COOKIE_BYTES))
    try:
        query = request.scope["query_string"].decode("latin-1")
        outcome = _connected(await site.vault.finish(f"?{query}", binding=here))
    except ValetkeyError as refusal:
        outcome = outcome_of(refusal, "Not connected")
    site.outcomes.put(place_of(here), outcome)
    return _see_other("/done", "" if browser else cookie_header(site.public_url, here.reveal()))


@get("/done")
async def done(request: Request) -> Response[str]:
    """Show how the last authorization of this browser ended."""
    site = site_of(request)
    browser = browser_of(request.cookies, site.public_url)
    outcome = site.outcomes.get(place_of(browser)) if browser is not None else None
    nothing = NotFound("there is nothing to show", cause="nothing was connected here since the server was started")
    return outcome_page(outcome or outcome_of(nothing, "Nothing to show"), site.public_url)


# ── the door ──────────────────────────────────────────────────────────────────────────────────────────────────


@get("/enter")
async def enter(request: Request) -> Response[str]:
    """Ask for the operator's key; what stands behind the # of an entry link is posted by the page's script."""
    site = site_of(request)
    if _admitted(request, site):
        return _see_other("/#")  # a browser would carry an unused link's part along if this had none of its own
    browser = browser_of(request.cookies, site.public_url)
    fresh = browser or Secret(secrets.token_urlsafe(COOKIE_BYTES))
    cookie = "" if browser else cookie_header(site.public_url, fresh.reveal())
    return page("enter.html", site.public_url, cookie=cookie, csrf=form_token(fresh), wrong=False)


@get("/enter.js")
async def enter_script() -> Response[bytes]:
    """Give the one script there is."""
    return Response(ENTER_SCRIPT, media_type="text/javascript")


@post("/enter", status_code=303)
async def open_door(request: Request) -> Response[str]:
    """Let in who has the key, or an entry link that is still good."""
    site = site_of(request)
    browser, form = await _own_form(request, site, again="/enter")
    way = "link" if form.get("link") else "key"
    if not site.door.opens(form.get("link") or form.get("key", "")):
        site.vault.sync.recorder.tell(Event("operator.refused", "server", "refused", f"wrong_{way}"))
        return page("enter.html", site.public_url, status=403, csrf=form_token(browser), wrong=True)
    site.vault.sync.recorder.tell(Event("operator.entered", "server", detail={"way": way}))
    return _see_other("/", cookie_header(site.public_url, site.door.session(browser), "operator"))


ROUTES = (health, icon, home, choose, ask, start, callback, done, enter, enter_script, open_door)


# ── what they share ───────────────────────────────────────────────────────────────────────────────────────────


def _entered(request: Request) -> Site:
    """Return the site for somebody who may see it; raises NotAuthorizedException, which leads to the door."""
    site = site_of(request)
    if not _admitted(request, site):
        raise NotAuthorizedException
    return site


def _admitted(request: Request, site: Site) -> bool:
    session = request.cookies.get(cookie_name(site.public_url, "operator"), "")
    return site.door.admitted(browser_of(request.cookies, site.public_url), session)


def _name(request: Request) -> str:
    return f"{request.path_params['app']}/{request.path_params['label']}"


async def _known(site: Site, name: str) -> tuple[AppInfo, ConnectionInfo | None]:
    """Return the app of a connection, and the connection if there is one; raises NotFound, InvalidInput."""
    app, _label = names.split(name)
    info = await site.vault.app(app)
    try:
        return info, await site.vault.connection(name)
    except NotFound:
        return info, None


def _usual_scopes(info: AppInfo, way: GrantName) -> Scopes:
    """Return what is asked for where nobody says."""
    if way in PERSON_GRANTS:
        return info.scopes
    usual = info.description.client_credentials_scopes if way == "client_credentials" else ()
    return info.own_scopes or Scopes(usual)


async def _own_form(request: Request, site: Site, *, again: str) -> tuple[Secret, Mapping[str, str]]:
    """Read a form of ours; raises CallbackRefused for one that somebody else made."""
    try:
        text = (await request.body()).decode("ascii")
        form = dict(parse_qsl(text, max_num_fields=FIELDS_MOST, errors="strict"))
    except ValueError:
        raise InvalidInput("the form cannot be read") from None
    browser = browser_of(request.cookies, site.public_url)
    if browser is None or not from_our_page(browser, request.headers, form.get("csrf", ""), site.public_url):
        raise CallbackRefused(
            "this form does not come from our own page",
            code="form_not_ours",
            cause="another page sent it, cookies are off, or the browser was restarted meanwhile",
            fix=f"open {site.public_url}{again} and press the button there",
        )
    return browser, form


def _connected(made: ConnectionInfo) -> Outcome:
    missing = made.granted.missing(made.asked) if made.granted else Scopes()
    return Outcome(f"{made.name} is connected", connection=made.name, scopes=tuple(made.granted), missing=missing)


def _see_other(where: str, cookie: str = "") -> Response[str]:
    """Send the browser on with a GET, whatever it came with (RFC 9700 section 4.12)."""
    headers = {"location": where, **({"set-cookie": cookie} if cookie else {})}
    return Response("", status_code=303, media_type=MediaType.TEXT, headers=headers)

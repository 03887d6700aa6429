"""Drive the sandbox's pages over HTTP, as a person at a browser would: forms, cookies, redirects.

Used by tests and the demo. It keeps to one origin: a redirect that leaves the sandbox is returned, not followed.
What may not be here: any knowledge of the sandbox's insides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final, Self
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3

from valetkey.errors import RequestRefused

STEPS: Final = 10
"""Most pages and redirects of one visit; login, consent and their redirects are five."""

SECONDS: Final = 30.0


@dataclass(slots=True)
class Form:
    """Be the form of a page: where it goes, and what it holds before anybody types."""

    action: str = ""
    method: str = "get"
    fields: dict[str, str] = field(default_factory=dict)
    buttons: set[tuple[str, str]] = field(default_factory=set)


class _FormReader(HTMLParser):
    """Read the one form of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.form: Form | None = None
        self.code = ""
        self._in_code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.form = Form(said.get("action", ""), said.get("method", "get"))
        elif tag == "input" and self.form is not None:
            self.form.fields[said.get("name", "")] = said.get("value", "")
        elif tag == "button" and self.form is not None and "name" in said:
            self.form.buttons.add((said["name"], said.get("value", "")))
        self._in_code = tag == "code"

    def handle_data(self, data: str) -> None:
        if self._in_code:
            self.code, self._in_code = data, False


@dataclass(frozen=True, slots=True)
class Page:
    """Be what the browser shows; `form` is None where there is nothing to fill in."""

    url: str
    status: int
    form: Form | None
    error: str = ""


class Browser:
    """Keep cookies, fill in forms, follow redirects as long as they stay at home."""

    def __init__(self) -> None:
        self._http = urllib3.PoolManager(retries=False, timeout=SECONDS)
        self._cookies: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._http.clear()

    def __repr__(self) -> str:
        return "<Browser>"

    def visit(self, url: str, fill: Mapping[str, str]) -> str | Page:
        """Open `url` and go on until a redirect leaves its origin (returned), or a page has nothing to fill in.

        `fill` gives values for fields and the one button to press, by name.
        """
        home, answer = _origin(url), self._ask("GET", url)
        for _step in range(STEPS):
            where = urljoin(url, answer.headers.get("location", ""))
            if answer.status in {301, 302, 303, 307, 308}:
                if _origin(where) != home:
                    return where
                url, answer = where, self._ask("GET", where)
                continue
            page = _read(url, answer)
            if page.form is None or page.status >= 400:
                return page
            url, answer = self._send(page, page.form, fill)
        raise RequestRefused("the pages turn in circles", code="too_many_pages")

    def _send(self, page: Page, form: Form, fill: Mapping[str, str]) -> tuple[str, urllib3.BaseHTTPResponse]:
        url = urljoin(page.url, form.action)
        fields = {name: fill.get(name, value) for name, value in form.fields.items() if name}
        fields |= {name: value for name, value in form.buttons if fill.get(name) == value}
        if form.method == "post":
            return url, self._ask("POST", url, urlencode(fields))
        url = f"{url.split('?', 1)[0]}?{urlencode(fields)}"
        return url, self._ask("GET", url)

    def _ask(self, method: str, url: str, body: str | None = None) -> urllib3.BaseHTTPResponse:
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        headers |= {"content-type": "application/x-www-form-urlencoded"} if body is not None else {}
        answer = self._http.request(method, url, body=body, headers=headers, redirect=False)
        name, _equals, value = answer.headers.get("set-cookie", "").partition(";")[0].partition("=")
        if name:
            self._cookies[name] = value
        return answer


def _read(url: str, answer: urllib3.BaseHTTPResponse) -> Page:
    reader = _FormReader()
    reader.feed(answer.data.decode(errors="replace"))
    return Page(url, answer.status, reader.form, reader.code if answer.status >= 400 else "")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc

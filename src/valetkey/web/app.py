"""The ASGI application: the shield around Litestar's routes, and what becomes of errors.

What may not be here: pages, sockets. Litestar's own error pages and logs are off: they would quote requests.
"""

from __future__ import annotations

import logging
import traceback
from http import HTTPStatus
from typing import Final, cast

from litestar import Litestar, MediaType, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException, NotAuthorizedException

from valetkey.errors import ValetkeyError
from valetkey.web.answers import Outcome, outcome_of
from valetkey.web.pages import outcome_page
from valetkey.web.routes import ROUTES, Request, Site, site_of
from valetkey.web.shield import Asgi, Shield

LOG: Final = logging.getLogger("valetkey.web")

BODY_LIMIT: Final = 16 * 1024
"""Most bytes of a body; our forms have a few hundred."""


def create_app(site: Site) -> Asgi:
    """Return the application. The vault is closed by who opened it, after the server has ended."""
    inner = Litestar(
        route_handlers=list(ROUTES),
        state=State({"site": site}),
        exception_handlers={
            ValetkeyError: _refused,
            NotAuthorizedException: _to_the_door,
            HTTPException: _not_served,
            Exception: _unexpected,
        },
        openapi_config=None,
        logging_config=None,
        request_max_body_size=BODY_LIMIT,
        debug=False,
    )
    return Shield(cast("Asgi", inner), site.public_url)


def _refused(request: Request, error: ValetkeyError) -> Response[str]:
    return outcome_page(outcome_of(error, "That cannot be done"), site_of(request).public_url)


def _to_the_door(_request: Request, _error: NotAuthorizedException) -> Response[str]:
    return Response("", status_code=303, media_type=MediaType.TEXT, headers={"location": "/enter"})


def _not_served(request: Request, error: HTTPException) -> Response[str]:
    status = HTTPStatus(error.status_code)
    said = Outcome(status.phrase, status.value, code=status.name.lower(), message="There is nothing at this address.")
    if status is not HTTPStatus.NOT_FOUND:
        said = Outcome(status.phrase, status.value, code=status.name.lower(), message="This request cannot be served.")
    return outcome_page(said, site_of(request).public_url)


def _unexpected(request: Request, error: Exception) -> Response[str]:
    # Source lines and the type, and no values: neither locals nor the error's own text, which may quote a request.
    LOG.error("unexpected %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    said = Outcome(
        "Something went wrong here",
        500,
        code="unexpected",
        message=f"An unexpected {type(error).__name__} happened.",
        fix="The server's log says where; please report it.",
    )
    return outcome_page(said, site_of(request).public_url)

"""The way into the console and out of it: plain forms, which work before any script runs."""

from __future__ import annotations

import hmac
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FunctionLoader, select_autoescape

from features.contracts.errors import (
    Forbidden,
    SecondFactorNeeded,
    ShopwrightError,
)
from serving.console.security import SIGN_IN_PATH
from serving.console.texts import choose_language, load_catalogue
from serving.field_types import Text
from serving.http.dependencies import inject
from serving.http.session_cookie import SessionCookie, make_csrf_token
from serving.people.openid import OpenIdService
from serving.people.sessions import Credentials, Origin, SessionService

router = APIRouter()
Sessions = Annotated[SessionService, Depends(inject(SessionService))]
Cookie = Annotated[SessionCookie, Depends(inject(SessionCookie))]
OpenId = Annotated[OpenIdService, Depends(inject(OpenIdService))]


def _read_template(name: str) -> str:
    return files("serving.console").joinpath("templates", name).read_text("utf-8")


_TEMPLATES = Environment(loader=FunctionLoader(_read_template), autoescape=select_autoescape())


@router.get("/healthz")
async def get_health() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok"}


@router.get(SIGN_IN_PATH)
def show_form(request: Request, openid: OpenId, next: str = "/") -> Response:  # noqa: A002
    """The form."""
    return _render(request, openid, next)


@router.post(SIGN_IN_PATH)
def sign_in(
    request: Request,
    sessions: Sessions,
    cookie: Cookie,
    openid: OpenId,
    name: Annotated[Text, Form(max_length=200)],
    password: Annotated[Text, Form(max_length=1_000)],
    code: Annotated[Text, Form(max_length=64)] = "",
    next: Annotated[Text, Form(max_length=2_000)] = "/",  # noqa: A002
) -> Response:
    """Begin a session, ask for the code of the second factor, or say why not."""
    cookie.check_origin(request)
    address = request.client.host if request.client else "unknown"
    origin = Origin(address, request.headers.get("user-agent", ""))
    try:
        signed_in = sessions.sign_in(
            Credentials(name, password, code or None), origin, replaced_token=cookie.read(request)
        )
    except SecondFactorNeeded:
        return _render(request, openid, next, name=name, asks_code=True)
    except ShopwrightError as error:
        return _render(
            request,
            openid,
            next,
            name=name,
            asks_code=bool(code),
            problem=str(error),
            status=error.status,
        )
    response = RedirectResponse(check_path(next), status_code=303)
    session = signed_in.session
    lifetime = session.expires_at - session.created_at
    cookie.put(response, signed_in.token, int(lifetime.total_seconds()))
    return response


@router.post("/sign-out")
def sign_out(
    request: Request, sessions: Sessions, cookie: Cookie, csrf: Annotated[str, Form()]
) -> Response:
    """End the session of this browser."""
    cookie.check_origin(request)
    token = cookie.read(request) or ""
    if not hmac.compare_digest(csrf.encode(), make_csrf_token(token).encode()):
        raise Forbidden("this form is of another session", hint="Load the page again")
    active = sessions.find(token)
    if active is not None:
        sessions.sign_out(active.person.name, active.session.id)
    response = RedirectResponse(SIGN_IN_PATH, status_code=303)
    cookie.remove(response)
    return response


def check_path(target: str) -> str:
    """Return a path of this console; the first page for anything else."""
    is_path = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if is_path and "\n" not in target and "\r" not in target else "/"


def _render(
    request: Request,
    openid: OpenIdService,
    target: str,
    *,
    status: int = 200,
    **values: object,
) -> HTMLResponse:
    language = choose_language(request.headers.get("accept-language", ""))
    page = _TEMPLATES.get_template("sign_in.html").render(
        texts={
            key.partition(".")[2]: text
            for key, text in load_catalogue(language).items()
            if key.startswith("sign_in.")
        },
        language=language,
        next=check_path(target),
        has_openid=openid.settings.openid_issuer is not None,
        **values,
    )
    return HTMLResponse(page, status_code=status)

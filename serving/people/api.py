"""People over HTTP: sign in and out, who am I, password and second factor; and, for admins, who
may sign in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from serving.access import Area, Grant
from serving.field_types import Text
from serving.http.auth import (
    Caller,
    identify,
    identify_person,
    require,
    require_everywhere,
)
from serving.http.dependencies import inject
from serving.http.parameters import allow_only, check_text
from serving.http.session_cookie import SessionCookie, make_csrf_token
from serving.people.openid import CALLBACK_PATH, REQUEST_LIFETIME, OpenIdService
from serving.people.passwords import MAX_LENGTH
from serving.people.repository import Person
from serving.people.second_factor import make_uri
from serving.people.service import NewPerson, PeopleService
from serving.people.sessions import ActiveSession, Credentials, Origin, SessionService, SignedIn

sessions_router = APIRouter(
    prefix="/v1/sessions", tags=["people"], dependencies=[Depends(check_text)]
)
people_router = APIRouter(prefix="/v1/people", tags=["people"], dependencies=[Depends(check_text)])
_OPENID_COOKIE = "shopwright_openid"

AnyCaller = Annotated[Caller, Depends(identify)]
Me = Annotated[ActiveSession, Depends(identify_person)]
Reader = Annotated[Caller, Depends(require("people.manage"))]
Admin = Annotated[Caller, Depends(require_everywhere("people.manage"))]
Sessions = Annotated[SessionService, Depends(inject(SessionService))]
People = Annotated[PeopleService, Depends(inject(PeopleService))]
OpenId = Annotated[OpenIdService, Depends(inject(OpenIdService))]
Cookie = Annotated[SessionCookie, Depends(inject(SessionCookie))]
Password = Annotated[Text, Field(max_length=MAX_LENGTH)]
Code = Annotated[Text, Field(max_length=64, description="Of the second factor, or a recovery code")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SignInRequest(_Request):
    """A name and a password, and a code where a second factor is set up."""

    name: Text = Field(max_length=200)
    password: Password
    code: Code | None = None


class PasswordRequest(_Request):
    """The password again, before something that a stolen session may not do."""

    password: Password


class ChangePasswordRequest(PasswordRequest):
    """The password of today, and a new one."""

    new_password: Password


class CodeRequest(_Request):
    """A code of the authenticator app."""

    code: Code


class RemoveSecondFactorRequest(PasswordRequest, CodeRequest):
    """The password again, and a code."""


class RoleRequest(_Request):
    """A role, limited to a category with all below it and to a zone where they are given."""

    role: Text = Field(description="analyst, approver, manager or admin")
    category: Text | None = Field(None, max_length=1_000)
    zone: Text | None = Field(None, max_length=200)

    def to_grant(self) -> Grant:
        """Return the role as it is stored."""
        return Grant(self.role, Area(self.category or "", self.zone or ""))


class RolesRequest(_Request):
    """All roles of a person; they replace those of before."""

    roles: list[RoleRequest] = Field(max_length=100)


class NewPersonRequest(RolesRequest):
    """Somebody to create; without a password they sign in by OpenID Connect alone."""

    name: Text = Field(max_length=200, description="The sign-in name; it never changes")
    full_name: Text = Field("", max_length=200)
    password: Password | None = None


class ResetRequest(_Request):
    """A new password; without one the person signs in by OpenID Connect alone."""

    password: Password | None = None


class RoleResponse(BaseModel):
    """A role; null is every category, or every zone."""

    role: str
    category: str | None
    zone: str | None


class PersonResponse(BaseModel):
    """Somebody who signs in."""

    name: str
    full_name: str
    roles: list[RoleResponse]
    has_password: bool
    has_second_factor: bool
    created_at: datetime
    disabled_at: datetime | None
    last_sign_in_at: datetime | None


class PeopleResponse(BaseModel):
    """Everybody, by name."""

    items: list[PersonResponse]
    next_cursor: None = None


class CallerResponse(BaseModel):
    """Who sent the request: a person, or a key (without `person` and `csrf_token`)."""

    id: str
    name: str
    scopes: list[str]
    person: PersonResponse | None = None
    csrf_token: str | None = Field(
        None, description="Send it as X-CSRF-Token with every write of this session"
    )
    expires_at: datetime | None = None


class SessionResponse(BaseModel):
    """A sign-in that has not ended; `current` is the one that asks."""

    id: str
    current: bool
    method: str
    address: str
    agent: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


class SessionsResponse(BaseModel):
    """My sessions, newest first."""

    items: list[SessionResponse]
    next_cursor: None = None


class SecretResponse(BaseModel):
    """For an authenticator app: the secret, and the same as the address in a QR code."""

    secret: str
    uri: str


class RecoveryCodesResponse(BaseModel):
    """Each signs in once without the app; they cannot be read again."""

    recovery_codes: list[str]


@sessions_router.post("", response_model=CallerResponse, status_code=201)
def sign_in(
    request: Request, response: Response, body: SignInRequest, sessions: Sessions, cookie: Cookie
) -> CallerResponse:
    """Begins a session: its cookie comes with the answer. 401 `second-factor-needed` asks for the
    code too; 429 tells how long to wait after failed attempts."""
    cookie.check_origin(request)
    credentials = Credentials(body.name, body.password, body.code)
    signed_in = sessions.sign_in(
        credentials, _read_origin(request), replaced_token=cookie.read(request)
    )
    return _hand_over(response, cookie, signed_in)


@sessions_router.get("", dependencies=[Depends(allow_only())])
def list_sessions(me: Me, sessions: Sessions) -> SessionsResponse:
    """My sessions that have not ended."""
    items = [
        SessionResponse(
            **{name: value for name, value in vars(session).items() if name != "person"},
            current=session.id == me.session.id,
        )
        for session in sessions.list_sessions(me.person.name)
    ]
    return SessionsResponse(items=items)


@sessions_router.delete("", status_code=204)
def sign_out_everywhere(me: Me, sessions: Sessions, cookie: Cookie) -> Response:
    """Ends all my sessions, this one too."""
    sessions.sign_out_everywhere(me.person.name)
    return _forget(cookie)


@sessions_router.get("/openid", dependencies=[Depends(allow_only("next"))])
def begin_openid(openid: OpenId, cookie: Cookie, next: str | None = None) -> Response:  # noqa: A002
    """Sends the browser to the OpenID provider of the settings; afterwards to the path `next`."""
    sent = openid.begin(next)
    response = RedirectResponse(sent.url, status_code=303)
    response.set_cookie(
        _OPENID_COOKIE,
        sent.token,
        max_age=int(REQUEST_LIFETIME.total_seconds()),
        path=CALLBACK_PATH,
        secure=cookie.is_secure,
        httponly=True,
        samesite="lax",
    )
    return response


@sessions_router.get("/openid/callback")
def finish_openid(request: Request, openid: OpenId, sessions: Sessions, cookie: Cookie) -> Response:
    """Where the OpenID provider sends the browser back to: begins a session."""
    token = request.cookies.get(_OPENID_COOKIE)
    verified = openid.finish(token, dict(request.query_params))
    signed_in = sessions.sign_in_verified(
        verified.person, _read_origin(request), replaced_token=cookie.read(request)
    )
    response = RedirectResponse(verified.next_path, status_code=303)
    response.delete_cookie(_OPENID_COOKIE, path=CALLBACK_PATH)
    _hand_over(response, cookie, signed_in)
    return response


@sessions_router.delete("/{session_id}", status_code=204)
def sign_out(session_id: str, me: Me, sessions: Sessions, cookie: Cookie) -> Response:
    """Ends one of my sessions; `current` is this one."""
    if session_id in ("current", me.session.id):
        sessions.sign_out(me.person.name, me.session.id)
        return _forget(cookie)
    sessions.sign_out(me.person.name, session_id)
    return Response(status_code=204)


@people_router.get("/me", dependencies=[Depends(allow_only())])
def get_me(
    request: Request, caller: AnyCaller, sessions: Sessions, cookie: Cookie
) -> CallerResponse:
    """Who I am and what I may do, for people and keys."""
    token = cookie.read(request) if caller.is_person else None
    active = sessions.find(token) if token else None
    if token is None or active is None:
        return CallerResponse(id=caller.id, name=caller.name, scopes=sorted(caller.scopes))
    return _describe_caller(active, token)


@people_router.put("/me/password")
def change_password(
    response: Response, me: Me, body: ChangePasswordRequest, sessions: Sessions, cookie: Cookie
) -> CallerResponse:
    """Changes my password, ends all my sessions, and answers with the cookie of a new one."""
    signed_in = sessions.change_password(me, body.password, body.new_password)
    return _hand_over(response, cookie, signed_in)


@people_router.post("/me/second-factor")
def begin_second_factor(me: Me, body: PasswordRequest, sessions: Sessions) -> SecretResponse:
    """Begins to set up a second factor; it counts once `confirm` has seen a code."""
    secret = sessions.begin_second_factor(me, body.password)
    return SecretResponse(secret=secret, uri=make_uri(secret, me.person.name))


@people_router.post("/me/second-factor/confirm")
def confirm_second_factor(me: Me, body: CodeRequest, sessions: Sessions) -> RecoveryCodesResponse:
    """Switches the second factor on, and answers with recovery codes to keep."""
    return RecoveryCodesResponse(recovery_codes=sessions.confirm_second_factor(me, body.code))


@people_router.post("/me/second-factor/remove", status_code=204)
def remove_second_factor(me: Me, body: RemoveSecondFactorRequest, sessions: Sessions) -> Response:
    """Switches the second factor off, with the password and a code."""
    sessions.remove_second_factor(me, body.password, body.code)
    return Response(status_code=204)


@people_router.get("", dependencies=[Depends(allow_only())])
def list_people(_caller: Reader, people: People) -> PeopleResponse:
    """Everybody who signs in, disabled people too."""
    return PeopleResponse(items=[_describe_person(person) for person in people.list_people()])


@people_router.post("", status_code=201)
def create_person(caller: Admin, body: NewPersonRequest, people: People) -> PersonResponse:
    """Creates a person; 409 where the name is taken."""
    grants = tuple(role.to_grant() for role in body.roles)
    draft = NewPerson(body.name, body.full_name, grants, body.password)
    return _describe_person(people.create(draft, actor=caller.id))


@people_router.put("/{name}/roles")
def set_roles(name: str, caller: Admin, body: RolesRequest, people: People) -> PersonResponse:
    """Replaces somebody's roles, from their next request on; never one's own."""
    grants = [role.to_grant() for role in body.roles]
    return _describe_person(people.set_grants(name, grants, actor=caller.id))


@people_router.post("/{name}/disable")
def disable_person(name: str, caller: Admin, people: People) -> PersonResponse:
    """Ends somebody's sessions and lets them in no more; never oneself."""
    return _describe_person(people.disable(name, actor=caller.id))


@people_router.post("/{name}/enable")
def enable_person(name: str, caller: Admin, people: People) -> PersonResponse:
    """Lets a disabled person in again."""
    return _describe_person(people.enable(name, actor=caller.id))


@people_router.post("/{name}/reset")
def reset_person(name: str, caller: Admin, body: ResetRequest, people: People) -> PersonResponse:
    """Sets another password, removes the second factor, and ends pauses and sessions."""
    return _describe_person(people.reset(name, body.password, actor=caller.id))


def _read_origin(request: Request) -> Origin:
    address = request.client.host if request.client else "unknown"
    return Origin(address, request.headers.get("user-agent", ""))


def _hand_over(response: Response, cookie: SessionCookie, signed_in: SignedIn) -> CallerResponse:
    """Put the token of a new session into the answer's cookie, and return the answer."""
    session = signed_in.session
    lifetime = session.expires_at - session.created_at
    cookie.put(response, signed_in.token, int(lifetime.total_seconds()))
    return _describe_caller(signed_in, signed_in.token)


def _forget(cookie: SessionCookie) -> Response:
    response = Response(status_code=204)
    cookie.remove(response)
    return response


def _describe_caller(active: ActiveSession, token: str) -> CallerResponse:
    return CallerResponse(
        id=active.caller.id,
        name=active.caller.name,
        scopes=sorted(active.caller.scopes),
        person=_describe_person(active.person),
        csrf_token=make_csrf_token(token),
        expires_at=active.session.expires_at,
    )


def _describe_person(person: Person) -> PersonResponse:
    roles = [
        RoleResponse(
            role=grant.role, category=grant.area.category or None, zone=grant.area.zone or None
        )
        for grant in person.grants
    ]
    return PersonResponse(
        name=person.name,
        full_name=person.full_name,
        roles=roles,
        has_password=person.has_password,
        has_second_factor=person.has_second_factor,
        created_at=person.created_at,
        disabled_at=person.disabled_at,
        last_sign_in_at=person.last_sign_in_at,
    )

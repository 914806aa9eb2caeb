"""``/login``: a browser hands the token in once and gets a cookie that opens reading, and reading only."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field

from wm_api import schemas
from wm_api.errors import ApiError
from wm_api.schemas import REFUSALS
from wm_api.security import COOKIE, knows_token, session_of
from wm_api.service import Json, Served

router = APIRouter(tags=["login"], responses=REFUSALS)


class LoginRequest(schemas.Request):
    """The token."""

    token: Annotated[str, Field(min_length=1, max_length=1024)]


@router.post("/login")
async def login(asked: LoginRequest, request: Request, served: Served) -> Response:
    """Exchange the token for a cookie that opens reading; writing always wants the token itself."""
    token = served.settings.token
    if not token.isascii() or not asked.token.isascii() or not knows_token(f"Bearer {asked.token}", token):
        raise ApiError(401, "the token is wrong", "token")
    response = Json({"ok": True})
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, session_of(token), httponly=True, samesite="strict", secure=secure, path="/")
    return response

"""``/goal`` and ``/goal/cancel``: have the robot drive, where the operator allows that."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from pydantic import Field

from wm_api.errors import ApiError, NotThereError
from wm_api.goals import Goal, Goals
from wm_api.schemas import REFUSALS, Finite, Metres, Request
from wm_api.security import knows_token
from wm_api.service import Json, Served


class GoalRequest(Request):
    """Where to be."""

    x: Metres = Field(description="In the map frame [m].")
    y: Metres = Field(description="In the map frame [m].")
    yaw: Finite | None = Field(default=None, description="Where to look [rad]; default: whatever.")


def may_drive(served: Served, authorization: Annotated[str, Header()] = "") -> Goals:
    """Return who drives.

    Raises:
        ApiError: 403: the operator allows nobody; 401: there is a token, and it is missing or wrong: a cookie is not
            enough to move a robot. 404: there is no graph that could drive.
    """
    if not served.settings.allow_goals:
        raise ApiError(403, "goals are off here: the operator has to allow them (allow_goals) when the service starts")
    if served.settings.token and not knows_token(authorization, served.settings.token):
        raise ApiError(401, "the token is missing or wrong", "authorization")
    if served.world.goals is None:
        raise NotThereError("nobody drives here: goals need a graph")
    return served.world.goals


Driver = Annotated[Goals, Depends(may_drive)]
router = APIRouter(tags=["goals"], responses=REFUSALS)


@router.post("/goal", status_code=202)
async def goal(asked: GoalRequest, driver: Driver) -> Response:
    """Have the robot drive to a place; what becomes of it is told as events `goal` of `/stream-live`."""
    driver.send(Goal(asked.x, asked.y, asked.yaw))
    return Json({"accepted": True}, 202)


@router.post("/goal/cancel")
async def cancel(driver: Driver) -> Response:
    """Have the robot stop."""
    return Json({"cancelled": driver.cancel()})

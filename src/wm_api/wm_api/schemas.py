"""What requests and answers of JSON are; unknown fields and numbers that are not finite are refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wm_api.errors import InvalidError
from wm_core.bounds import LARGEST_POSITION_M, LARGEST_VALUE
from wm_core.memory.record import LATEST_NS

Finite = Annotated[float, Field(allow_inf_nan=False, ge=-LARGEST_VALUE, le=LARGEST_VALUE)]
Metres = Annotated[float, Field(allow_inf_nan=False, ge=-LARGEST_POSITION_M, le=LARGEST_POSITION_M)]
Positive = Annotated[float, Field(allow_inf_nan=False, ge=0.0, le=1e9)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
StampNs = Annotated[int, Field(gt=-(2**63), lt=2**63, description="Nanoseconds.")]
SeenNs = Annotated[int, Field(ge=0, le=LATEST_NS, description="When it was seen, in nanoseconds.")]
Latent = Annotated[list[Finite], Field(min_length=1, max_length=65_536)]
Action = Annotated[list[Finite], Field(min_length=1, max_length=1024)]
Name = Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Request(BaseModel):
    """A body; what it does not know it refuses, and what is of another type, as true for a number."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Identified(BaseModel):
    """What every answer says of whom it is from."""

    encoder_id: str
    artifact: str
    artifact_version: str


class Answer(Identified):
    """What every answer of the models says."""

    ms: float = Field(description="Time that the computation took [ms].")


class Pose(Request):
    """A pose in the map frame."""

    x: Metres = Field(description="[m]")
    y: Metres = Field(description="[m]")
    z: Metres = Field(default=0.0, description="[m]")
    yaw: Finite = Field(default=0.0, description="[rad]")


class EncodedPicture(Request):
    """A picture within JSON."""

    data: str = Field(description="Base64: a file (JPEG, PNG, WebP, BMP, TIFF), or pixels where `encoding` is given.")
    encoding: Name = Field(default="", description="As sensor_msgs/Image names it: rgb8, bgr8, mono8, 16UC1, ...")
    width: Annotated[int, Field(ge=0, le=65_535)] = 0
    height: Annotated[int, Field(ge=0, le=65_535)] = 0
    step: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(default=0, description="Bytes of a row; 0: no padding.")
    is_bigendian: bool = False


class EncodeRequest(Request):
    """A picture with what belongs to it."""

    image: EncodedPicture
    depth: EncodedPicture | None = None
    proprioception: Annotated[list[Finite], Field(max_length=1024)] | None = None


class EncodeAnswer(Answer):
    """A latent."""

    latent: list[float]


class Start(Request):
    """Where looking ahead begins: now, or at what is given."""

    latent: Latent | Literal["now"] = Field(default="now", description="The present latent, or what is live now.")
    action: Action | None = Field(default=None, description="Taken now, and held; default: the present one.")
    pose: Pose | None = Field(default=None, description="Where the robot is; default: where it is now.")
    stamp_ns: StampNs | None = Field(default=None, description="What memories' ages count from; default: now.")
    memory: bool = Field(default=True, description="Whether memories are asked.")


class PredictRequest(Start):
    """What to predict from."""


class ForecastAnswer(BaseModel):
    """What is expected some time ahead."""

    horizon_s: float
    latent: list[float]
    without_memory: list[float]
    gate: float
    pose: Pose | None
    pose_std: list[float] | None
    revisit: bool
    memory_ids: list[int]


class PredictAnswer(Answer):
    """Forecasts by horizon."""

    forecasts: list[ForecastAnswer]
    memory_used: bool
    outside: list[str] = Field(description="What lay outside the range that the model was trained on.")


Horizon = Annotated[int, Field(ge=1, le=1200, description="Steps ahead.")]
Pictures = Literal["none", "data", "url"] | bool


def pictures_of(asked: Pictures) -> Literal["none", "data", "url"]:
    """Return which pictures are meant: on are those with the answer, off are none."""
    if isinstance(asked, bool):
        return "data" if asked else "none"
    return asked


class RolloutRequest(Start):
    """What to imagine."""

    start: Latent | Literal["now"] | None = Field(default=None, description="Another name of `latent`.")
    actions: Annotated[list[Action], Field(min_length=1, max_length=1200)] | Action | None = Field(
        default=None,
        description="[H, A]: the one taken now, then those that follow; the last one is held. [A]: as `action`.",
    )
    horizon: Horizon | None = Field(default=None, description="Steps; default: as many as actions, or 1 s.")
    images: Pictures = Field(
        default="none", description="Frames as base64 JPEG (data, or true), as URLs, or none (or false)."
    )

    @model_validator(mode="after")
    def _by_one_name(self) -> RolloutRequest:
        if self.start is not None:
            if "latent" in self.model_fields_set:
                raise InvalidError("start", "given beside latent, which is the same")
            self.latent, self.start = self.start, None
        flat = [each for each in self.actions or () if not isinstance(each, list)]
        if flat:
            if self.action is not None:
                raise InvalidError("action", "given beside one action as actions, which is the same")
            self.action, self.actions = flat, None
        return self

    @property
    def several(self) -> list[list[float]] | None:
        """The actions of the steps; None: one is held."""
        return [each for each in self.actions if isinstance(each, list)] if self.actions else None


class StepAnswer(ForecastAnswer):
    """One step of a rollout."""

    step: int
    frame: str | None = Field(default=None, description="Base64 of a JPEG, or its URL.")
    frame_source: Literal["decoded", "remembered"] | None = None


class RolloutAnswer(Answer):
    """A rollout."""

    step_s: float
    memory_used: bool
    steps: list[StepAnswer]


class ErrorAnswer(BaseModel):
    """Why a request was refused."""

    detail: str
    field: str = Field(default="", description="Which part of the request is at fault; empty where none is.")


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": text}
    for status, text in {
        400: "The body cannot be read.",
        401: "The token is missing or wrong.",
        403: "Not allowed here.",
        404: "Not there.",
        409: "Nothing is live, or it does not fit what is held.",
        410: "It was there, and what is left of it is damaged.",
        413: "The body is too large.",
        415: "The body is of a type that is not taken.",
        422: "A field is wrong; it is named.",
        429: "Too many requests from this address.",
        503: "Busy or away; Retry-After says when to try again.",
    }.items()
}


class InferenceErrorAnswer(ErrorAnswer):
    """The same as the Open Inference Protocol says it."""

    error: str


INFERENCE_REFUSALS = {status: {**each, "model": InferenceErrorAnswer} for status, each in REFUSALS.items()}

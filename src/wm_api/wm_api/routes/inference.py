"""``/v2/...``: the Open Inference Protocol, version 2, with the binary extension for tensors."""

from __future__ import annotations

import zlib
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response

from wm_api.errors import ApiError, NotThereError
from wm_api.inference import InferenceModel, models_of
from wm_api.schemas import INFERENCE_REFUSALS
from wm_api.service import Json, Served, Service
from wm_api.tensors import read_request, write_answer

router = APIRouter(prefix="/v2", tags=["open inference protocol"], responses=INFERENCE_REFUSALS)

_LENGTH = "Inference-Header-Content-Length"
_EXTENSIONS = ["binary_tensor_data"]
_NAMES = ["encoder", "transition", "decoder"]
ModelName = Annotated[str, Path(max_length=40, json_schema_extra={"enum": _NAMES})]
_INFER_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["inputs"]}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.get("")
@router.get("/", include_in_schema=False)
async def server_metadata(served: Served) -> Response:
    """Tell what server this is."""
    return Json({"name": "wm_api", "version": served.world.models.version(), "extensions": _EXTENSIONS})


@router.get("/health/live")
async def live() -> Response:
    """Answer while the process does."""
    return Json({"live": True})


@router.get("/health/ready")
async def ready(served: Served) -> Response:
    """Answer once models are loaded; they are before the first request."""
    return Json({"ready": True, **served.world.models.identity()})


def _model(served: Service, name: str, version: str = "1") -> InferenceModel:
    found = models_of(served.world).get(name)
    if found is None or version != "1":
        raise NotThereError(
            "there is no such model: encoder, transition and (of some artifacts) decoder, version 1", "model"
        )
    return found


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}", include_in_schema=False)
async def model_metadata(name: ModelName, served: Served, version: str = "1") -> Response:
    """Tell what a model takes and gives."""
    model = _model(served, name, version)
    entries: dict[str, Any] = {"name": name, "versions": ["1"], "platform": model.platform}
    entries["inputs"] = [spec.entry() for spec in model.inputs]
    entries["outputs"] = [spec.entry() for spec in model.outputs]
    return Json(entries)


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready", include_in_schema=False)
async def model_ready(name: ModelName, served: Served, version: str = "1") -> Response:
    """Answer where a model is there."""
    _model(served, name, version)
    return Json({"name": name, "ready": True})


@router.get("/models/{name}/config", include_in_schema=False)
@router.get("/models/{name}/versions/{version}/config", include_in_schema=False)
async def model_config(name: ModelName, served: Served, version: str = "1") -> Response:
    """Tell the same as Triton's configuration says it."""
    model = _model(served, name, version)

    def tensors(specs: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": spec.name,
                "data_type": f"TYPE_{spec.datatype}",
                "dims": list(spec.shape),
                "optional": spec.optional,
            }
            for spec in specs
        ]

    entries = {"name": name, "platform": model.platform, "max_batch_size": 0}
    return Json({**entries, "input": tensors(model.inputs), "output": tensors(model.outputs)})


@router.post("/models/{name}/infer", openapi_extra=_INFER_BODY)
@router.post("/models/{name}/versions/{version}/infer", include_in_schema=False)
async def infer(
    request: Request,
    name: ModelName,
    served: Served,
    version: str = "1",
    inference_header_content_length: Annotated[int | None, Header(ge=0)] = None,
    content_encoding: Annotated[str, Header(max_length=40)] = "",
) -> Response:
    """Run a model on tensors."""
    model = _model(served, name, version)
    body = await request.body()
    length = inference_header_content_length

    def work() -> Response:
        plain = _decompressed(body, content_encoding.strip().lower(), served.settings.most_image_bytes)
        asked = read_request(plain, length, model.inputs, model.outputs)
        found = model.run(asked.inputs)
        head = {"model_name": name, "model_version": "1", "parameters": served.world.models.identity()}
        answer, json_bytes = write_answer(head, found, asked, model.outputs)
        if json_bytes is None:
            return Response(answer, media_type="application/json")
        return Response(answer, media_type="application/octet-stream", headers={_LENGTH: str(json_bytes)})

    return await served.inference.run(work)


def _decompressed(body: bytes, encoding: str, most: int) -> bytes:
    """Return the body as it was before it was packed, up to a limit."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise ApiError(415, "content-encoding is neither gzip nor deflate", "content-encoding")
    unpacking = zlib.decompressobj(31 if encoding == "gzip" else 15)
    try:
        plain = unpacking.decompress(body, most)
    except zlib.error as error:
        raise ApiError(400, f"the body is no {encoding}", "body") from error
    if unpacking.unconsumed_tail:
        raise ApiError(413, f"the body is larger than {most} bytes once unpacked", "body")
    if not unpacking.eof:
        raise ApiError(400, f"the body ends within its {encoding}", "body")
    return plain

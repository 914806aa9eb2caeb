"""Parameters as peers set them: what is none is refused, where rclpy would raise an error, or take it and forget it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import Parameter as ParameterMsg
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter

from wm_ros.saying import clipped

_TYPES = frozenset(kind.value for kind in Parameter.Type)


def refusing_no_parameters(srv_type: Any, callback: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return the callback of a service, which is asked only for what is a parameter where the service sets such.

    Args:
        srv_type: Of the service.
        callback: rclpy's own.
    """
    if srv_type is SetParametersAtomically:

        def set_at_once(request: Any, response: Any) -> Any:
            refusals = [refusal for each in request.parameters if (refusal := _refusal(each)) is not None]
            if not refusals:
                return callback(request, response)
            response.result = refusals[0]
            return response

        return set_at_once
    if srv_type is SetParameters:

        def set_each(request: Any, response: Any) -> Any:
            for each in request.parameters:
                refusal = _refusal(each)
                if refusal is None:
                    callback(SetParameters.Request(parameters=[each]), response)
                else:
                    response.results.append(refusal)
            return response

        return set_each
    return callback


def _refusal(parameter: ParameterMsg) -> SetParametersResult | None:
    if not parameter.name:
        return SetParametersResult(successful=False, reason="a parameter without a name")
    if parameter.value.type in _TYPES:
        return None
    text = f"{clipped(parameter.name)}: {parameter.value.type} is no type of a parameter, expected 0 to {max(_TYPES)}"
    return SetParametersResult(successful=False, reason=text)

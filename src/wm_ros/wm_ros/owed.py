"""Answers that a service owes: who asks is told how it ended, also where its node stops serving meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from wm_ros.refusals import refused

_STOPPED = "stopped: the node stopped serving before this was answered; whether it was done is not known"
_CLOSED = "stopped: the node does not serve any more"
_MOST_REFUSED = 1024


class Owed:
    """The requests that a service has taken and not answered yet; it is destroyed when there are none.

    rclpy drops the answer of a service that was destroyed since, and who asked waits for ever.

    Args:
        callback: A coroutine function of request and response, which returns the response.
    """

    def __init__(self, callback: Callable[[Any, Any], Any]) -> None:
        self._callback = callback
        self._count, self._is_over = 0, False
        self._destroy: Callable[[], object] | None = None
        self._service: Any = None
        self._send: Callable[[Any, Any], object] = lambda _response, _header: None

    async def answer(self, request: Any, response: Any) -> Any:
        """Returns the callback's answer, or a refusal where the service ends before that is there."""
        self._count += 1
        if self._is_over:
            return refused(response, _CLOSED)
        answer = await _Pursued(self._callback(request, response), lambda: self._is_over)
        return refused(type(response)(), _STOPPED) if answer is None else answer

    def watch(self, service: Any) -> Any:
        """Returns the service, which counts its answers from now on."""
        self._service, self._send = service, service.send_response

        def send_response(response: Any, header: Any) -> None:
            try:
                self._send(response, header)
            finally:
                self._count -= 1
                self._end_if_even()

        service.send_response = send_response
        return service

    def end(self, destroy: Callable[[], object]) -> None:
        """Takes no more requests; what is owed is answered before the service is destroyed.

        Args:
            destroy: Destroys it.
        """
        self._is_over, self._destroy = True, destroy
        self._end_if_even()

    def _end_if_even(self) -> None:
        if self._destroy is not None and self._count <= 0:
            destroy, self._destroy = self._destroy, None
            self._refuse_waiting()
            destroy()

    def _refuse_waiting(self) -> None:
        """Refuses what has come and was not taken yet; what comes for ever is left after some."""
        kind = self._service.srv_type
        for _ in range(_MOST_REFUSED):
            with self._service.handle:
                _, header = self._service.handle.service_take_request(kind.Request)
            if header is None:
                return
            self._send(refused(kind.Response(), _CLOSED), header)


class _Pursued:
    """Awaits a coroutine for as long as its service is there: what is done by then still counts.

    Args:
        work: The coroutine.
        is_over: Whether the service ends.
    """

    def __init__(self, work: Any, is_over: Callable[[], bool]) -> None:
        self._steps, self._is_over = work.__await__(), is_over

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            while True:
                try:
                    waits_for = next(self._steps)
                except StopIteration as end:
                    return end.value
                if self._is_over():
                    return None
                yield waits_for
        finally:
            self._steps.close()

"""Networks as CUDA graphs: what a call costs on a GPU is the launching, and a graph is launched once.

A ``Captured`` function copies what it is given into buffers that stay, replays the graph that was recorded over them
and gives back copies of what that left; what came from the host goes to the GPU and back in one copy of pinned memory.
There is one graph for each set of shapes that comes again, and a bounded number of them. A function that cannot be
recorded says so once and runs as it is.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

MOST_GRAPHS = 8
"""Graphs of one function; the one that was not used for longest is dropped first."""
MOST_BYTES = 64 * 2**20
"""Larger inputs are computed as they are: what launching costs is nothing beside them."""
_MOST_SEEN = 64
_RUNS, _RUNS_FUSED = 2, 4
_ALIGNED = 256

_log = logging.getLogger(__name__)


class Recorder(Protocol):
    """Where graphs are recorded and run: a queue on a device, with memory of the host that it can read."""

    device: torch.device
    lock: threading.Lock
    """Held by whoever uses the queue."""

    def holds(self, tensor: Tensor) -> bool:
        """Return whether a tensor lies on the device."""

    def buffers(self, size: int) -> tuple[Tensor, Tensor]:
        """Return bytes on the host and as many on the device."""

    def enter(self, *, joins: bool) -> None:
        """Put what follows onto the queue; behind what the caller's own queue holds where ``joins``."""

    def leave(self, given: Sequence[Tensor]) -> None:
        """Return to the caller's queue, which waits for what it is given."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return what repeats some work on the device.

        Raises:
            RuntimeError: It cannot be recorded.
        """

    def mark(self) -> Callable[[], None]:
        """Return what waits until all that is on the queue so far is done."""

    def exact(self) -> AbstractContextManager[None]:
        """Return a context in which single precision is what the device is to make of it."""


@dataclass(frozen=True)
class _Places:
    """Where each of some tensors lies within a buffer: their own bytes, one after another."""

    shapes: tuple[tuple[int, ...], ...]
    kinds: tuple[torch.dtype, ...]
    starts: tuple[int, ...]
    size: int

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> _Places:
        starts, at = [], 0
        for tensor in tensors:
            starts.append(at)
            at += -(-tensor.numel() * tensor.element_size() // _ALIGNED) * _ALIGNED
        return cls(tuple(tuple(t.shape) for t in tensors), tuple(t.dtype for t in tensors), tuple(starts), at)

    def views(self, buffer: Tensor) -> list[Tensor]:
        """Return the tensors within a buffer."""
        made = []
        for shape, kind, start in zip(self.shapes, self.kinds, self.starts):
            end = start + prod(shape) * kind.itemsize
            made.append(buffer[start:end].view(kind).view(shape))
        return made


@dataclass
class _Graph:
    """One recording.

    Attributes:
        filled: What is copied where on the host, then on the device: views, and which arguments; one kind each.
        upload: What is copied of the one from the other, to and from.
        places: Of the results.
        made: Their bytes on the host and on the device.
        is_one: Whether the result is one tensor, no tuple.
        goes_back: Whether results go to the host.
        replay: Does it again.
        is_read: Waits until the last upload has been read.
    """

    filled: tuple[list[_Fill], list[_Fill]]
    upload: tuple[Tensor, Tensor]
    places: _Places
    made: tuple[Tensor, Tensor]
    is_one: bool
    goes_back: bool
    replay: Callable[[], None]
    is_read: Callable[[], None] = lambda: None


class _Fill(NamedTuple):
    """Buffers of one kind, and which arguments go there."""

    views: list[Tensor]
    arguments: list[int]

    def __call__(self, tensors: Sequence[Tensor]) -> None:
        """Copy them all in one go."""
        torch._foreach_copy_(self.views, [tensors[at] for at in self.arguments])


def _fills(views: Sequence[Tensor], arguments: Sequence[int]) -> list[_Fill]:
    """Return what fills buffers: those of one kind are one kernel."""
    by_kind: dict[torch.dtype, _Fill] = {}
    for at in arguments:
        # Nothing is copied to where there is no room, and kernels do not like it.
        if views[at].numel():
            fill = by_kind.setdefault(views[at].dtype, _Fill([], []))
            fill.views.append(views[at])
            fill.arguments.append(at)
    return list(by_kind.values())


class Captured:
    """A function of tensors that is recorded once its shapes come again.

    Tensors among the arguments may lie on the host or on the device, as such or as fields of a named tuple; anything
    else is constant. Results go to the host where an argument came from there, else they stay on the device; each
    call's are its own.

    Args:
        name: What to call it in a message.
        function: Returns a tensor or a tuple of tensors, on the device, of shapes that follow from its arguments'.
        recorder: Where it runs; functions that run one after another may share one.
        stays: Whether results stay on the device wherever arguments came from.
        fuses: Whether TorchScript may compile kernels of its own for it; that takes seconds for each graph.
        most: Graphs at most.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        recorder: Recorder,
        *,
        stays: bool = False,
        fuses: bool = False,
        most: int = MOST_GRAPHS,
    ) -> None:
        self.name, self._function, self._recorder = name, function, recorder
        self._stays, self._fuses, self._most = stays, fuses, most
        self._graphs: OrderedDict[Hashable, _Graph] = OrderedDict()
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self.refused = ""
        """Why it is not recorded; empty: nothing speaks against it."""

    @property
    def graph_count(self) -> int:
        """Graphs held."""
        return len(self._graphs)

    def __call__(self, *arguments: Any) -> Any:
        """Return what the function does."""
        leaves = _leaves(arguments)
        key = tuple(
            (leaf.shape, leaf.dtype, self._recorder.holds(leaf)) if isinstance(leaf, Tensor) else leaf
            for leaf in leaves
        )
        # Buffers outlive the caller's mode, and its results may go where that one's may not.
        with self._recorder.lock, torch.inference_mode(False), torch.no_grad():
            graph = self._graphs.get(key)
            if graph is None:
                graph = self._recorded(key, arguments, leaves)
            else:
                self._graphs.move_to_end(key)
            return self._plainly(arguments) if graph is None else self._replayed(graph, leaves)

    def _recorded(self, key: Hashable, arguments: tuple[Any, ...], leaves: list[Any]) -> _Graph | None:
        """Return a new graph where the shapes came before and none is refused."""
        if self.refused or key not in self._seen:
            self._seen[key] = None
            if len(self._seen) > _MOST_SEEN:
                self._seen.popitem(last=False)
            return None
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if _Places.of(tensors).size > MOST_BYTES:
            return None
        try:
            graph = self._record(arguments, tensors)
        except RuntimeError as error:
            self.refused = str(error).strip().split("\n")[0] or repr(error)
            _log.warning("%s runs without a CUDA graph: %s", self.name, self.refused)
            return None
        self._graphs[key] = graph
        if len(self._graphs) > self._most:
            self._recorder.mark()()
            self._graphs.popitem(last=False)
        return graph

    def _record(self, arguments: tuple[Any, ...], tensors: list[Tensor]) -> _Graph:
        recorder, count = self._recorder, len(tensors)
        own = [at for at in range(count) if recorder.holds(tensors[at])]
        comes = [at for at in range(count) if at not in own]
        # What comes from the host lies at the front, so that one copy takes it all.
        places = _Places.of([tensors[at] for at in (*comes, *own)])
        host, on_device = recorder.buffers(places.size)
        view_of = dict(zip((*comes, *own), zip(places.views(host), places.views(on_device))))
        on_host, inside = ([view_of[at][side] for at in range(count)] for side in (0, 1))
        for view, tensor in zip(inside, tensors):
            view.copy_(tensor)
        inputs = _rebuilt(arguments, iter(inside))
        recorder.enter(joins=True)
        try:
            with recorder.exact(), _compiling(self._fuses):
                found = self._function(*inputs)
                made = _Places.of(_several(found))
                buffers = recorder.buffers(made.size)
                out = made.views(buffers[1])

                def work() -> None:
                    for view, result in zip(out, _several(self._function(*inputs))):
                        view.copy_(result)

                # TorchScript looks at the first runs before it settles; libraries set themselves up in them.
                for _ in range(_RUNS_FUSED if self._fuses else _RUNS):
                    work()
                replay = recorder.record(work)
        finally:
            recorder.leave(())
        end = places.starts[len(comes)] if own else places.size
        filled = _fills(on_host, comes), _fills(inside, own)
        upload, goes_back = (on_device[:end], host[:end]), bool(comes) and not self._stays
        return _Graph(filled, upload, made, buffers, isinstance(found, Tensor), goes_back, replay)

    def _replayed(self, graph: _Graph, leaves: list[Any]) -> Any:
        recorder, (from_host, from_device) = self._recorder, graph.filled
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        # The last upload may not have been read yet.
        graph.is_read()
        for fill in from_host:
            fill(tensors)
        recorder.enter(joins=bool(from_device))
        results: list[Tensor] = []
        try:
            if from_host:
                graph.upload[0].copy_(graph.upload[1], non_blocking=True)
                graph.is_read = _nothing if graph.goes_back else recorder.mark()
            for fill in from_device:
                fill(tensors)
            graph.replay()
            if graph.goes_back:
                graph.made[0].copy_(graph.made[1], non_blocking=True)
                recorder.mark()()
                whole = graph.made[0].clone()
            else:
                whole = graph.made[1].clone()
                results.append(whole)
        finally:
            recorder.leave(results)
        views = graph.places.views(whole)
        return views[0] if graph.is_one else tuple(views)

    def _plainly(self, arguments: tuple[Any, ...]) -> Any:
        recorder = self._recorder
        tensors = [leaf for leaf in _leaves(arguments) if isinstance(leaf, Tensor)]
        goes_back = not self._stays and not all(map(recorder.holds, tensors))
        inputs = _rebuilt(arguments, iter([tensor.to(recorder.device) for tensor in tensors]))
        with recorder.exact(), _compiling(self._fuses or bool(self.refused)):
            found = self._function(*inputs)
        # Some functions return what they were given.
        results = [result.clone() if _is_of(result, tensors) else result for result in _several(found)]
        if goes_back:
            results = [result.cpu() for result in results]
        return results[0] if isinstance(found, Tensor) else tuple(results)


def _compiling(is_allowed: bool) -> AbstractContextManager[None]:
    """Return a context in which TorchScript may, or may not, watch its runs and compile kernels of its own."""
    context: AbstractContextManager[None] = torch.jit.optimized_execution(is_allowed)  # type: ignore[attr-defined]
    return context


def _nothing() -> None:
    """Wait for nothing."""


def _several(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else list(found)


def _is_of(result: Tensor, tensors: Sequence[Tensor]) -> bool:
    """Return whether a tensor lies in the memory of another."""
    at = result.untyped_storage().data_ptr()
    return any(result.device == each.device and at == each.untyped_storage().data_ptr() for each in tensors)


def _leaves(arguments: tuple[Any, ...]) -> list[Any]:
    """Return arguments with named tuples taken apart."""
    leaves: list[Any] = []
    for argument in arguments:
        if isinstance(argument, tuple):
            leaves.extend(argument)
        else:
            leaves.append(argument)
    return leaves


def _rebuilt(arguments: tuple[Any, ...], tensors: Any) -> list[Any]:
    """Return arguments with other tensors in the place of theirs."""

    def other(leaf: Any) -> Any:
        return next(tensors) if isinstance(leaf, Tensor) else leaf

    return [type(each)(*map(other, each)) if isinstance(each, tuple) else other(each) for each in arguments]

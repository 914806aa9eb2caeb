"""The recorder of CUDA graphs: one stream of its own, one pool of memory for all that is recorded there."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class CudaGraphs:
    """Records and replays on a stream of its own, so that another thread's work on the same GPU goes on beside it.

    Args:
        device: As torch names it.
        rounds: Whether convolutions and products of matrices may be rounded to TF32.
    """

    def __init__(self, device: str | torch.device, *, rounds: bool = False) -> None:
        self._rounds = rounds
        named = torch.device(device)
        index = torch.cuda.current_device() if named.index is None else named.index
        self.device = torch.device("cuda", index)
        self._stream = torch.cuda.Stream(self.device)
        self._pool = torch.cuda.graph_pool_handle()
        self._before: list[tuple[int, torch.cuda.Stream]] = []
        self.lock = threading.Lock()

    def holds(self, tensor: Tensor) -> bool:
        """Return whether a tensor lies on a GPU."""
        return tensor.is_cuda

    def buffers(self, size: int) -> tuple[Tensor, Tensor]:
        """Return pinned bytes on the host and as many on the GPU."""
        host = torch.zeros(size, dtype=torch.uint8, pin_memory=True)
        return host, torch.zeros(size, dtype=torch.uint8, device=self.device)

    def enter(self, *, joins: bool) -> None:
        """Make the own stream the current one; behind what the caller's stream holds where ``joins``."""
        before = torch.cuda.current_stream(self.device)
        if joins:
            self._stream.wait_stream(before)
        # Setting a stream selects its GPU.
        self._before.append((torch.cuda.current_device(), before))
        torch.cuda.set_stream(self._stream)

    def leave(self, given: Sequence[Tensor]) -> None:
        """Make the caller's stream the current one again; it waits for what it is given."""
        device, before = self._before.pop()
        torch.cuda.set_stream(before)
        if device != self.device.index:
            torch.cuda.set_device(device)
        if given:
            before.wait_stream(self._stream)
        for tensor in given:
            tensor.record_stream(before)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return what replays some work.

        Raises:
            RuntimeError: It waits for the GPU, reads from it or takes memory of the host meanwhile.
        """
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        collects = gc.isenabled()
        # What is collected meanwhile may be on this GPU, and letting go of that may not be recorded.
        gc.disable()
        try:
            # Other threads may go on using the GPU.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                work()
            except BaseException:
                self._give_up(graph)
                raise
            graph.capture_end()
        finally:
            if collects:
                gc.enable()
        return graph.replay

    def _give_up(self, graph: torch.cuda.CUDAGraph) -> None:
        """End a recording that failed; what failed is said already."""
        try:
            graph.capture_end()
        except RuntimeError:
            self._stream = torch.cuda.Stream(self.device)
            torch.cuda.set_stream(self._stream)
            # What was taken from a pool during a failed recording is not given back to it.
            self._pool = torch.cuda.graph_pool_handle()

    def mark(self) -> Callable[[], None]:
        """Return what waits until all that is on the stream so far is done."""
        event = torch.cuda.Event()
        event.record(self._stream)
        return event.synchronize

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Say whether convolutions and products of matrices are rounded to TF32, whatever torch is set to."""
        with warnings.catch_warnings():
            # The settings that replace these are not in every torch that this runs with.
            warnings.simplefilter("ignore")
            products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
            were = products.allow_tf32, convolutions.allow_tf32
            products.allow_tf32 = convolutions.allow_tf32 = self._rounds
            try:
                yield
            finally:
                products.allow_tf32, convolutions.allow_tf32 = were

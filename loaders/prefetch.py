"""Work done a little ahead of its use, and batches that are on the device when asked for."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(make: Callable[[Item], Made], items: Iterable[Item], *, depth: int) -> Iterator[Made]:
    """Like `map`, but a thread makes up to `depth` results before they are asked for."""
    with ThreadPoolExecutor(1) as pool:
        coming: deque[Future[Made]] = deque()
        try:
            for item in items:
                coming.append(pool.submit(make, item))
                if len(coming) > depth:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()


class ToDevice:
    """Copies batches to a device; on CUDA from pinned memory, on a stream of its own.

    The copy of one batch runs while the device computes with another. Whoever takes the batch has
    its own stream wait for the copy, not the host.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.side = torch.cuda.Stream(device) if device.type == "cuda" else None

    def start(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Begin to copy; to be called ahead of time."""
        if self.side is None:
            return _moved(batch, lambda tensor: tensor.to(self.device)), None
        with torch.cuda.stream(self.side):
            moved = _moved(batch, self._copy)
            return moved, self.side.record_event()

    def _copy(self, tensor: Tensor) -> Tensor:
        pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
        return pinned.to(self.device, non_blocking=True)

    def finish(self, started: tuple[dict[str, Any], Any]) -> dict[str, Any]:
        """Hand over: work queued from here on sees the copied batch."""
        batch, copied = started
        if copied is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(copied)
            _moved(batch, lambda tensor: _used_on(tensor, current))
        return batch


def _used_on(tensor: Tensor, stream: Any) -> Tensor:
    tensor.record_stream(stream)  # its memory is not reused before this stream is done with it
    return tensor


def _moved(batch: dict[str, Any], move: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """Apply a function to every tensor of a batch, those in lists too."""

    def one(value: Any) -> Any:
        if isinstance(value, Tensor):
            return move(value)
        return [one(item) for item in value] if isinstance(value, list) else value

    return {name: one(value) for name, value in batch.items()}

"""Who makes the shards: this process, processes of this machine, or a cluster.

The only place that knows Dask.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Union

from quire.artifacts.errors import BuildError, QuireError

PATIENCE = "10s"  # for a scheduler to answer
DEATHS = 2  # workers that may die over one item before the work stops

_SHARES = 32  # groups of items that a worker gets, if there are as many; the last one ends them

if TYPE_CHECKING:
    from distributed.deploy.cluster import Cluster

Scheduler: TypeAlias = Union[str, "Cluster"]
"""The address of a Dask scheduler that runs, or its cluster, which knows how to get in."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Pool(ExitStack):
    """Workers, who are called when there is something to do, and stay until the body ends."""

    def __init__(self, workers: int = 0, scheduler: Scheduler | None = None) -> None:
        """`workers` processes of this machine, 0 for this process alone; or those of a cluster."""
        super().__init__()
        self._workers = workers
        self._scheduler = scheduler
        self._client: Any = None

    def each(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        label: Callable[[Item], str] = str,
    ) -> Iterator[tuple[Sequence[Item], Sequence[Result]]]:
        """What `function` gives of each item, some at a time, as they are done; in any order.

        `function` travels to each worker once. An error of ours, or of the operating system, that
        it raises stops the rest. `label` names an item in messages.

        Raises:
            BuildError: no scheduler answers, or workers keep dying.
        """
        if not items:
            return
        if self._workers == 0 and self._scheduler is None:
            for item in items:
                yield [item], [function(item)]
            return
        if self._client is None:
            count = min(self._workers, len(items))
            self._client = self.enter_context(_client(count, self._scheduler))
        yield from _completed(self._client, function, items, label)


@contextmanager
def _client(workers: int, scheduler: Scheduler | None) -> Iterator[Any]:
    """A Dask client of a running scheduler, or of a cluster of processes on this machine."""
    import dask
    import distributed

    if scheduler is not None:
        try:
            client = distributed.Client(scheduler, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            place = getattr(scheduler, "scheduler_address", scheduler)
            raise BuildError(f"no Dask scheduler answers at {place} ({error})") from error
        with client:
            yield client
        return
    environment = "distributed.nanny.pre-spawn-environ"
    settings = {
        "distributed.scheduler.allowed-failures": DEATHS,
        # Dask has malloc give freed memory back at once; taking it again for every block of images
        # would cost as much as the work on it.
        f"{environment}.MALLOC_TRIM_THRESHOLD_": 1 << 28,
        f"{environment}.MALLOC_MMAP_THRESHOLD_": 1 << 25,
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _completed(
    client: Any,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    label: Callable[[Item], str],
) -> Iterator[tuple[Sequence[Item], Sequence[Result]]]:
    """See `Pool.each`.

    Many items are done together: each of Dask's tasks costs milliseconds, and the scheduler keeps
    all of them in memory. The function is a task of its own, since Dask would send it again with
    each group, and a source may have a million names.
    """
    import distributed

    shared = groups(items, len(client.scheduler_info()["workers"]))
    sent = client.submit(_same, function, pure=False)
    futures = client.map(_attempt, shared, function=sent, pure=False)
    of_future = {future.key: group for future, group in zip(futures, shared, strict=True)}
    try:
        for future in distributed.as_completed(futures, loop=client.loop):
            results, error = future.result()
            if error is not None:
                raise error
            yield of_future[future.key], results
    except distributed.KilledWorker as error:
        names = [label(item) for item in of_future.get(error.task, items)]
        over = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        raise BuildError(f"workers keep dying over {over}") from error
    finally:
        client.cancel([*futures, sent])


def groups(items: Sequence[Item], workers: int) -> list[Sequence[Item]]:
    """Items that are done together, each group by one worker."""
    size = max(1, len(items) // (_SHARES * max(1, workers)))
    return [items[start : start + size] for start in range(0, len(items), size)]


def _same(function: Callable[[Item], Result]) -> Callable[[Item], Result]:
    return function


def _attempt(
    items: Sequence[Item], function: Callable[[Item], Result]
) -> tuple[list[Result], Exception | None]:
    """The results of some items. An expected error is returned, since Dask would log it."""
    results = []
    try:
        for item in items:
            results.append(function(item))
    except (QuireError, OSError) as error:
        return results, error
    return results, None

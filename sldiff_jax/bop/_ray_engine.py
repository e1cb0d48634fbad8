"""Images of a run spread over processes by Ray, on one machine or many. Needs the extra `cluster`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from ._parts import Ids, Part
from ._task import Begin, Task, Worker

RESTARTS = 3
"""Times that a worker is started again, and an image given to it again, before the image counts as failed."""


class RayEngine:
    """Processes that Ray starts, watches and restarts: one per GPU, or as many as asked for.

    Every worker loads the meshes and compiles its programs once. An image whose worker dies is given out again, by Ray.
    Workers read the data set themselves, so that all nodes must see its folder; results come back to this process,
    which writes them.

    Args:
        workers: number of processes. Default: one per GPU of the cluster, or per two CPU cores where there is none.
        address: of a running cluster, such as ``auto`` or ``ray://host:10001``. Default: processes of this machine.
        memory_fraction: share of its GPU's memory that a worker's XLA reserves.

    Raises:
        ValueError: if Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, workers: int | None = None, address: str | None = None, *, memory_fraction: float = 0.75):
        try:
            import ray
        except ImportError:
            raise ValueError("The engine ray needs the package ray: pip install 'sldiff-jax[cluster]'.") from None
        if workers is not None and workers < 1:
            raise ValueError(f"The number of workers must be at least 1, got {workers}.")
        if not 0 < memory_fraction <= 1:
            raise ValueError(f"The fraction of memory must lie in (0, 1], got {memory_fraction}.")
        self._ray: Any = ray
        self.workers, self.memory_fraction = workers, memory_fraction
        self._started = not ray.is_initialized()
        if self._started:
            # Ray's own share of this machine is not the limit: JAX uses what cores there are.
            local = {} if address else {"num_cpus": max(workers or 1, os.cpu_count() or 1), "include_dashboard": False}
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise ValueError(f"There is no Ray cluster at {address}: {error}") from None

    def run(self, task: Task, images: Sequence[tuple[Ids, Sequence[Begin]]]) -> Iterator[Part]:
        """The part of each image, in the order in which they are done."""
        ray = self._ray
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        count = min(self.workers or gpus or max(1, int(resources.get("CPU", 1)) // 2), len(images))
        variables = {"XLA_PYTHON_CLIENT_MEM_FRACTION": str(self.memory_fraction)}
        if not gpus:
            variables["JAX_PLATFORMS"] = "cpu"
        actor: Any = ray.remote(Worker).options(
            num_cpus=1,
            num_gpus=1 if gpus else 0,
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
            runtime_env={"env_vars": variables},
        )
        idle = [actor.remote(task) for _ in range(count)]
        waiting = list(images)
        running: dict[Any, tuple[Any, Ids]] = {}
        try:
            while waiting or running:
                while idle and waiting:
                    ids, begins = waiting.pop(0)
                    worker = idle.pop()
                    running[worker.refine.remote(ids, list(begins))] = (worker, ids)
                (done,), _ = ray.wait(list(running), num_returns=1)
                worker, ids = running.pop(done)
                try:
                    part = ray.get(done)
                except ray.exceptions.RayActorError as error:
                    # It was restarted as often as may be. The others go on with a new one.
                    part = Part(*ids, (), f"the worker died {RESTARTS + 1} times over this image: {error}")
                    worker = actor.remote(task)
                except ray.exceptions.RayTaskError as error:
                    part = Part(*ids, (), f"{type(error).__name__}: {error}")
                idle.append(worker)
                yield part
        finally:
            for worker in (*idle, *(worker for worker, _ in running.values())):
                ray.kill(worker)

    def close(self) -> None:
        """Stops what the constructor started."""
        if self._started:
            self._ray.shutdown()

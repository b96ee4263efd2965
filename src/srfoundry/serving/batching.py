"""Tiles of all requests, run together: whoever has tiles takes turns, and tiles of one size may share a run.

How many tiles share a run, and how many runs go on side by side, was measured for each model (self_test.py): a GPU
gains by large batches; a processor runs one tile a thread, which is quicker than a batch on all of them. A tile that
is alone has all threads.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

LINGER = 0.002  # seconds that a run which is not full waits for more tiles


@dataclass(frozen=True)
class Plan:
    """How a model's tiles are run.

    Attributes:
        threads: of one run.
        batch: tiles of one run at most.
    """

    threads: int
    batch: int


@runtime_checkable  # for the shape checks of the tests
class Runs(Protocol):
    """A model that runs a batch of tiles."""

    @property
    def plan(self) -> Plan: ...

    def run(self, tiles: Float[np.ndarray, "b 3 h w"], threads: int) -> Float[np.ndarray, "b 3 H W"]: ...


Watch = Callable[[int, float], None]


@dataclass(frozen=True)
class _Tile:
    model: Runs
    pixels: Float[np.ndarray, "1 3 h w"]
    done: "Future[np.ndarray]"

    def fits(self, other: "_Tile") -> bool:
        return self.model is other.model and self.pixels.shape == other.pixels.shape


class Batcher:
    """Runs tiles; `close` it at the end.

    Args:
        threads: of the processor, for all runs together.
        watch: is called with (tiles, seconds) after each run.
    """

    def __init__(self, threads: int, watch: Watch = lambda tiles, seconds: None) -> None:
        self.threads = threads
        self._watch = watch
        self._waiting: dict[Hashable, deque[_Tile]] = {}  # by owner, in the order of their turns
        self._busy = 0  # threads
        self._closed = False
        self._changed = threading.Condition()
        self._workers = [threading.Thread(target=self._work, name=f"tiles {i}", daemon=True) for i in range(threads)]
        for worker in self._workers:
            worker.start()

    @property
    def waiting(self) -> int:
        """How many tiles wait."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def submit(self, model: Runs, owner: Hashable, tile: Float[np.ndarray, "1 3 h w"]) -> "Future[np.ndarray]":
        """Have a tile enlarged; those of one owner are begun in the order in which they came."""
        made = _Tile(model, tile, Future())
        with self._changed:
            if self._closed:
                made.done.cancel()
                return made.done
            self._waiting.setdefault(owner, deque()).append(made)
            self._changed.notify_all()
        return made.done

    def drop(self, owner: Hashable) -> None:
        """Forget what waits of an owner; its futures are cancelled."""
        with self._changed:
            dropped = self._waiting.pop(owner, deque())
        for tile in dropped:
            tile.done.cancel()

    def close(self) -> None:
        """Finish what runs, cancel what waits."""
        with self._changed:
            self._closed = True
            owners = list(self._waiting)
            self._changed.notify_all()
        for owner in owners:
            self.drop(owner)
        for worker in self._workers:
            worker.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                taken = self._take()
                while taken is None and not self._closed:
                    self._changed.wait()
                    taken = self._take()
                if taken is None:
                    return
            batch, threads = taken
            try:
                self._run(batch, threads)
            finally:
                with self._changed:
                    self._busy -= threads
                    self._changed.notify_all()

    def _take(self) -> tuple[list[_Tile], int] | None:
        """The next batch and its threads, which are taken with it; None where there is none, or no room."""
        if not self._waiting:
            return None
        first = next(iter(self._waiting.values()))[0]
        plan = first.model.plan
        alone = not self._busy and sum(map(len, self._waiting.values())) == 1
        threads = self.threads if alone else min(plan.threads, self.threads)
        if self._busy + threads > self.threads:
            return None
        self._busy += threads
        batch: list[_Tile] = []
        self._gather(batch, first, plan.batch)
        if len(batch) < plan.batch and plan.batch > 1 and self._changed.wait(LINGER):
            self._gather(batch, first, plan.batch)
        return batch, threads

    def _gather(self, batch: list[_Tile], first: _Tile, most: int) -> None:
        """Add tiles that can run with the first: one of each owner, then another; who gave goes to the end."""
        found = True
        while found and len(batch) < most:
            found = False
            for owner, tiles in list(self._waiting.items()):
                if len(batch) < most and tiles[0].fits(first):
                    batch.append(tiles.popleft())
                    del self._waiting[owner]
                    if tiles:
                        self._waiting[owner] = tiles
                    found = True

    def _run(self, batch: list[_Tile], threads: int) -> None:
        began = time.perf_counter()
        live = [tile for tile in batch if tile.done.set_running_or_notify_cancel()]
        if not live:
            return
        try:
            stacked = live[0].pixels if len(live) == 1 else np.concatenate([tile.pixels for tile in live])
            restored = live[0].model.run(stacked, threads)
        except Exception as error:  # whatever a runtime raises belongs to those whose tiles these are
            for tile in live:
                tile.done.set_exception(error)
            return
        self._watch(len(live), time.perf_counter() - began)
        for index, tile in enumerate(live):
            tile.done.set_result(restored[index : index + 1])

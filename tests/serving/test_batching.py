"""Tiles of several owners share runs, take turns, and their errors go to whose they are."""

import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest

from srfoundry.serving.batching import Batcher, Plan


class Model:
    """Doubles its tiles, once it is let; notes what ran together."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.go, self.begun = threading.Event(), threading.Event()
        self.runs: list[list[float]] = []
        self.threads: list[int] = []
        self.lock = threading.Lock()

    def run(self, tiles: np.ndarray, threads: int) -> np.ndarray:
        with self.lock:
            self.runs.append([float(tile.max()) for tile in tiles])
            self.threads.append(threads)
        self.begun.set()
        assert self.go.wait(60)
        if tiles.max() > 100:
            raise RuntimeError("too bright")
        return tiles.repeat(2, 2).repeat(2, 3)


def tile(value: float, side: int = 4) -> np.ndarray:
    return np.full((1, 3, side, side), value, np.float32)


def test_owners_take_turns_and_share_batches() -> None:
    model, sizes = Model(Plan(threads=1, batch=3)), list[int]()
    batcher = Batcher(1, lambda tiles, seconds: sizes.append(tiles))
    first = batcher.submit(model, "a", tile(0))
    assert model.begun.wait(60)  # it runs; the others come meanwhile
    asked = {value: batcher.submit(model, "a", tile(value)) for value in (1, 2, 3)}
    asked |= {value: batcher.submit(model, "b", tile(value)) for value in (11, 12)}
    asked |= {21: batcher.submit(model, "c", tile(21, side=6))}
    assert batcher.waiting == 6
    model.go.set()
    assert first.result(60).shape == (1, 3, 8, 8)
    assert [float(found.result(60).max()) for found in asked.values()] == list(asked)
    assert asked[21].result(60).shape == (1, 3, 12, 12)
    batcher.close()
    assert model.runs[1] == [1, 11, 2]  # one of each, then the next; another size never
    assert [21] in model.runs and sum(sizes) == 7 and max(sizes) == 3


def test_runs_go_side_by_side_and_a_lone_tile_has_all_threads() -> None:
    model = Model(Plan(threads=1, batch=1))
    batcher = Batcher(2)
    alone = batcher.submit(model, "a", tile(1))
    assert model.begun.wait(60)
    others = [batcher.submit(model, "b", tile(2)), batcher.submit(model, "b", tile(3))]
    assert len(model.runs) == 1  # no thread is left
    model.go.set()
    for found in (alone, *others):
        assert found.result(60).shape == (1, 3, 8, 8)
    batcher.close()
    assert model.threads[0] == 2 and sorted(model.runs) == [[1], [2], [3]]


def test_errors_and_cancellation_reach_the_owner_alone() -> None:
    model = Model(Plan(threads=1, batch=1))
    batcher = Batcher(1)
    bad = batcher.submit(model, "bad", tile(200))
    assert model.begun.wait(60)
    good, dropped = batcher.submit(model, "good", tile(1)), batcher.submit(model, "dropped", tile(2))
    batcher.drop("dropped")
    model.go.set()
    with pytest.raises(RuntimeError, match="too bright"):
        bad.result(60)
    assert good.result(60).max() == 1
    with pytest.raises(CancelledError):
        dropped.result(60)
    batcher.close()
    with pytest.raises(CancelledError):
        batcher.submit(model, "late", tile(1)).result(60)

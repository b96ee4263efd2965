"""Work whose parts wait for each other: never too early, no more at a time than there is room for, failures end it."""

import threading
import time

import pytest

from pipelines.support.schedule import makespan, side_by_side, ways

PARENTS = {"root": [], "long": ["root"], "short": ["root"], "tail": ["long"], "end": ["tail", "short"]}
SECONDS = {"root": 1.0, "long": 4.0, "short": 2.0, "tail": 1.0, "end": 1.0}


def test_each_runs_once_after_its_parents_with_no_more_than_there_is_room_for() -> None:
    lock, running, most, done = threading.Lock(), set[str](), [0], list[str]()

    def run(name: str) -> str:
        with lock:
            assert set(PARENTS[name]) <= set(done)
            running.add(name)
            most[0] = max(most[0], len(running))
        time.sleep(0.02)
        with lock:
            running.remove(name)
            done.append(name)
        return name.upper()

    for jobs in (1, 2):
        done.clear()
        most[0] = 0
        found = side_by_side(PARENTS, run, jobs=jobs, seconds=SECONDS, stop=threading.Event())
        assert found == {name: name.upper() for name in PARENTS} and sorted(done) == sorted(PARENTS)
        assert most[0] == jobs


def test_the_longest_way_to_the_end_goes_first() -> None:
    begun = list[str]()

    def run(name: str) -> str:
        begun.append(name)
        return ""

    side_by_side(PARENTS, run, jobs=1, seconds=SECONDS, stop=threading.Event())
    assert begun == ["root", "long", "short", "tail", "end"]
    assert ways(PARENTS, SECONDS) == {"root": 7.0, "long": 6.0, "short": 3.0, "tail": 2.0, "end": 1.0}


def test_a_failure_stops_the_others_and_starts_nothing_more() -> None:
    stop, begun = threading.Event(), list[str]()

    def run(name: str) -> str:
        begun.append(name)
        if name == "short":
            raise ValueError("broken")
        if name == "long":
            assert stop.wait(10)
        return ""

    with pytest.raises(ValueError, match="broken"):
        side_by_side(PARENTS, run, jobs=2, seconds=SECONDS, stop=stop)
    assert sorted(begun) == ["long", "root", "short"]


def test_how_long_it_takes_with_room_for_one_and_for_two() -> None:
    assert makespan(PARENTS, SECONDS, 1) == 9.0
    assert makespan(PARENTS, SECONDS, 2) == 7.0, "short is done beside long"
    assert makespan({}, {}, 2) == 0.0

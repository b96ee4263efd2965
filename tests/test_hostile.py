"""A short form of `benchmarks.hostile`: damaged files are read or refused by one line, and nothing else happens."""

import json
import os
from pathlib import Path

import pytest

from benchmarks import hostile
from benchmarks._hostile_seeds import Seed


def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    asked = {"images": 90, "params": 8, "models": 10, "kernels": 13}
    found = hostile.mutated(asked, seed=5, work=tmp_path)
    assert found["hostile_first_failures"] == []
    assert found["hostile_tracebacks"] == found["hostile_hangs"] == found["hostile_over_memory"] == 0
    assert found["hostile_read"] + found["hostile_refused"] == found["hostile_files"] == sum(asked.values())
    assert found["hostile_read"] and not found["hostile_unsound"]
    assert json.loads((tmp_path / "images-5.json").read_text())["counts"]["files"] == 90


def test_the_reader_says_what_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies and one that computes for ever are counted, and the next file is read by a new one."""
    monkeypatch.setattr(hostile, "PATIENCE", 2.0)
    with hostile.Reader(tmp_path) as reader:
        good = Seed("good.npy", "kernel", (reader.scratch / "kernel.npy").read_bytes(), lambda data, rng: data)
        first = reader._child
        assert reader._process.stdin
        reader._process.stdin.write(b'kernel", "half.npy", false]\n')  # its beginning taken up by one that was killed
        os.kill(first, 9)
        assert reader.read(good, "one.npy", good.data)["outcome"] == "tracebacks"
        assert reader.read(good, "two.npy", good.data)["outcome"] == "read" and reader._child != first
        forever = Seed("forever.npy", "forever", good.data, good.change)
        assert reader.read(forever, "three.npy", good.data)["outcome"] == "hangs"
        assert reader.read(Seed("x", "nobody", b"", good.change), "four.npy", b"")["outcome"] == "tracebacks"
        assert reader.read(good, "five.npy", good.data, watched=True)["fresh"]

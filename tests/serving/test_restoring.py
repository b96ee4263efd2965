"""Restoration over HTTP: what is needed is said, its steps are seen, its kernel is found, it can be cancelled."""

import asyncio
import importlib.util
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from srfoundry.degradation import kernels
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.imaging import resize
from srfoundry.restoration import devices
from srfoundry.restoration.blind_restoration import Restoration
from srfoundry.restoration.restorers.restorer import Restored, Ticker, no_ticker
from srfoundry.serving.jobs import Job
from srfoundry.serving.restoring import NETWORK, Restorers
from srfoundry.serving.settings import Serving
from tests import served

THREADS = 3  # other than the tests' own


@dataclass
class Enlarger:
    """A restorer that takes two steps, or does not stop by itself."""

    scale: int = 2
    uses_noise: bool = False
    endless: bool = False
    begun: threading.Event = field(default_factory=threading.Event)
    seen: list[str] = field(default_factory=list)
    threads: int = 0

    def restore(self, observation: Observation, name: str, ticker: Ticker = no_ticker) -> Restored:
        progress = ticker("adapt")
        self.seen.append(observation.decimation)
        self.threads = torch.get_num_threads()
        progress(1, 2)
        self.begun.set()
        while self.endless:
            progress(1, 2)
        progress(2, 2)
        return Restored(resize.cubic(observation.low, 2).clamp(0, 1), "two steps")


@pytest.fixture
def restorer() -> Enlarger:
    return Enlarger()


@pytest.fixture
def client(tmp_path: Path, restorer: Enlarger, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client of a server whose project has a restorer and a known kernel."""
    kernel = kernels.gaussian(9, torch.tensor([2.0]), torch.tensor([1.0]), torch.zeros(1)).float()
    monkeypatch.setattr(
        Restoration, "load", lambda options, models: Restoration(options, restorer, Sampling(2), kernel, None)
    )
    (tmp_path / "pruned.onnx").write_bytes(served.model())
    (tmp_path / "models").mkdir()
    for name in ("params.yaml", NETWORK):
        (tmp_path / name).touch()
    before = torch.get_num_threads()
    with served.serving(Serving(str(tmp_path), THREADS, "cpu", project=tmp_path)) as made:
        yield made
    torch.set_num_threads(before)


def states(client: TestClient, place: str) -> list[dict[str, Any]]:
    with client.stream("GET", f"{place}/events") as events:
        return [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]


def test_a_job_that_ends_while_its_state_is_taken_still_says_how(tmp_path: Path) -> None:
    async def watched() -> list[str]:
        job, seen = Job(tmp_path, pixels=1, tiles=1, model="restore"), list[str]()
        async for state in job.changes():
            seen.append(state["state"])
            if not job.finished:
                job.settle(None, {})
        return seen

    assert asyncio.run(watched()) == ["queued", "done"]


def test_a_photograph_is_restored_and_says_how(client: TestClient) -> None:
    whole = client.post("/v1/restore", params={"force": True}, content=served.photograph(20, 30))
    assert whole.status_code == 200 and whole.headers["x-model"] == "restore"
    assert whole.headers["x-model-version"] == "metatrain"
    begun = client.post("/v1/restore", params={"force": True, "wait": False}, content=served.photograph(20, 30))
    found = states(client, begun.headers["location"])
    assert found[-1]["state"] == "done" and found[-1]["remarks"][0] == "two steps"
    assert "consistency" in found[-1]["remarks"][1]
    described = client.get("/openapi.json").json()["components"]["schemas"]["JobBody"]["properties"]
    assert set(found[-1]) <= set(described)
    assert client.get(f"{begun.headers['location']}/result").content[:4] == b"\x89PNG"


def test_a_kernel_is_found(client: TestClient) -> None:
    found = client.post("/v1/kernel", content=served.photograph(20, 30)).json()
    assert found["scale"] == 2 and sum(map(sum, found["kernel"])) == pytest.approx(1)
    wrong = client.post("/v1/kernel", params={"decimation": "nearest"}, content=served.photograph(20, 30))
    assert wrong.status_code == 422


def test_how_it_was_reduced_may_be_said(client: TestClient, restorer: Enlarger) -> None:
    for said in ({}, {"decimation": "bicubic"}):
        client.post("/v1/restore", params={"force": True} | said, content=served.photograph(20, 30))
    assert restorer.seen == ["direct", "bicubic"]


def test_it_computes_on_as_many_threads_as_the_server_was_given(client: TestClient, restorer: Enlarger) -> None:
    client.post("/v1/restore", params={"force": True}, content=served.photograph(20, 30))
    assert restorer.threads == THREADS != torch.get_num_threads()


@pytest.mark.parametrize(
    ("device", "torchs"), [("auto", "auto"), ("cuda", "cuda"), ("tensorrt", "cuda"), ("openvino", "cpu")]
)
def test_it_computes_where_the_server_does(
    device: str, torchs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device that this name has in PyTorch."""
    places = {"auto": torch.device("cuda"), "cuda": torch.device("cuda"), "cpu": torch.device("cpu")}
    monkeypatch.setattr(devices, "chosen", lambda name, threads: places[name])
    monkeypatch.setattr(Restoration, "load", lambda options, models: options.device)
    found = Restorers(tmp_path, threads=torch.get_num_threads(), device=device).load()
    assert found == places[torchs]


def test_it_is_cancelled_between_steps(client: TestClient, restorer: Enlarger) -> None:
    restorer.endless = True
    begun = client.post("/v1/restore", params={"force": True, "wait": False}, content=served.photograph(20, 30))
    assert restorer.begun.wait(60)
    client.delete(begun.headers["location"])
    assert states(client, begun.headers["location"])[-1]["state"] == "cancelled"


def test_what_is_missing_is_said(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / NETWORK).unlink()
    answer = client.post("/v1/restore", content=served.photograph(20, 30))
    assert answer.status_code == 501 and "make repro" in answer.json()["detail"]
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else find(name))
    answer = client.post("/v1/kernel", content=served.photograph(20, 30))
    assert answer.status_code == 501 and "pip install 'srfoundry[train]'" in answer.json()["detail"]


def test_large_photographs_are_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srfoundry.serving.restoring.LARGEST", 100)
    answer = client.post("/v1/restore", content=served.photograph(20, 30))
    assert answer.status_code == 413

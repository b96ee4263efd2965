"""Photographs over HTTP: what comes back, in which format, and what is refused."""

import asyncio
import gzip
import io
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from srfoundry.runtime.session import Session
from srfoundry.runtime.upscaler import Upscaler
from srfoundry.serving.jobs import Job, Result, Store
from srfoundry.serving.settings import Limits, Listening, Serving
from tests import photographs, served


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family of two."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "pruned.onnx").write_bytes(served.model())
    (folder / "pruned70.onnx").write_bytes(served.model(0.02))
    return folder


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[TestClient]:
    """A client of a server with both, which takes small photographs alone."""
    limits = Limits(largest=300_000, largest_bytes=400_000)
    with served.serving(Serving(str(models), 2, "cpu", limits)) as made:
        yield made


def opened(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


@pytest.mark.parametrize("tile", [None, 40])
def test_the_pixels_are_those_of_upscale(client: TestClient, models: Path, tmp_path: Path, tile: int | None) -> None:
    body = served.photograph(mode="RGBA")
    (tmp_path / "a.png").write_bytes(body)
    session = Session(models / "pruned.onnx", threads=1, device="cpu")
    side = tile or session.card.tile
    upscaler = Upscaler(session, tile=side, overlap=min(8, side // 4))
    upscaler.file(tmp_path / "a.png", tmp_path / "b.png")
    answer = client.post("/v1/upscale", content=body, params={} if tile is None else {"tile": tile})
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert answer.headers["x-model"] == "pruned" and len(answer.headers["x-model-version"]) == 12
    ours, theirs = np.asarray(opened(answer.content), int), np.asarray(Image.open(tmp_path / "b.png"), int)
    assert ours.shape == (300, 260, 4) and abs(ours - theirs).max() <= 1


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/jpeg", "JPEG"),
        ("text/html, image/webp;q=0.8, image/jpeg;q=0.5", "WEBP"),
        ("*/*", "PNG"),
        ("image/*;q=0.1, image/jpeg;q=0", "PNG"),
    ],
)
def test_accept_chooses_the_format(client: TestClient, accept: str, kind: str) -> None:
    answer = client.post("/v1/upscale", content=served.photograph(20, 30), headers={"Accept": accept})
    found = opened(answer.content)
    assert found.format == kind and found.size == (60, 40)


def test_grey_orientation_and_profile_are_kept(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a photograph"
    turned = client.post(
        "/v1/upscale", content=served.photograph(20, 30, suffix="JPEG", exif=exif, icc_profile=b"profile")
    )
    found = opened(turned.content)
    assert (
        found.size == (40, 60) and found.getexif()[0x010E] == "a photograph" and found.info["icc_profile"] == b"profile"
    )
    assert opened(client.post("/v1/upscale", content=served.photograph(9, 7, mode="L")).content).mode == "L"


def test_forms_are_taken(client: TestClient) -> None:
    files = {"image": ("a.png", served.photograph(20, 30), "image/png")}
    answer = client.post("/v1/upscale", params={"model": "pruned70"}, files=files, data={"note": "x"})
    assert answer.status_code == 200 and answer.headers["x-model"] == "pruned70"
    wrong = client.post("/v1/upscale", files={"other": ("a.png", b"x")})
    assert wrong.status_code == 400 and "image" in wrong.json()["detail"]


def test_a_job_is_followed_fetched_and_forgotten(client: TestClient) -> None:
    begun = client.post(
        "/v1/upscale", params={"wait": False}, content=served.photograph(), headers={"Accept": "image/webp"}
    )
    assert begun.status_code == 202
    place = begun.headers["location"]
    with client.stream("GET", f"{place}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        seen = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
    assert seen[-1] == client.get(place).json()
    assert seen[-1]["state"] == "done" and seen[-1]["done"] == seen[-1]["tiles"] > 4 and seen[-1]["error"] is None
    assert [each["done"] for each in seen] == sorted(each["done"] for each in seen)
    result = client.get(f"{place}/result")
    assert opened(result.content).format == "WEBP" and result.headers["x-model-version"] == seen[-1]["version"]
    assert client.delete(place).status_code == 200
    assert client.get(place).status_code == 404 and client.get(f"{place}/result").status_code == 404


def test_a_job_is_cancelled(client: TestClient) -> None:
    body = served.photograph(540, 540)
    begun = client.post("/v1/upscale", params={"wait": False, "tile": 32}, content=body)
    place = begun.headers["location"]
    early = client.get(f"{place}/result")
    assert early.status_code == 409 and "tiles" in early.json()["detail"]
    client.delete(place)
    with client.stream("GET", f"{place}/events") as events:
        seen = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
    assert seen[-1]["state"] == "cancelled" and seen[-1]["done"] < seen[-1]["tiles"]


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that claims many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(2**19))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "empty"),
        (b"no photograph at all", 415, "no PNG"),
        (served.photograph()[:200], 422, "damaged"),
        (bomb(20_000, 20_000), 413, "megapixels"),
        (bomb(500, 500), 422, "damaged"),
        (bytes(400_001), 413, "bytes"),
    ],
    ids=["empty", "text", "truncated", "bomb", "lying", "long"],
)
def test_bad_bodies_are_problems(client: TestClient, body: bytes, status: int, says: str) -> None:
    answer = client.post("/v1/upscale", content=body)
    assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"
    seen = answer.json()
    assert set(seen) == {"title", "detail", "status"} and seen["status"] == status and says in seen["detail"]
    assert "/tmp" not in seen["detail"]
    kind = "size" if status == 413 else "photograph"
    assert f'srfoundry_errors_total{{kind="{kind}"}}' in client.get("/metrics").text


def test_a_body_without_length_is_cut_off(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(50):
            yield bytes(10_000)

    assert client.post("/v1/upscale", content=endless()).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("GET", "/v1/upscale", {}, 405),
        ("GET", "/nothing", {}, 404),
        ("GET", "/v1/jobs/none", {}, 404),
        ("POST", "/v1/upscale?model=other", {}, 404),
        ("POST", "/v1/upscale?tile=7", {}, 422),
        ("POST", "/v1/upscale?tile=many", {}, 422),
        ("POST", "/v1/upscale", {"Accept": "text/html"}, 406),
        ("POST", "/v1/upscale", {"Host": "rebound.example"}, 421),
        ("POST", "/v1/upscale", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", "/v1/upscale", {"Origin": "https://elsewhere.example"}, 403),
    ],
)
def test_wrong_requests_are_problems(
    client: TestClient, method: str, path: str, more: dict[str, str], status: int
) -> None:
    answer = client.request(method, path, content=served.photograph(8, 8) if method == "POST" else None, headers=more)
    assert answer.status_code == answer.json()["status"] == status
    assert answer.json()["detail"] and answer.headers["content-type"] == "application/problem+json"


def test_transparency_that_a_format_lacks_is_said(client: TestClient) -> None:
    body = served.photograph(20, 20, mode="RGBA")
    answer = client.post("/v1/upscale", content=body, headers={"Accept": "image/jpeg"})
    assert answer.status_code == 422 and "transparency" in answer.json()["detail"]


def test_the_queue_is_bounded(models: Path) -> None:
    settings = Serving(str(models), 1, "cpu", Limits(queue=1))
    with served.serving(settings) as client:
        body = served.photograph(500, 500)
        answers = [client.post("/v1/upscale", params={"wait": False, "tile": 32}, content=body) for _ in range(8)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert answers[0].status_code == 202 and refused
        assert int(refused[0].headers["retry-after"]) >= 1 and "try again" in refused[0].json()["detail"]
        for answer in answers:
            if answer.status_code == 202:
                client.delete(answer.headers["location"])


def test_who_waits_too_long_for_a_turn_is_refused(models: Path) -> None:
    with served.serving(Serving(str(models), 1, "cpu", Limits(waiting=0.05))) as client:
        large, query = served.photograph(700, 700), {"wait": False, "tile": 32}
        jobs = [client.post("/v1/upscale", params=query, content=large).headers["location"] for _ in range(4)]
        answer = client.post("/v1/upscale", content=served.photograph(9, 9))
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
        assert "its turn has not come" in answer.json()["detail"]
        assert all(client.get(job).json()["error"] is None for job in jobs)  # who asks for a job has time
        for job in jobs:
            client.delete(job)


def test_work_that_takes_too_long_ends(models: Path) -> None:
    with served.serving(Serving(str(models), 1, "cpu", Limits(seconds=0.05))) as client:
        answer = client.post("/v1/upscale", params={"tile": 32}, content=served.photograph(700, 700))
    assert answer.status_code == 503 and "limit" in answer.json()["detail"], answer.text


def test_results_are_kept_for_a_while_only(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srfoundry.serving.jobs.SWEEP", 0.01)
    with served.serving(Serving(str(models), 1, "cpu", Limits(kept_seconds=0.0))) as client:
        place = client.post("/v1/upscale", params={"wait": False}, content=served.photograph(9, 9)).headers["location"]
        with client.stream("GET", f"{place}/events") as events:
            events.read()
        while client.get(place).status_code == 200:
            pass


def test_an_answer_that_was_sent_is_forgotten_in_the_event_loops_thread(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep looks at the same jobs there; beside it, it would find files that are just being removed."""
    threads, discard = list[int](), Store.discard

    def noted(store: Store, job: Job) -> None:
        threads.append(threading.get_ident())
        discard(store, job)

    async def of_the_loop() -> int:
        return threading.get_ident()

    monkeypatch.setattr(Store, "discard", noted)
    server = served.serving(Serving(str(models), 1, "cpu"))
    with server as client:
        assert client.post("/v1/upscale", content=served.photograph(9, 9)).status_code == 200
        assert server.service.loop is not None and not server.service.store.jobs()
        assert threads == [asyncio.run_coroutine_threadsafe(of_the_loop(), server.service.loop).result(60)]


def test_a_result_that_somebody_else_removed_does_not_end_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srfoundry.serving.jobs.SWEEP", 0.01)

    async def swept() -> None:
        store = Store(Limits(kept_seconds=0.0))
        for name in ("gone", "there"):
            job = Job(store.place(), pixels=1, tiles=1, model="pruned")
            job.result = Result(job.folder / "result.png", "image/png")
            if name == "there":
                job.result.path.write_bytes(b"a picture")
            job.settle(None, {})
            store.add(job)
        sweep = asyncio.create_task(store.sweep())
        while store.jobs() and not sweep.done():
            await asyncio.sleep(0.01)
        assert not sweep.done() and not store.jobs()
        sweep.cancel()
        store.close()

    asyncio.run(swept())


def test_what_ends_the_removal_of_old_results_is_logged(
    models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_store: Store) -> None:
        raise PermissionError("not allowed")

    monkeypatch.setattr(Store, "sweep", broken)
    with served.serving(Serving(str(models), 1, "cpu")) as client:
        assert client.post("/v1/upscale", content=served.photograph(9, 9)).status_code == 200
    assert "the removal of old results has ended; restart the server" in caplog.text and "not allowed" in caplog.text


def test_models_health_metrics_and_docs(client: TestClient) -> None:
    found = client.get("/v1/models").json()
    assert [(each["name"], each["default"]) for each in found] == [("pruned", True), ("pruned70", False)]
    assert found[0]["scale"] == 2 and found[0]["psnr_y"] == 31.0 and found[0]["seconds_per_megapixel"] > 0
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    text = client.get("/metrics").text
    for name in ("request_seconds_bucket", "run_tiles_bucket", "waiting", "errors_total", "model{", "pixels_total"):
        assert f"srfoundry_{name}" in text
    page = client.get("/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"] and "/v1/upscale" in page.text
    assert "http" not in page.text.replace("http://127.0.0.1:8000", "")  # nothing from elsewhere
    described = client.get("/openapi.json").json()
    assert {"/v1/upscale", "/v1/models", "/v1/jobs/{number}"} <= set(described["paths"])
    assert set(described["paths"]["/v1/upscale"]["post"]["responses"]) >= {"200", "202", "413", "429"}


def test_what_answers_get_answers_head(client: TestClient) -> None:
    """Load balancers and `curl -I` ask so; no body comes, and the description lists GET alone."""
    begun = client.post("/v1/upscale", params={"wait": False}, content=served.photograph(9, 9))
    job = begun.headers["location"]
    asked = ["/", "/healthz", "/readyz", "/docs", "/metrics", "/v1/models", "/openapi.json", job, f"{job}/events"]
    for path in asked:
        answer = client.head(path)
        assert answer.status_code == 200 and not answer.content, path
    while client.get(job).json()["state"] != "done":
        pass
    head, whole = client.head(f"{job}/result"), client.get(f"{job}/result")
    assert head.status_code == 200 and int(head.headers["content-length"]) == len(whole.content) and not head.content
    assert client.head("/v1/upscale").status_code == 405 and client.head("/v1/jobs/none").status_code == 404
    described = client.get("/openapi.json").json()["paths"]
    assert all("head" not in methods for methods in described.values())


def test_names_of_parameters_that_are_not_known_are_refused(client: TestClient) -> None:
    """One that is misspelt would have no effect. Probes may add what they like to the addresses of health."""
    answer = client.post("/v1/upscale", params={"modle": "photo"}, content=served.photograph(9, 9))
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert "takes model, tile, wait" in answer.json()["detail"] and "'modle'" in answer.json()["detail"]
    none = client.get("/v1/models", params={"limit": 1})
    assert none.status_code == 422 and "takes none" in none.json()["detail"]
    assert client.post("/v1/kernel", params={"force": True}, content=b"").status_code == 422
    assert client.get("/healthz", params={"at": 1}).status_code == 200


def test_a_compressed_body_is_refused_by_its_encoding(client: TestClient) -> None:
    packed = gzip.compress(served.photograph(9, 9))
    answer = client.post("/v1/upscale", content=packed, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415 and "'gzip'" in answer.json()["detail"]
    plain = client.post("/v1/upscale", content=served.photograph(9, 9), headers={"Content-Encoding": "identity"})
    assert plain.status_code == 200


def test_another_site_is_let_in_by_name(models: Path) -> None:
    site = "https://album.example"
    settings = Serving(str(models), 1, "cpu", listening=Listening(names=("pictures.example",), origins=(site,)))
    with served.serving(settings) as client:
        headers = {"Origin": site, "Sec-Fetch-Site": "cross-site", "Host": "pictures.example"}
        answer = client.post("/v1/upscale", content=served.photograph(9, 9), headers=headers)
        other = client.post("/v1/upscale", headers={**headers, "Origin": "https://other.example"})
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == site
    assert other.status_code == 403


def test_a_model_is_exchanged_between_requests(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "pruned.onnx"
    file.write_bytes(served.model())
    settings = replace(Serving(str(tmp_path), 1, "cpu"), polling=0.01)
    with served.serving(settings) as client:
        first = client.post("/v1/upscale", content=served.photograph(9, 9)).headers["x-model-version"]
        (tmp_path / "new").write_bytes(served.model(0.02))
        (tmp_path / "new").replace(file)
        while (answer := client.post("/v1/upscale", content=served.photograph(9, 9))).headers[
            "x-model-version"
        ] == first:
            assert answer.status_code == 200
        assert answer.status_code == 200


def test_the_member_that_fits_is_taken_unless_one_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "family"
    folder.mkdir()
    (folder / "pruned.onnx").write_bytes(served.model())
    (folder / "photo.onnx").write_bytes(served.model(0.1))
    damaged, clean = io.BytesIO(), io.BytesIO()
    photographs.clean("coffee").save(damaged, "JPEG", quality=40)
    photographs.clean("coffee").save(clean, "PNG")
    with served.serving(Serving(str(folder), 1, "cpu")) as client:
        for query, body, member in (
            ("", damaged, "photo"),
            ("?model=auto", damaged, "photo"),
            ("?model=pruned", damaged, "pruned"),
            ("", clean, "pruned"),
            ("?model=photo", clean, "photo"),
        ):
            reply = client.post(f"/v1/upscale{query}", content=body.getvalue())
            assert reply.status_code == 200 and reply.headers["X-Model"] == member
            assert ("X-Model-Why" in reply.headers) == (query in ("", "?model=auto"))
        assert "auto, photo, pruned" in client.post("/v1/upscale?model=none", content=b"x").json()["detail"]
        reply = client.post("/v1/upscale?wait=false", content=damaged.getvalue())
        job = client.get(reply.headers["Location"]).json()
        while job["state"] != "done":
            job = client.get(reply.headers["Location"]).json()
        assert job["model"] == "photo" and job["why"] == "it was a JPEG of quality 40"


@pytest.mark.parametrize(
    ("name", "header"),
    [("модель é", "%D0%BC%D0%BE%D0%B4%D0%B5%D0%BB%D1%8C%20%C3%A9"), ("a\nb", "a%0Ab"), ("x2_a", "x2_a")],
)
def test_a_model_may_have_any_name(tmp_path: Path, name: str, header: str) -> None:
    (tmp_path / f"{name}.onnx").write_bytes(served.model())
    with served.serving(Serving(str(tmp_path), 1, "cpu")) as client:
        answer = client.post("/v1/upscale", content=served.photograph(9, 9))
        assert answer.status_code == 200 and answer.headers["x-model"] == header
        assert client.post("/v1/upscale", params={"model": name}, content=served.photograph(9, 9)).status_code == 200

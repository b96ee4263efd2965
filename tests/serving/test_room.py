"""A server whose disk is full says so, and when to come again; of what nobody foresaw it says no more than that."""

import errno
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from srfoundry.core.errors import FoundryError, NoRoom
from srfoundry.imaging import formats, user_image
from srfoundry.serving import images, problems
from srfoundry.serving.jobs import Store
from srfoundry.serving.settings import Serving
from tests import served
from tests.full_disk import small_files


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[served.serving]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "pruned.onnx").write_bytes(served.model())
    made = served.serving(Serving(str(folder), 1, "cpu"))
    with made:
        yield made


def noise(side: int, suffix: str = "PNG", **more: int) -> bytes:
    """A picture that takes many bytes."""
    packed = io.BytesIO()
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (side, side, 3), np.uint8))
    picture.save(packed, suffix, **more)
    return packed.getvalue()


@pytest.mark.parametrize("form", [False, True])
def test_an_upload_without_room_is_asked_for_again(server: served.serving, form: bool) -> None:
    body = noise(200)
    with small_files(50_000):
        if form:
            answer = server.client.post("/v1/upscale", files={"image": ("a.png", body, "image/png")})
        else:
            answer = server.client.post("/v1/upscale", content=body)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == problems.MEDIA and "no room" in answer.json()["detail"]
    assert [path.name for path in server.service.store.folder.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("accept", ["image/png", "image/jpeg", "image/webp"])
def test_a_result_without_room_is_asked_for_again(server: served.serving, accept: str) -> None:
    body = noise(100, "JPEG", quality=20)
    with small_files(len(body) + 1000):
        answer = server.client.post("/v1/upscale", content=body, headers={"Accept": accept})
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
    assert 'srfoundry_errors_total{kind="room"}' in server.client.get("/metrics").text


def test_a_folder_without_room_is_asked_for_again(server: served.serving, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_store: Store) -> Path:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(Store, "place", full)
    assert server.client.post("/v1/upscale", content=noise(10)).status_code == 503


def test_what_nobody_foresaw_is_a_problem_without_details(
    server: served.serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_of: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(images, "receive", broken)
    client = TestClient(server.client.app, base_url=served.HERE, raise_server_exceptions=False)
    answer = client.post("/v1/upscale", content=noise(10))
    assert answer.status_code == 500 and answer.headers["content-type"] == problems.MEDIA
    assert answer.json() == {"title": "The server failed", "detail": "Its log says more.", "status": 500}


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path, ending: str) -> None:
    """Pillow itself leaves a JPEG that is cut off where the disk was full, without a word."""
    picture = Image.open(io.BytesIO(served.photograph(200, 200))).effect_spread(3)
    path, whole = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    options = formats.options(path)
    formats.save(picture, path, options)
    picture.save(whole, **options)
    assert path.read_bytes() == whole.read_bytes()
    with small_files(whole.stat().st_size - 100), pytest.raises(OSError):
        formats.save(picture, path, options)


def test_only_what_had_no_room_is_said_to_have_none(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(noise(100))
    original = user_image.read(tmp_path / "a.png")
    with small_files(8_000), pytest.raises(NoRoom, match="cannot write .*where there is room"):
        user_image.write(original.pixels, original, tmp_path / "b.png")
    (tmp_path / "c.png").mkdir()
    with pytest.raises(FoundryError) as found:
        user_image.write(original.pixels, original, tmp_path / "c.png")
    assert not isinstance(found.value, NoRoom)

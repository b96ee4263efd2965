"""The browser build: the folder is the same each time, and a real Chromium computes what ONNX Runtime computes."""

import io
import shutil
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from srfoundry.cli.program import main
from srfoundry.core.errors import FoundryError
from srfoundry.deployment import web
from srfoundry.runtime.upscaler import Upscaler
from tests import browser, tiny
from tests.browser import Chromium

MEMBERS = "return (await import('/engine.js')).engine.models()"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, with the tiny network."""
    folder = tmp_path_factory.mktemp("build")
    web.write([tiny.exported()[0]], folder / "web", browser.onnxruntime_web())
    return folder / "web"


@pytest.fixture(scope="module")
def address(build: Path) -> Iterator[str]:
    """Where a static server without any special header offers it."""
    with browser.served(build) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser; each test opens the page anew."""
    with browser.chromium(tmp_path_factory.mktemp("downloads")) as found:
        yield found


def expected(photograph: Path) -> Image.Image:
    """What `srfoundry upscale` makes of it."""
    target = photograph.with_name("expected.png")
    Upscaler.load(tiny.exported()[0], threads=1, device="cpu").file(photograph, target)
    return browser.picture(target)


def test_pixels_are_those_of_onnx_runtime(page: Chromium, address: str, tmp_path: Path) -> None:
    path = tmp_path / "photograph.png"
    browser.photograph(path, 150, 203)
    page.open(f"{address}?webgpu=off&threads=1")
    assert not page.run("return self.crossOriginIsolated")
    plain = page.enlarge(path)
    page.open(f"{address}?webgpu=off")
    page.until(lambda: page.run("return self.crossOriginIsolated"))  # the service worker has reloaded it
    page.open(f"{address}?webgpu=off&threads=2")
    assert page.run_async(MEMBERS)[0]["threads"] == 2
    for made in (plain, page.enlarge(path)):
        worst, share = browser.levels_apart(made, expected(path))
        assert worst <= 1 and share < 1e-3
    assert page.complaints() == [] and page.strangers() == []


@pytest.mark.parametrize("kind", ["alpha", "grey", "rotated", "profile", "slim", "jpeg", "webp"])
def test_files_are_handled_as_upscale_does(page: Chromium, address: str, tmp_path: Path, kind: str) -> None:
    path = tmp_path / {"jpeg": "a.jpg", "rotated": "a.jpg", "webp": "a.webp"}.get(kind, "a.png")
    exif, profile = Image.Exif(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif[0x0112] = 6
    more = {
        "rotated": {"quality": 95, "subsampling": 0, "exif": exif.tobytes()},
        "profile": {"icc_profile": profile, "dpi": (72, 72)},
        "jpeg": {"quality": 90, "icc_profile": profile},
        "webp": {"lossless": True, "icc_profile": profile},
    }.get(kind, {})
    size = (3, 90) if kind == "slim" else (40, 70)
    browser.photograph(path, *size, {"alpha": 4, "grey": 1}.get(kind, 3), **more)
    page.open(f"{address}?webgpu=off")
    made, wanted = page.enlarge(path), expected(path)
    assert browser.levels_apart(made, wanted)[0] <= (2 if path.suffix == ".jpg" else 1)  # JPEG decoders differ
    assert made.info.get("icc_profile") == wanted.info.get("icc_profile")
    assert made.info.get("dpi") == wanted.info.get("dpi")


def test_a_gpu_takes_over_where_its_numbers_agree(build: Path, address: str, tmp_path: Path) -> None:
    """WebGPU on Chromium's own software adapter."""
    path = tmp_path / "photograph.png"
    browser.photograph(path, 40, 70)
    with browser.chromium(tmp_path, *browser.SOFTWARE_GPU) as page:
        page.open(f"{address}?webgpu=always&threads=1")
        if page.run_async("return (await navigator.gpu?.requestAdapter()) == null"):
            pytest.skip("this Chromium has no software adapter for WebGPU")
        members = page.run_async(MEMBERS)
        assert members[0]["place"] == "webgpu"
        assert browser.levels_apart(page.enlarge(path), expected(path))[0] <= 1


def test_work_can_be_cancelled_and_begun_again(page: Chromium, address: str, tmp_path: Path) -> None:
    path, small = tmp_path / "large.png", tmp_path / "small.png"
    browser.photograph(path, 900, 1200)
    browser.photograph(small, 30, 40)
    page.open(f"{address}?webgpu=off&threads=1")
    page.choose(path)
    page.find("start").click()
    page.until(page.working)
    page.find("cancel").click()
    page.until(lambda: page.state == "chosen")
    assert page.text("status") == "Cancelled" and page.text("problem") == ""
    assert page.enlarge(small).size == (80, 60)


def test_a_folder_without_its_model_says_so(page: Chromium, build: Path, tmp_path: Path) -> None:
    shutil.copytree(build, tmp_path / "web")
    (tmp_path / "web" / "models" / "tiny.onnx").unlink()
    with browser.served(tmp_path / "web") as address:
        page.open(f"{address}?webgpu=off&threads=1")
        page.until(lambda: page.text("problem"))
        assert "models/tiny.onnx is missing" in page.text("problem")
    page.complaints()


def test_the_same_models_give_the_same_bytes(build: Path, tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        found = (path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in found}

    again = tmp_path / "again"
    web.write([tiny.exported()[0]], again, browser.onnxruntime_web())
    assert digests(again) == digests(build)
    assert {"index.html", "models/tiny.onnx", "models.json", "README.md"} <= set(digests(build))


def test_the_command_writes_it_and_replaces_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(tiny.exported()[0])
    package = str(browser.onnxruntime_web())
    assert main(["web", "tiny.onnx", "--onnxruntime-web", package]) == 0
    assert "http.server" in capsys.readouterr().out and (tmp_path / "web" / "index.html").is_file()
    assert main(["web", "tiny.onnx", "--onnxruntime-web", package]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["web", "tiny.onnx", "--onnxruntime-web", package, "--overwrite"]) == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert main(["web", "tiny.onnx", "--onnxruntime-web", package, "--overwrite", "--out", "mine"]) == 1
    assert "no browser build" in capsys.readouterr().err and (tmp_path / "mine" / "letter.txt").is_file()


def test_what_else_lies_in_the_folder_is_not_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in a checkout of the branch that is published."""
    (tmp_path / "tiny.onnx").write_bytes(tiny.exported()[0])
    folder = tmp_path / "pages"
    web.write([tiny.exported()[0]], folder, browser.onnxruntime_web())
    assert web.strange(folder) == []
    (folder / "CNAME").write_text("pictures.example")
    (folder / ".git").mkdir()
    command = ["web", str(tmp_path / "tiny.onnx"), "--onnxruntime-web", str(browser.onnxruntime_web()), "--overwrite"]
    assert main([*command, "--out", str(folder)]) == 1
    assert "holds other things (.git, CNAME)" in capsys.readouterr().err
    assert (folder / "CNAME").is_file() and (folder / ".git").is_dir() and (folder / "index.html").is_file()


@pytest.mark.parametrize("out", [".", "..", "empty/.."])
def test_the_present_folder_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    (tmp_path / "here" / "empty").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert main(["web", "tiny.onnx", "--overwrite", "--out", out]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {out} is the present folder") and len(said.splitlines()) == 1


def test_no_member_twice_and_none_that_is_no_model(tmp_path: Path) -> None:
    blob = tiny.exported()[0]
    for models, said in (
        ([blob, blob], "tiny"),
        ([b"no model"], "not a usable"),
        ([tmp_path / "a.onnx"], "cannot read"),
    ):
        with pytest.raises(FoundryError, match=said):
            web.write(models, tmp_path / "web", tmp_path)
    assert not (tmp_path / "web").exists()


def test_another_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FoundryError, match=f"must be an unpacked onnxruntime-web {web.VERSION}, got no npm package"):
        web.check(tmp_path)
    (tmp_path / "package.json").write_text('{"name": "onnxruntime-web", "version": "1.0.0"}')
    with pytest.raises(FoundryError, match="got onnxruntime-web 1.0.0 without ort.wasm.min.mjs"):
        web.check(tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FoundryError, match="install npm"):
        web.fetch(tmp_path / "cache")


def test_a_file_of_another_digest_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that offers something else under this version."""
    other = io.BytesIO()
    with tarfile.open(fileobj=other, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("package/package.json"))
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    (tmp_path / "other.tgz").write_bytes(other.getvalue())
    name = f"{web.PACKAGE}-{web.VERSION}.tgz"
    npm.write_text(
        f'#!/bin/sh\nwhile [ "$1" != --pack-destination ]; do shift; done\ncp {tmp_path}/other.tgz "$2/{name}"\n'
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/usr/bin:/bin")
    with pytest.raises(FoundryError, match="must have the digest"):
        web.fetch(tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())

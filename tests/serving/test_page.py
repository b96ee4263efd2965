"""The server's page in a real Chromium, as a person uses it: on a telephone, by keyboard, with what goes wrong."""

import base64
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Keys

from srfoundry.runtime.upscaler import Upscaler
from tests import browser, photographs, served
from tests.browser import Chromium

DROPPED = """
const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], "given.png", { type: "image/png" }));
document.body.dispatchEvent(arguments[1] === "drop"
  ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
  : new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
"""
JOB = """
const jobs = performance.getEntriesByType("resource").filter(({ name }) => name.includes("/v1/jobs/"));
const reply = await fetch(jobs[0].name.replace(/[/]events$/, ""));
return reply.ok ? (await reply.json()).state : reply.status;
"""
CHECKED = "return document.querySelector('#members input:checked').value"
SMALL = """
const targets = [...document.querySelectorAll("button, select, .handle, #zoom span, #members label")];
return targets.filter((each) => each.clientHeight > 0 && each.clientHeight < 38).map((each) => each.outerHTML);
"""  # what a finger misses


@contextmanager
def server(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`srfoundry serve` with two members, and its address."""
    folder.mkdir(exist_ok=True)
    (folder / "pruned.onnx").write_bytes(served.model())
    (folder / "pruned70.onnx").write_bytes(served.model(0.01))
    command = [sys.executable, "-m", "srfoundry.cli.program", "serve", "--port", "0", "--models", str(folder), *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdout=pipe, stderr=pipe, cwd=folder) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://127.0.0.1:" in line, line
            yield process, f"http://127.0.0.1:{line.split('127.0.0.1:')[1].split('/')[0]}/"
        finally:
            process.kill()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that takes four megapixels."""
    with server(tmp_path_factory.mktemp("models"), "--threads", "1", "--largest-megapixels", "4") as (_, found):
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser; each test opens the page anew."""
    with browser.chromium(tmp_path_factory.mktemp("downloads")) as found:
        yield found


def test_a_photograph_is_enlarged_compared_and_saved(page: Chromium, address: str, tmp_path: Path) -> None:
    path = tmp_path / "holiday.v1.png"
    browser.photograph(path, 150, 203)
    page.open(address)
    assert "stays on this machine" in page.text("privacy")
    labels = [each.text for each in page.all("#members label")]
    assert len(labels) == 2 and all("dB PSNR over bicubic" in each and "2× larger" in each for each in labels)
    page.all("#members input[value='pruned']")[0].click()
    made = page.enlarge(path)
    upscaler = Upscaler.load(served.model(), threads=1, device="cpu")
    assert browser.levels_apart(made, upscaler(path)) == (0, 0.0)
    assert (page.folder / "holiday.v1_x2.png").is_file()
    for kind, name, mode in (("image/jpeg", "JPEG", "RGB"), ("image/webp", "WEBP", "RGB")):
        saved = page.result(kind)
        assert (saved.size, saved.mode) == (made.size, mode), name
    assert page.text("about") == "holiday.v1.png · 203 × 150 → 406 × 300 pixels"
    assert page.complaints() == [] and page.strangers() == []


def test_the_model_that_fits_is_taken_and_named(page: Chromium, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/photo.onnx").write_bytes(served.model(0.05, degradation="photographs"))
    photographs.clean("coffee").save(tmp_path / "damaged.jpg", quality=40)
    with server(tmp_path / "models", "--threads", "1") as (_, address):
        page.open(address)
        labels = [each.text for each in page.all("#members label")]
        assert len(labels) == 4 and "Whichever fits" in labels[0] and page.run(CHECKED) == "auto"
        page.enlarge(tmp_path / "damaged.jpg")
        assert page.text("about").endswith("pixels · by photo, for it was a JPEG of quality 40")
        page.all("#members input[value='pruned']")[0].click()
        photographs.clean("coffee").save(tmp_path / "again.jpg", quality=40)
        page.enlarge(tmp_path / "again.jpg")
        assert page.text("about").endswith("pixels")


def test_it_works_on_a_telephone_and_by_keyboard(tmp_path: Path, address: str) -> None:
    path = tmp_path / "photograph.png"
    browser.photograph(path, 400, 600)
    with browser.chromium(tmp_path) as page:
        page.phone()
        page.open(address)
        page.choose(path)
        assert page.focused == "start"
        ActionChains(page.driver).send_keys(Keys.ENTER).perform()
        page.until(lambda: page.state == "done" and page.focused == "slider")
        ActionChains(page.driver).key_down(Keys.ARROW_RIGHT).perform()
        page.until(lambda: int(page.find("slider").get_attribute("aria-valuenow") or 0) > 60)
        ActionChains(page.driver).key_up(Keys.ARROW_RIGHT).perform()
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")
        assert page.run(SMALL) == []
        assert page.run("return document.getElementById('pane').scrollWidth > innerWidth")  # pixel for pixel at first
        page.all("#zoom input[value='fit']")[0].send_keys(Keys.SPACE)
        page.until(lambda: page.run("return document.getElementById('room').clientWidth <= innerWidth"))
        assert page.text("status").startswith("Done")


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_photograph_may_be_dropped_or_pasted(page: Chromium, address: str, tmp_path: Path, way: str) -> None:
    path = tmp_path / "a.png"
    browser.photograph(path, 20, 30)
    page.open(address)
    page.run(DROPPED, base64.b64encode(path.read_bytes()).decode(), way)
    page.until(lambda: page.state == "chosen")
    assert page.text("about") == "given.png · 30 × 20 → 60 × 40 pixels"


def test_work_is_cancelled_at_the_server_too(page: Chromium, address: str, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (1900, 1900), "teal").save(path)
    page.open(address)
    page.choose(path)
    page.find("start").click()
    page.until(page.working)
    assert "left" in page.text("left") or "moment" in page.text("left")
    page.find("cancel").click()
    page.until(lambda: page.state == "chosen")
    assert page.text("status") == "Cancelled" and page.text("problem") == "" and page.focused == "start"
    page.until(lambda: page.run_async(JOB) in ("cancelled", 404))


def test_errors_are_said_plainly(page: Chromium, address: str, tmp_path: Path) -> None:
    text, large = tmp_path / "letter.png", tmp_path / "large.png"
    text.write_text("dear")
    Image.new("RGB", (2100, 2100)).save(large)
    page.open(address)
    page.find("file").send_keys(str(text))
    page.until(lambda: page.text("problem"))
    assert "letter.png is no picture" in page.text("problem") and page.state == "empty"
    page.choose(large)
    assert page.text("problem") == ""
    page.find("start").click()
    page.until(lambda: page.text("problem"))
    assert "4 megapixels" in page.text("problem") and page.state == "chosen"
    page.complaints()


def test_a_server_that_went_away_is_named(page: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    browser.photograph(path, 20, 30)
    with server(tmp_path / "models", "--threads", "1") as (process, address):
        page.open(address)
        page.choose(path)
        process.kill()
        process.wait()
        page.find("start").click()
        page.until(lambda: page.text("problem"))
    assert "does not answer" in page.text("problem")
    page.complaints()

"""A real Chromium for the tests of pages and their benchmark, driven as a person would, and what offers it a folder.

Missing programs skip a test with what to install: Debian's chromium, chromium-driver and npm.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from srfoundry.core.errors import FoundryError
from srfoundry.deployment import web
from tests.conftest import REPO

PATIENCE = 120.0  # seconds for anything, on a loaded machine
PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan")


class Chromium:
    """A browser and the page in it.

    Args:
        folder: where downloads go.
        options: of Chromium's command line.

    Raises:
        FoundryError: it is not installed.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
        if chromium is None or driver is None:
            raise FoundryError(
                "a Chromium and its driver are needed, got none; apt-get install chromium chromium-driver"
            )
        wish = webdriver.ChromeOptions()
        wish.binary_location = chromium
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        for option in ("--headless=new", "--disable-dev-shm-usage", "--window-size=1280,900", *root, *options):
            wish.add_argument(option)
        wish.add_experimental_option("prefs", {"download.default_directory": str(folder)})
        wish.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.folder = folder
        self.driver = webdriver.Chrome(options=wish, service=Service(driver))
        self.driver.set_script_timeout(PATIENCE)

    def close(self) -> None:
        """End it."""
        self.driver.quit()
        self.driver.service.stop()

    def open(self, address: str) -> None:
        """Load a page and wait until it has its models."""
        self.driver.get(address)
        self.until(lambda: self.all("#members input") or self.text("problem"))

    def phone(self) -> None:
        """Be a small telephone from here on."""
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", dict(PHONE))
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})

    def until(self, true: Any) -> Any:
        """Wait until something holds."""
        return WebDriverWait(self.driver, PATIENCE, 0.05).until(lambda _: true())

    def find(self, name: str) -> WebElement:
        """The element of this id."""
        return self.driver.find_element(By.ID, name)

    def all(self, selector: str) -> list[WebElement]:
        """The elements of a CSS selector."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, name: str) -> str:
        """What an element says, visible or not."""
        return str(self.run("return document.getElementById(arguments[0]).textContent", name)).strip()

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script."""
        return self.driver.execute_script(script, *arguments)

    def run_async(self, script: str) -> Any:
        """The value that the body of an async function returns."""
        wrapped = f"(async () => {{ {script} }})().then(arguments[0], (error) => arguments[0](String(error)))"
        return self.driver.execute_async_script(wrapped)

    @property
    def state(self) -> str:
        """Of the page: empty, chosen, working or done."""
        return str(self.run("return document.body.dataset.state"))

    @property
    def focused(self) -> str:
        """The id of the element that keys go to."""
        return str(self.run("return document.activeElement.id"))

    def choose(self, path: Path) -> None:
        """Pick a photograph's file."""
        self.find("file").send_keys(str(path))
        self.until(lambda: self.state == "chosen")

    def enlarge(self, path: Path) -> Image.Image:
        """Pick a file, enlarge it, and give the result as it was written."""
        self.choose(path)
        self.find("start").click()
        self.until(lambda: self.state != "working")
        assert self.state == "done", self.text("problem")
        return self.result()

    def working(self) -> bool:
        """Whether some of the tiles, and not all, are done."""
        return bool(self.run("const bar = document.getElementById('bar'); return bar.position > 0 && bar.position < 1"))

    def result(self, kind: str = "image/png") -> Image.Image:
        """The enlarged picture, downloaded as a person would."""
        before = set(self.folder.iterdir())
        Select(self.find("format")).select_by_value(kind)
        self.find("download").click()

        def arrived() -> list[Path]:
            assert self.text("problem") == ""
            fresh = set(self.folder.iterdir()) - before
            return [path for path in fresh if path.suffix in (".png", ".jpg", ".webp")]

        return picture(self.until(arrived)[0])

    def complaints(self) -> list[str]:
        """Errors on the browser's console since the last question."""
        return [str(row["message"]) for row in self.driver.get_log("browser") if row["level"] == "SEVERE"]

    def strangers(self) -> list[str]:
        """What the page loaded from elsewhere."""
        names = self.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        own = self.run("return location.origin")
        return [name for name in names if not name.startswith((own, f"blob:{own}"))]


@contextmanager
def chromium(folder: Path, *options: str) -> Iterator[Chromium]:
    """A browser for some tests; without one they are skipped."""
    try:
        made = Chromium(folder, *options)
    except FoundryError as error:
        pytest.skip(f"no browser: {error}")
    try:
        yield made
    finally:
        made.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a plain static server, as `python -m http.server` is one."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def onnxruntime_web() -> Path:
    """The npm package, fetched into the checkout's downloads/ once."""
    try:
        return web.fetch(REPO / "downloads")
    except FoundryError as error:
        pytest.skip(f"no ONNX Runtime Web: {error}")


def picture(path: Path) -> Image.Image:
    """A picture file's pixels and what it says of them, with the file closed."""
    with Image.open(path) as opened:
        opened.load()
        return opened.copy()


def photograph(path: Path, height: int, width: int, bands: int = 3, **options: Any) -> np.ndarray:
    """Write a picture with slopes, edges and some noise, and give its pixels.

    Args:
        path: of the file; its ending says which format.
        height, width: pixels.
        bands: 1 grey, 3 RGB, 4 with alpha.
        options: of Pillow's save.
    """
    rng = np.random.default_rng(height * width + bands)
    down, across = np.mgrid[:height, :width]
    waves = [np.sin(down / (5 + 2 * band)) * np.cos(across / (9 + band)) for band in range(bands)]
    picture = 127 + 70 * np.stack(waves, axis=-1) + 40 * ((across // 23 + down // 17) % 2)[..., None]
    pixels = (picture + rng.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)
    if bands == 4:
        pixels[..., 3] = (255 * (1.2 - ((down - height / 2) ** 2 + (across - width / 2) ** 2) / 900)).clip(0, 255)
    Image.fromarray(pixels[..., 0] if bands == 1 else pixels).save(path, **options)
    return pixels


def levels_apart(one: Image.Image, other: Image.Image) -> tuple[int, float]:
    """The largest difference of two pictures of the same kind, and the share of values that differ."""
    assert (one.size, one.mode) == (other.size, other.mode)
    apart = np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int))
    return int(apart.max()), float((apart > 0).mean())

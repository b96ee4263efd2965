"""The browser build with the 70 % member: are its pixels ONNX Runtime's, and how long does a photograph take?

Validation photographs as PNG and JPEG through the page in a real Chromium, compared with `upscale` of the same files.
Seconds are of a megapixel from the file to the PNG, the least of some turns, with one thread and one a core; beside
them those of `upscale`.
"""

import os
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks import tiles
from srfoundry.core.errors import FoundryError
from srfoundry.deployment import web
from srfoundry.imaging import levels
from srfoundry.imaging.patches import Patches
from srfoundry.runtime.upscaler import Upscaler
from tests import browser
from tests.browser import Chromium

MEMBER = Path("exports/pruned70.onnx")
VALIDATION = Path("data/synthesize/validation")
SIDE, TURNS = 1024, 3
TIMES = """
const { engine } = await import("/engine.js");
const [member] = await engine.models();
const [file] = document.getElementById("file").files;
const seconds = [];
for (let turn = 0; turn < TURNS; turn += 1) {
  const began = performance.now();
  await engine.upscale(file, member, { onProgress() {}, signal: new AbortController().signal });
  seconds.push((performance.now() - began) / 1e3);
}
return { seconds, place: member.place, threads: member.threads };
""".replace("TURNS", str(TURNS))


def figures() -> dict[str, Any]:
    """Differences in levels of 255, and seconds."""
    if not MEMBER.is_file() or not VALIDATION.is_dir():
        raise FoundryError(f"{MEMBER} and {VALIDATION} are needed; run `make repro`")
    with TemporaryDirectory() as name:
        folder = Path(name)
        photographs = _photographs(folder)
        large = folder / "large.png"
        Image.fromarray(levels.to_levels(tiles.photograph(SIDE, SIDE).numpy())).save(large)
        web.write([MEMBER], folder / "web", web.fetch(Path("downloads")))
        size = sum(path.stat().st_size for path in (folder / "web").rglob("*") if path.is_file())
        with browser.served(folder / "web") as address, closing(Chromium(folder)) as page:
            began = time.perf_counter()
            page.open(f"{address}?threads=1")
            found: dict[str, Any] = {
                "browser": page.driver.capabilities["browserVersion"],
                "browser_megabytes": round(size / 1e6, 1),
                "browser_ready_seconds": round(time.perf_counter() - began, 2),
                **_differences(page, photographs),
                "browser_seconds": {"1": _seconds(page, large)},
            }
            page.open(address)  # the service worker makes the page cross-origin isolated
            page.until(lambda: page.run("return self.crossOriginIsolated"))
            cores = len(os.sched_getaffinity(0))
            page.open(f"{address}?threads={cores}")
            found["browser_seconds"][str(cores)] = _seconds(page, large)
        native = {str(threads): _native(large, threads) for threads in sorted({1, cores})}
        return found | {"browser_upscale_seconds": native} | _webgpu(photographs)


def _photographs(folder: Path) -> list[Path]:
    """The validation photographs as files; PNG and JPEG."""
    patches, made = Patches.open(VALIDATION), list[Path]()
    for index, photograph in enumerate(patches.photographs()):
        picture = Image.fromarray(levels.to_levels(patches.image(photograph).numpy()))
        made += [folder / f"{index}.png", folder / f"{index}.jpg"]
        picture.save(made[-2])
        picture.save(made[-1], quality=90)
    return made


def _differences(page: Chromium, photographs: list[Path]) -> dict[str, Any]:
    """The worst of all photographs, for each format."""
    upscaler, found = Upscaler.load(MEMBER, threads=1, device="cpu"), dict[str, Any]()
    for suffix, name in ((".png", "browser"), (".jpg", "browser_jpeg")):
        apart = [
            browser.levels_apart(page.enlarge(path), upscaler(path)) for path in photographs if path.suffix == suffix
        ]
        found[f"{name}_max_difference"] = max(worst for worst, _ in apart)
        found[f"{name}_differing_share"] = float(np.max([share for _, share in apart]))
    return found


def _seconds(page: Chromium, large: Path) -> dict[str, Any]:
    page.choose(large)
    before = _spent(page)
    said = page.run_async(TIMES)
    return {**said, **_rounded(said["seconds"], (_spent(page) - before) / TURNS)}


def _spent(page: Chromium) -> float:
    """Processor seconds of all of Chromium's processes."""
    driver = psutil.Process(page.driver.service.process.pid)
    return sum(each.cpu_times().user + each.cpu_times().system for each in driver.children(recursive=True))


def _native(large: Path, threads: int) -> dict[str, Any]:
    upscaler = Upscaler.load(MEMBER, threads=threads, device="cpu")
    target, seconds, began = large.with_name("native.png"), list[float](), time.process_time()
    for _ in range(TURNS):
        started = time.perf_counter()
        upscaler.file(large, target)
        seconds.append(time.perf_counter() - started)
    return _rounded(seconds, (time.process_time() - began) / TURNS)


def _rounded(seconds: list[float], processor: float) -> dict[str, Any]:
    found = {"seconds": [round(each, 2) for each in seconds], "least": round(min(seconds), 2)}
    return {**found, "processor_seconds": round(processor, 2)}  # which others on the machine hardly change


def _webgpu(photographs: list[Path]) -> dict[str, Any]:
    """The largest difference through WebGPU, on Chromium's software adapter: its numbers, not its time."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        web.write([MEMBER], folder / "web", web.fetch(Path("downloads")))
        browser.picture(photographs[0]).crop((200, 100, 300, 160)).save(folder / "part.png")
        with browser.served(folder / "web") as address, closing(Chromium(folder, *browser.SOFTWARE_GPU)) as page:
            page.open(f"{address}?webgpu=always&threads=1")
            place = page.run_async(TIMES.split("const [file]")[0] + "return member.place;")
            if place != "webgpu":
                return {"browser_webgpu_max_difference": f"not measured: {place}"}
            upscaler = Upscaler.load(MEMBER, threads=1, device="cpu")
            worst, _ = browser.levels_apart(page.enlarge(folder / "part.png"), upscaler(folder / "part.png"))
            return {"browser_webgpu_max_difference": worst}

"""The images of the Dockerfile, built and run without Docker (_containers.py); a part of benchmarks.deploy doors.

Two runs of this file, each as root in namespaces of its own: `build` runs the stages' commands; `run` starts MLflow's
server and the family's, asks for their health, registers the family, has an image enlarged, and stops them.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from benchmarks import _containers
from benchmarks._containers import Image
from srfoundry.core.errors import FoundryError

REPO = Path(__file__).resolve().parent.parent
PATIENCE = 180  # seconds until a server is well


def trial(folder: Path, exports: Path) -> dict[str, Any]:
    """Build and run; the figures.

    Args:
        folder: for the images, about a gigabyte.
        exports: folder of the family.

    Raises:
        FoundryError: this machine does not let it, or a command fails.
    """
    if os.geteuid() != 0:
        raise FoundryError("images are built without Docker by root alone, on Linux; run this part as root")
    found: dict[str, Any] = {}
    for phase, spaces in (("build", []), ("run", ["--net", "--pid", "--fork", "--mount-proc"])):
        command = ["unshare", "--mount", "--propagation", "private", *spaces, sys.executable, "-m", __spec__.name]
        done = subprocess.run([*command, phase, folder, exports], cwd=REPO, text=True, capture_output=True)
        if done.returncode:
            raise FoundryError(f"the container's {phase} failed: {(done.stderr or done.stdout)[-1500:]}")
        found |= json.loads(done.stdout.splitlines()[-1])
    return found


def built(folder: Path) -> dict[str, Any]:
    """Run both images' stages."""
    stages, found = _containers.read(REPO / "Dockerfile"), {}
    for name, prefix in (("serve", "container"), ("mlflow", "container_mlflow")):
        began = time.perf_counter()
        _containers.build(stages, name, REPO, folder)
        own = folder / name / "upper" / "opt"
        found[f"{prefix}_build_seconds"] = round(time.perf_counter() - began, 1)
        found[f"{prefix}_mb"] = round(sum(each.lstat().st_size for each in own.rglob("*") if not each.is_dir()) / 1e6)
        found[f"{prefix}_packages"] = len(list(own.glob("*/lib/python*/site-packages/*.dist-info")))
    sbom = json.loads((folder / "serve" / "upper" / "opt" / "srfoundry" / "sbom.cdx.json").read_text())
    return found | {
        "container_sbom": f"{sbom['bomFormat']} {sbom['specVersion']}",
        "container_sbom_components": len(sbom["components"]),
    }


def ran(folder: Path, exports: Path) -> dict[str, Any]:
    """Start both images, read-only and confined, and use them."""
    _containers.loopback()
    stages = _containers.read(REPO / "Dockerfile")
    data = folder / "data"
    data.mkdir(exist_ok=True)
    os.chown(data, 10001, 10001)
    with _containers.room(folder / "serve") as serve, _containers.room(folder / "mlflow") as registry:
        before = _written(folder)
        mlflow = Running(registry, stages["mlflow"], {"/data": data}, {})
        tracking = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}
        try:
            mlflow_seconds = mlflow.well()
            _register(exports, tracking)
            server = Running(serve, stages["serve"], {}, tracking, ["--models", "models:/srfoundry"])
            try:
                found = _used(server)
            finally:
                found_stop = server.stop()
        finally:
            mlflow.stop()
        folder_server = Running(serve, stages["serve"], {"/models": exports}, {})
        try:
            folder_seconds = folder_server.well()
        finally:
            folder_server.stop()
        after = _written(folder)
    return {
        **found,
        "container_stop_seconds": found_stop[0],
        "container_stop_status": found_stop[1],
        "container_folder_healthy_seconds": folder_seconds,
        "container_mlflow_healthy_seconds": mlflow_seconds,
        "container_files_written": len(after ^ before),
    }


PATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "60", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"}  # a server that has just begun


class Running:
    """A container: its command started, and what is asked of it."""

    def __init__(
        self, root: Path, image: Image, volumes: dict[str, Path], more: dict[str, str], command: list[str] | None = None
    ) -> None:
        self.root, self.image, self.more = root, image, more
        started = [*image.command("ENTRYPOINT"), *(command or image.command("CMD"))]
        self.began = time.perf_counter()
        line = _containers.confined(root, image, started, volumes, more)
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def well(self) -> float:
        """Seconds from the start until HEALTHCHECK's command ends with 0."""
        check = _containers.confined(self.root, self.image, self.image.command("HEALTHCHECK"), {}, self.more)
        while subprocess.run(check, capture_output=True).returncode:
            if self.process.poll() is not None or time.perf_counter() - self.began > PATIENCE:
                raise FoundryError(f"it is not well: {self.stop()} {self.said[-1500:]}")
            time.sleep(0.2)
        return round(time.perf_counter() - self.began, 1)

    def stop(self) -> tuple[float, int]:
        """Send STOPSIGNAL; seconds until the end, and its status."""
        began = time.perf_counter()
        self.process.send_signal(getattr(signal, self.image.said["STOPSIGNAL"]))
        try:
            self.said = self.process.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.said = self.process.communicate()[0]
        return round(time.perf_counter() - began, 2), self.process.returncode


def _used(server: Running) -> dict[str, Any]:
    healthy = server.well()
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    facts: dict[str, str] = {name: text for name, _, text in (line.partition(":") for line in status.splitlines())}
    rng = np.random.default_rng(0)
    picture = Picture.fromarray(rng.integers(0, 256, (64, 96, 3), np.uint8))
    sent = server.root.parent / "sent.png"
    picture.save(sent)
    request = urllib.request.Request(
        "http://127.0.0.1:8000/v1/upscale", sent.read_bytes(), {"Content-Type": "image/png", "Accept": "image/png"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply, Picture.open(reply) as large:
        upscaled = large.size == (192, 128)
    sent.unlink()
    return {
        "container_healthy_seconds": healthy,
        "container_upscales": upscaled,
        "container_user": facts["Uid"].split()[0],
        "container_capabilities": facts["CapEff"].strip().lstrip("0") or "none",
        "container_mb_resident": round(int(facts["VmRSS"].split()[0]) / 1e3),
    }


def _register(exports: Path, tracking: dict[str, str]) -> None:
    program = [sys.executable, "-m", "srfoundry.cli.program", "register", "--exports", str(exports)]
    done = subprocess.run(program, cwd=REPO, env={**os.environ, **PATIENT, **tracking}, text=True, capture_output=True)
    if done.returncode:
        raise FoundryError(f"the family could not be registered: {done.stderr[-800:]}")


def _written(folder: Path) -> set[tuple[str, int, int]]:
    """Files that lie over this machine's in both images, with size and time."""
    found = set[tuple[str, int, int]]()
    for name in ("serve", "mlflow"):
        for path in (folder / name / "upper").rglob("*"):
            if path.is_file() and not path.is_symlink():
                found.add((str(path), path.stat().st_size, path.stat().st_mtime_ns))
    return found


if __name__ == "__main__":
    phase, place, family = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    sys.stdout.write(json.dumps(built(place) if phase == "build" else ran(place, family)) + "\n")

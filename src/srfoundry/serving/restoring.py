"""Restoration as a service: the blur of a photograph found and undone, one photograph at a time, step by step.

It needs PyTorch and the networks of a project (`make repro`); where one of them is missing, what to do is said instead.
"""

import importlib.util
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from srfoundry.imaging import user_image
from srfoundry.imaging.user_image import Handling
from srfoundry.serving.images import NAMES, Upload
from srfoundry.serving.jobs import Job, Result
from srfoundry.serving.problems import Problem
from srfoundry.serving.settings import MEGA

if TYPE_CHECKING:
    from srfoundry.restoration.blind_restoration import Restoration

What = Literal["restore", "kernel"]
Decimation = Literal["direct", "bicubic"]
NEEDED = ("torch", "scipy", "safetensors", "ruamel", "pydantic")
LARGEST = 4 * MEGA  # pixels; a megapixel takes about a minute
NETWORK = "models/metatrain.safetensors"


class Restorers:
    """What restores, loaded when it is first asked for and kept.

    Args:
        project: the folder with params.yaml and models/.
        threads: of the processor.
        device: that the server was started with; PyTorch has no `tensorrt` and no `openvino`, and takes the GPU or the
            processor beside them.
    """

    def __init__(self, project: Path, *, threads: int, device: str) -> None:
        self._project, self._threads, self._device = project, threads, device
        self._loaded: Restoration | None = None
        self._lock = threading.Lock()

    def check(self, upload: Upload | None = None) -> None:
        """Refuse at once what could not be done.

        Args:
            upload: the photograph, where it is there already.

        Raises:
            Problem: a package or a file is missing, or the photograph is too large.
        """
        if upload is not None and upload.height * upload.width > LARGEST:
            detail = f"a photograph to restore may have {LARGEST / MEGA:g} megapixels; send a part of it"
            raise Problem(413, "Too many pixels", detail, "size")
        lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if lacking:
            detail = f"this needs {lacking[0]}, which is not installed here; pip install 'srfoundry[train]'"
            raise Problem(501, "Not installed", detail, "missing")
        absent = next((name for name in ("params.yaml", NETWORK) if not (self._project / name).is_file()), None)
        if absent:
            detail = f"this needs {absent} in the folder that the server was started in; run `make repro` there"
            raise Problem(501, "Not installed", detail, "missing")

    def load(self) -> "Restoration":
        """The model and the networks that find kernels; in the thread that works with them, whose cores are set here.

        Raises:
            FoundryError: one of them is damaged, or there is no such device.
        """
        from srfoundry.restoration import devices
        from srfoundry.restoration.blind_restoration import Restoration
        from srfoundry.restoration.restorers.restorer import RestoreOptions

        with self._lock:
            if self._loaded is None:
                device = devices.chosen(devices.BESIDE.get(self._device, self._device), self._threads)
                options = RestoreOptions(self._project / NETWORK, self._project / "params.yaml", device=device)
                self._loaded = Restoration.load(options, models=self._project / "models")
            return self._loaded


@dataclass(frozen=True)
class Wish:
    """What a client wants of a blurred photograph.

    Attributes:
        upload: the photograph.
        what: the restored photograph, or its kernel alone.
        force: restore what would better be left alone, too.
        decimation: how it was reduced, if the client knows.
        suffix: of the restored photograph's format; .json of a kernel.
        largest: pixels that are decoded.
    """

    upload: Upload
    what: What
    force: bool
    decimation: Decimation | None
    suffix: str
    largest: int

    def run(self, job: Job, restorers: Restorers) -> None:
        """Do it, in a working thread; ends between two steps where the job is cancelled."""
        job.tick(0, 1, "load")
        shared = restorers.load().asked(force=self.force, decimation=self.decimation)
        job.tick(1, 1, "load")
        job.begin(shared.options.model.stem)
        how = Handling(largest=self.largest)
        original = user_image.read(self.upload.path, how)
        target = job.folder / f"result{self.suffix}"
        if self.what == "kernel":
            self._find_kernel(job, shared, original, target)
        else:
            self._restore(job, shared, original, target, how)
        job.result = Result(target, NAMES.get(self.suffix, "application/json"))

    def _restore(self, job: Job, shared: "Restoration", original: Any, target: Path, how: Handling) -> None:
        from srfoundry.restoration.blind_restoration import restore_photograph

        user_image.check_target(original, target, shared.sampling.scale)
        made = restore_photograph(original, "photograph", shared, ticker=lambda title: _titled(job, title))
        user_image.write(made.pixels, original, target, how)
        if made.explained is not None:
            found = made.explained.found
            job.more = {"remarks": [found.how, *found.remarks, *made.explained.checked.lines()]}
        elif made.doubt is not None:
            job.more = {"remarks": [f"not restored but enlarged: {made.doubt.line('force=true')}"]}

    def _find_kernel(self, job: Job, shared: "Restoration", original: Any, target: Path) -> None:
        from srfoundry.restoration.blind_restoration import find_kernel

        kernel = find_kernel(original, "photograph", shared, ticker=lambda title: _titled(job, title))
        about = {"scale": shared.sampling.scale, "convention": "mzsr", "kernel": kernel.tolist()}
        target.write_text(json.dumps(about))


def _titled(job: Job, title: str) -> Any:
    return lambda done, total: job.tick(done, total, title)

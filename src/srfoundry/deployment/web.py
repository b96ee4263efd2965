"""The browser build: a static folder whose page enlarges photographs by itself, with ONNX Runtime Web.

It is the server's page (serving/page) with another engine (browser/); their files are copied, nothing is imported. ONNX
Runtime Web comes from the npm registry by the user's own npm, in one version whose digest stands here: the same models
give the same bytes.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from srfoundry.core.atomic import published, replacing
from srfoundry.core.errors import FoundryError
from srfoundry.runtime.session import Session

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
NEEDED = (  # of its dist/: WebAssembly with SIMD and threads, and the same with WebGPU
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.jspi.min.mjs",
    "ort-wasm-simd-threaded.jspi.mjs",
    "ort-wasm-simd-threaded.jspi.wasm",
)
LISTED = "models.json"
SAID = ("name", "scale", "tile", "overlap", "multiple_of", "parameters", "degradation")  # of a card, in models.json
PATIENCE = 600  # seconds for 33 MB


def write(models: Sequence[Path | bytes], folder: Path, runtime: Path) -> None:
    """Write the static folder; the former one stays until the new one is whole.

    Args:
        models: exported members of the family (.onnx files or their bytes); the page offers the first one first.
        folder: to write.
        runtime: an unpacked onnxruntime-web, as `fetch` or `check` gives it.

    Raises:
        FoundryError: a model is none, two bear one name, or the disk is full.
    """
    blobs = [model if isinstance(model, bytes) else _read(model) for model in models]
    cards = [Session(model, threads=1, device="cpu").card for model in models]
    names = [card.name for card in cards]
    if not names or len(set(names)) < len(names):
        raise FoundryError(f"a page needs one or more members of different names, got {names}; name each one once")
    try:
        with published(folder) as fresh:
            for part in _parts():
                with resources.as_file(part) as place:
                    shutil.copytree(place, fresh, dirs_exist_ok=True, copy_function=shutil.copyfile)
            (fresh / "models").mkdir()
            for name, blob in zip(names, blobs, strict=True):
                (fresh / "models" / f"{name}.onnx").write_bytes(blob)
            listed = [_listed(card, len(blob)) for card, blob in zip(cards, blobs, strict=True)]
            listed[0]["default"] = True
            (fresh / LISTED).write_text(json.dumps(listed, indent=2, sort_keys=True) + "\n")
            (fresh / PACKAGE).mkdir()
            for name in NEEDED:
                shutil.copyfile(runtime / "dist" / name, fresh / PACKAGE / name)
    except OSError as error:
        raise FoundryError(f"cannot write {folder}: {error.strerror}; name a folder where there is room") from None


def strange(folder: Path) -> list[str]:
    """Names in a folder that no build writes: what would be lost if a new one took its place.

    Args:
        folder: that holds a build.
    """
    parts = [part.name for place in _parts() for part in place.iterdir()]
    own = {*parts, "models", LISTED, PACKAGE}
    return sorted(path.name for path in folder.iterdir() if path.name not in own)


def fetch(cache: Path) -> Path:
    """The unpacked package, fetched by npm where the cache lacks it, and checked against its digest.

    Args:
        cache: a folder that is kept; the package takes 33 MB, and 31 MB unpacked.

    Returns:
        The folder that holds its package.json and dist/.

    Raises:
        FoundryError: npm is missing or fails, or its file is another than this version's.
    """
    archive = cache / f"{PACKAGE}-{VERSION}.tgz"
    unpacked = cache / f"{PACKAGE}-{VERSION}"
    if not archive.is_file() or _digest(archive) != INTEGRITY:
        _pack(archive)
    if (found := _digest(archive)) != INTEGRITY:
        archive.unlink()
        raise FoundryError(
            f"{archive.name} must have the digest {INTEGRITY[:19]}..., got {found[:19]}...; it was removed: ask npm's "
            "registry settings what they offer, or hand over an unpacked package with --onnxruntime-web"
        )
    if unpacked.is_dir():
        return check(unpacked / "package")
    wanted = {"package/package.json", *(f"package/dist/{name}" for name in NEEDED)}
    with published(unpacked) as fresh, tarfile.open(archive) as opened:
        for name in sorted(wanted):  # by name: nothing else of the archive is looked at
            part = opened.extractfile(name)
            if part is None:
                raise FoundryError(f"{archive}: {name} is no file; remove the archive, npm fetches it again")
            target = fresh / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(part.read())
    return check(unpacked / "package")


def check(package: Path) -> Path:
    """The same folder, if it is an unpacked onnxruntime-web of the version that the page is made for.

    Raises:
        FoundryError: it is not.
    """
    try:
        said: Any = json.loads((package / "package.json").read_text())
        found = f"{said['name']} {said['version']}"
    except (OSError, ValueError, KeyError, TypeError):
        found = "no npm package"
    lacking = [name for name in NEEDED if not (package / "dist" / name).is_file()]
    if found != f"{PACKAGE} {VERSION}" or lacking:
        got = f"{found} without {lacking[0]}" if lacking else found
        raise FoundryError(
            f"{package} must be an unpacked {PACKAGE} {VERSION}, got {got}; "
            f"unpack what `npm pack {PACKAGE}@{VERSION}` fetches"
        )
    return package


def _parts() -> list[Traversable]:
    """The folders that a build is made of; the second one's engine replaces the page's."""
    root = resources.files("srfoundry")
    return [root / "serving" / "page", root / "deployment" / "browser"]


def _pack(archive: Path) -> None:
    """Let npm fetch the package; it knows the user's registry, proxy and rights."""
    npm = shutil.which("npm")
    if npm is None:
        raise FoundryError(
            f"{PACKAGE} comes by npm, which was not found; install npm (Node.js), or hand over an unpacked package "
            "with --onnxruntime-web FOLDER"
        )
    with replacing(archive) as partial:
        place = partial.with_suffix("")
        place.mkdir(parents=True, exist_ok=True)
        command = [
            npm,
            "pack",
            f"{PACKAGE}@{VERSION}",
            "--silent",
            "--ignore-scripts",
            "--pack-destination",
            str(place),
        ]
        try:
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=PATIENCE)
            if done.returncode or not (place / archive.name).is_file():
                said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:160]
                raise FoundryError(
                    f"npm could not fetch {PACKAGE} {VERSION}: {said}; look at the network and npm's settings"
                )
            shutil.copyfile(place / archive.name, partial)
        except subprocess.TimeoutExpired:
            raise FoundryError(
                f"npm took more than {PATIENCE} s for {PACKAGE}; look at the network, try again"
            ) from None
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _digest(archive: Path) -> str:
    """As npm writes it."""
    with archive.open("rb") as file:
        return "sha512-" + base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()


def _read(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as error:
        raise FoundryError(f"cannot read the model {model}: {error.strerror}; `make repro` writes exports/") from None


def _listed(card: Any, size: int) -> dict[str, Any]:
    """What the page must know of a member, and shows of it; the same keys as GET /v1/models."""
    score = card.scores()
    listed = {name: getattr(card, name) for name in SAID}
    listed |= {"psnr_y": score.get("psnr_y"), "gain_db": score.get("gain_db")}
    return {**listed, "file": f"models/{card.name}.onnx", "bytes": size, "default": False}

"""The project can be installed: what it imports is declared, what is declared is locked, and its wheel works alone."""

import ast
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from PIL import Image

from srfoundry.cli import program
from tests import tiny
from tests.conftest import REPO
from tests.extras import distributions, lacking
from tests.mlflow_stub import Stub

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
EXTRAS = {extra: [Requirement(line) for line in lines] for extra, lines in PROJECT["optional-dependencies"].items()}
BASE = [Requirement(line) for line in PROJECT["dependencies"]]
LOCK = {
    name: Version(version)
    for name, version in (line.split("==") for line in (REPO / "requirements.lock").read_text().splitlines())
}
OWN = {"srfoundry", "pipelines", "benchmarks", "scripts", "tests", "conftest"}
TRAINING = (  # of core, imaging and cli only what `upscale` never imports: test_program shows it
    *("core", "imaging", "cli", "config", "data", "degradation", "networks", "training", "solver", "dual_regression"),
    *("zero_shot", "evaluation", "blind", "reporting", "restoration"),
)
EXTRAS_OF = {  # what a folder may import beside the base
    **{f"src/srfoundry/{name}": {"train"} for name in TRAINING},
    "src/srfoundry/blind/diffusion": {"diffusion"},
    "src/srfoundry/compression": {"train", "cpu", "gpu"},  # tables of latency
    "src/srfoundry/deployment": {"export", "cpu", "gpu"},
    "src/srfoundry/deployment/foreign": {"ncnn"},
    "src/srfoundry/runtime": {"cpu", "gpu"},
    "src/srfoundry/serving": {"serve", "cpu", "gpu"},
    "src/srfoundry/tracking": {"tracking"},
    "pipelines": {"pipeline", "cluster"},
    "benchmarks": {"pipeline", "serve", "cluster", "dev"},
    "tests": {"pipeline", "serve", "cluster", "diffusion", "dev", "cpu", "gpu"},
    "scripts": {"pipeline", "docs", "dev"},
}
UNDECLARED = {
    "packaging": "pytest needs it, and only releases and tests of the installation use it",
}
NAMED_ELSEWHERE = {"onnxruntime": "runtime/providers.py says that there are two"}
NOT_LOCKED = {
    "srfoundry": "extras made of extras",
    **dict.fromkeys(("boto3", "dvc-s3"), "only for who has such a store"),
}


def declared(extra: str) -> set[str]:
    """The distributions of an extra, those of the extras it is made of among them."""
    names: set[str] = set()
    for requirement in EXTRAS[extra]:
        if requirement.name == PROJECT["name"]:
            names = names.union(*(declared(part) for part in requirement.extras))
        else:
            names.add(canonicalize_name(requirement.name))
    return names


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a file imports, inside functions too; neither Python's own nor ours."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}: relative import"
            names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - OWN


def files() -> Iterator[Path]:
    for root in ("src", "pipelines", "benchmarks", "scripts", "tests"):
        yield from (REPO / root).rglob("*.py")


def test_every_import_is_declared_for_its_folder() -> None:
    provided = {
        name: {canonicalize_name(one) for one in distributions}
        for name, distributions in packages_distributions().items()
    }
    base = {canonicalize_name(requirement.name) for requirement in BASE} | set(UNDECLARED)
    for path in files():
        name = path.relative_to(REPO).as_posix()
        extras = set[str]().union(*(found for folder, found in EXTRAS_OF.items() if name.startswith(f"{folder}/")))
        allowed = base.union(*(declared(extra) for extra in extras))
        for module in imported(path):
            assert provided.get(module, set()) & allowed, (
                f"{name} imports {module}, which comes from {provided.get(module) or 'nowhere'}: "
                f"declare it in the base or in one of {sorted(extras)} of pyproject.toml"
            )


def test_a_command_knows_the_extra_of_every_module_that_the_base_lacks() -> None:
    """One of those that declare it; without that a missing package is a traceback."""
    base = {canonicalize_name(requirement.name) for requirement in BASE}
    provided = {
        name: {canonicalize_name(one) for one in distributions}
        for name, distributions in packages_distributions().items()
    }
    for module in set[str]().union(*map(imported, (REPO / "src").rglob("*.py"))):
        brought = provided.get(module, set())
        if brought & base or module in NAMED_ELSEWHERE:
            continue
        extra = program.EXTRAS.get(module)
        assert extra and brought & declared(extra), f"{module} comes from {brought}; MODULES of program.py says {extra}"


def test_the_first_run_needs_few_packages() -> None:
    """What only one command needs is an extra of its own; set-up installs it when that command is used."""
    first = distributions("pipeline", "cpu")
    assert len(first) <= 215
    assert not first & {"mlflow", "pyarrow", "flask", "distributed", "diffusers", "basedpyright", "pytest"}
    assert first <= set(LOCK)


def test_the_base_holds_nothing_unused() -> None:
    """A leftover would be installed for nothing."""
    provided = packages_distributions()
    used = {
        canonicalize_name(distribution)
        for path in (REPO / "src").rglob("*.py")
        for module in imported(path)
        for distribution in provided.get(module, [])
    }
    assert {canonicalize_name(requirement.name) for requirement in BASE} <= used


@pytest.mark.parametrize("requirement", [*BASE, *(one for lines in EXTRAS.values() for one in lines)], ids=str)
def test_every_range_admits_the_locked_version(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    if name in NOT_LOCKED:
        return
    assert name in LOCK, f"{name} is not in requirements.lock; renew it as pyproject.toml says"
    assert requirement.specifier.contains(LOCK[name]), f"{requirement} excludes the locked {LOCK[name]}"


def test_the_lock_says_neither_cpu_nor_cuda() -> None:
    for name, version in LOCK.items():
        assert version.local is None, f"{name}=={version}"
        assert not name.startswith("nvidia-") and name not in ("torchvision", "triton")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built by its backend without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, folder], cwd=REPO, text=True, capture_output=True, check=True, timeout=120
    )
    return folder / done.stdout.split()[-1]


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        entry_points = next(archive.read(name) for name in archive.namelist() if name.endswith("entry_points.txt"))
    ours = (path for path in (REPO / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert names == {path.relative_to(REPO / "src").as_posix() for path in ours}
    assert "srfoundry/py.typed" in names
    assert b"srfoundry = srfoundry.cli.program:main" in entry_points


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel alone is installed into."""
    target = tmp_path_factory.mktemp("target")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", target, wheel]
    subprocess.run(pip, check=True, timeout=120)
    return target


@cache
def without(*extras: str) -> list[str]:
    """What cannot be imported where these extras are installed and no others."""
    return lacking(distributions(*extras))


def elsewhere(target: Path, folder: Path, extras: list[str], *arguments: str, **more: str) -> tuple[int, str, str]:
    """Run the installed program in a folder as if these extras were installed and no others."""
    absent = folder / "absent.json"
    absent.write_text(json.dumps(without(*extras)))
    finder = REPO / "tests/pipelines/loaded"
    program = "import sys, srfoundry; from srfoundry.cli.program import main; assert srfoundry.__file__.startswith("
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{program}{str(target)!r}); sys.exit(main())", *arguments],
        cwd=folder,
        env={
            "PYTHONPATH": f"{target}{os.pathsep}{finder}",
            "PATH": "",
            "SRFOUNDRY_LACKING": str(absent),
            "SRFOUNDRY_CACHE": str(folder / "cache"),
            "MPLCONFIGDIR": str(folder),
            "OMP_NUM_THREADS": "1",
            **more,
        },
        text=True,
        capture_output=True,
        timeout=240,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_lean_installation_enlarges_describes_and_pulls(installed: Path, tmp_path: Path) -> None:
    """With [cpu] and nothing else; what needs more is one line with the command that brings it."""
    assert (installed / "bin" / "srfoundry").is_file()
    blob = tiny.exported()[0]
    (tmp_path / "tiny.onnx").write_bytes(blob)
    Image.new("RGBA", (40, 32), (200, 90, 30, 128)).save(tmp_path / "low.png")

    def run(*arguments: str, **more: str) -> str:
        code, said, error = elsewhere(installed, tmp_path, ["cpu", "gpu"], *arguments, **more)
        assert code == 0, error
        return said

    assert "upscale" in run("--help")
    run("upscale", "low.png", "--model", "tiny.onnx")
    with Image.open(tmp_path / "low_x2.png") as large:
        assert (large.mode, large.size) == ("RGBA", (80, 64))
    assert json.loads(run("info", "tiny.onnx"))["scale"] == 2
    with Stub(blob) as registry:
        address = {"MLFLOW_TRACKING_URI": registry.url}
        assert json.loads(run("info", "models:/toy@champion", **address))["name"] == "tiny"
    for command, extra in {
        ("restore", "low.png"): "train",
        ("degrade", "low.png"): "train",
        ("compare", "low.png", "--model", "tiny.onnx"): "train",
        ("upscale", "low.png", "--model", "a.safetensors"): "train",
        ("models",): "tracking",
    }.items():
        code, _, error = elsewhere(installed, tmp_path, ["cpu", "gpu"], *command)
        assert code == 1 and f"pip install 'srfoundry[{extra}]'" in error and error.count("\n") == 1, error


def test_the_base_alone_says_which_runtimes_there_are(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(b"")
    code, _, error = elsewhere(installed, tmp_path, [], "info", "tiny.onnx")
    assert code == 1 and "srfoundry[cpu]" in error and "srfoundry[gpu]" in error and error.count("\n") == 1


def test_training_needs_no_pipeline(installed: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 32), (200, 90, 30)).save(tmp_path / "sharp.png")
    code, _, error = elsewhere(installed, tmp_path, ["train"], "degrade", "sharp.png", "--width", "1.5")
    assert code == 0, error
    assert (tmp_path / "sharp_low.png").is_file() and list(tmp_path.glob("*.npy"))

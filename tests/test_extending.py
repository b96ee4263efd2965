"""Who pastes the worked examples of docs/extending.md passes the checks of `make test` with them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.imaging import images
from tests.conftest import REPO
from tests.examples import examples
from tests.shipped import SHIPPED

pytestmark = pytest.mark.timeout(900)  # processes one after another, on machines that do other work, too
COPIED = ("src", "pipelines", "tests", "docs", "params", "graphs")
ALONE = ("pyproject.toml", "README.md", "dvc.yaml", "params.yaml")
TESTS = [
    *["test_wiring", "networks/zoo/test_architectures", "compression/test_compressors", "blind/test_estimators"],
    *["degradation/test_kernels", "degradation/test_kernel_bank"],
]
SLOW = ("parameters", "pickles", "rooms", "little_in_them", "noise_that", "rebuilds and not first")


@pytest.fixture(scope="module")
def enriched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with all examples; it is no git repository."""
    root = tmp_path_factory.mktemp("enriched")
    for name in COPIED:
        shutil.copytree(REPO / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
    for name in ALONE:
        shutil.copy(REPO / name, root)
    (root / ".venv").symlink_to(sys.prefix)  # where pyproject.toml lets basedpyright look
    for example in examples():
        example.add(root)
    return root


def run(root: Path, *command: str) -> None:
    """Run a program in the copy, which must find nothing to say."""
    paths = {"PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    programs = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=root, env={**os.environ, **paths, **programs}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_tests_pass_with_the_examples(enriched: Path) -> None:
    quick = " and ".join(f"not ({words})" for words in SLOW)
    run(enriched, "pytest", *(f"tests/{name}.py" for name in TESTS), "-k", quick, "-p", "no:cacheprovider", "-n", "0")


def test_formatting_layers_and_types_are_in_order_with_the_examples(enriched: Path) -> None:
    added = sorted({each.path for each in examples() if each.path.endswith(".py")})
    run(enriched, "ruff", "check", *added)
    run(enriched, "ruff", "format", "--check", *added)
    run(enriched, "lint-imports", "--no-cache")
    run(enriched, "basedpyright", "--level", "error", *added)


def test_a_table_can_be_added_to_while_a_process_runs(tmp_path: Path) -> None:
    """As the page has it, with the network of its first example in a file beside the script."""
    network = next(each.text for each in examples() if each.path.endswith("plain.py"))
    (tmp_path / "plug.py").write_text(network.replace("Plain", "Mine"))
    run_script("Without changing the repository", tmp_path)


def test_a_network_can_be_trained_from_python(tmp_path: Path) -> None:
    """As the page has it, on drawn photographs, with fewer steps."""
    (tmp_path / "photographs").mkdir()
    for name in map(str, range(8)):
        drawn = torch.rand(1, 3, 160, 160, generator=generator(1, name))
        images.write(drawn, tmp_path / "photographs" / f"{name}.png")
    source = "synthesize: {source: folder, folder: photographs, validation: 0.2, held_out: 0.2}"
    (tmp_path / "mine.yaml").write_text(f"{source}\ndual: {{network: edsr, width: 8, blocks: 1, steps: 2}}\n")
    shutil.copy(SHIPPED, tmp_path / "params.yaml")
    run_script("Train from Python", tmp_path)


def run_script(section: str, folder: Path) -> None:
    """Run the Python of a section, which ends with the enlargement of photo.png."""
    page = (REPO / "docs" / "extending.md").read_text().partition(f"## {section}")[2]
    (folder / "script.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    images.write(torch.rand(1, 3, 16, 20, generator=generator(1, "photo")), folder / "photo.png")
    paths = {"PYTHONPATH": os.pathsep.join([str(REPO / "src"), str(folder)])}
    subprocess.run([sys.executable, "script.py"], cwd=folder, env={**os.environ, **paths}, check=True)
    assert images.read(folder / "photo_x2.png").shape == (1, 3, 32, 40)

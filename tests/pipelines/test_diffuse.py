"""The stage beside the graph: a model, its estimates and its figures from prepared data, the same bytes each time."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from pipelines.diffuse import diffuse
from pipelines.support.stage import Stage
from srfoundry.blind.diffusion import training
from srfoundry.blind.diffusion.unet import load_denoiser
from srfoundry.config import params
from srfoundry.core.errors import FoundryError
from srfoundry.degradation.blurred_sets import BLURRED
from srfoundry.degradation.kernels import gaussian
from srfoundry.degradation.operator import degrade
from srfoundry.imaging import images
from tests.blind_cases import power_law
from tests.closed import prepared
from tests.conftest import REPO
from tests.shipped import SHIPPED

TINY: dict[str, dict[str, Any]] = {
    "diffuse": {
        "widths": [8, 16],
        "patch": 16,
        "batch": 2,
        "steps": 2,
        "warmup": 1,
        "sampler": {"evaluations": 2, "start": 0.4, "guidance": 1.0, "renoise": 1.0, "floor": 0.002, "learn": 0.8},
    },
    "estimate": {"kernel_size": 11, "iterations": 1, "draws": 8, "kernel_steps": 1, "window": 24, "tile": 16},
}


def factory(root: Path, **estimate: Any) -> Stage:
    """A folder with what the stage reads: two photographs of each kind, one kernel."""
    for name in ("src", "pipelines"):
        (root / name).symlink_to(REPO / name)
    shutil.copytree(REPO / "graphs/diffuse", root / "graphs/diffuse")
    shutil.copy(REPO / "dvc.yaml", root)
    (root / "results/environment").mkdir(parents=True)
    for name in ("versions", "beside"):
        (root / f"results/environment/{name}.json").write_text("{}")
    values = YAML(typ="safe").load(SHIPPED.read_text())
    for section, changes in TINY.items():
        values[section] |= changes
    values["estimate"] |= estimate
    data = root / "data/synthesize"
    high = power_law(64, 5).clamp(0, 1)
    for name in ("train", "validation"):
        prepared(data / name, {"a": power_law(64, 1).clamp(0, 1), "b": high}, [1, 2])
    true = gaussian(15, *(torch.tensor([value]) for value in (2.0, 1.0, 0.3)))
    images.write(high, data / "held_out/high/one.png")
    (data / "kernels").mkdir()
    for name in BLURRED:
        np.save(data / f"kernels/{name}.npy", true[0].numpy())
        images.write(degrade(high, true, 2), data / f"held_out/{name}/one.png")
    return Stage("diffuse", root, params.check(values, "params"))


def test_model_estimates_and_figures(tmp_path: Path) -> None:
    outs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        stage = factory(tmp_path / name)
        diffuse(stage)
        outs.append({path: (stage.root / path).read_bytes() for path in written(stage.root)})
    assert outs[0] == outs[1]
    found = json.loads(outs[0]["results/diffuse/metrics.json"])
    assert {"kernel_psnr", "psnr_y"} == set(found["aniso"]["one"]) and found["parameters"] > 0
    listed = {next(iter(path)) for kind in ("outs", "plots") for path in stages()["diffuse"][kind]}
    assert {path for path in outs[0] if path.startswith("results/")} == {
        path for path in listed if "models/" not in path
    }
    assert load_denoiser(tmp_path / "one/models/diffuse").tile == 16


def test_a_bank_is_handed_over_and_missed_before_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = factory(tmp_path, family="bank")
    with monkeypatch.context() as patched:
        patched.setattr(training, "train_denoiser", lambda *_, **__: pytest.fail("it trained first"))
        with pytest.raises(FoundryError, match="bank"):
            diffuse(stage)
    values = [torch.tensor(value) for value in ((1.0, 2.0), (1.0, 0.5), (0.0, 0.3))]
    np.save(tmp_path / "data/synthesize/kernels/bank.npy", gaussian(13, *values).float().numpy())
    diffuse(stage)
    found = json.loads((tmp_path / "results/diffuse/metrics.json").read_text())
    assert found["gauss20"]["one"]["kernel_psnr"] > 30


def test_the_default_patch_suits_every_scale() -> None:
    chosen = params.load(SHIPPED).diffuse
    assert not any(chosen.draw.patch % unit for unit in (2, 3, 4, 2 ** (len(chosen.widths) - 1)))


def written(root: Path) -> list[str]:
    return [
        path.relative_to(root).as_posix()
        for folder in ("models/diffuse", "results/diffuse")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    ]


def stages() -> dict[str, Any]:
    return YAML(typ="safe").load((REPO / "graphs/diffuse/dvc.yaml").read_text())["stages"]

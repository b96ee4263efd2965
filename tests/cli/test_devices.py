"""Every command on a GPU, pretended by tensors that refuse to mix with the CPU's, gives what it gives on a CPU."""

import re
from functools import partial
from pathlib import Path

import pytest

from srfoundry.blind.dkp import released
from srfoundry.imaging import images
from srfoundry.networks.zoo import cards
from srfoundry.restoration import devices
from tests import tiny
from tests.cli.test_program import blur_file, folder, meta_trained, run, trained_networks
from tests.pretended_gpu import pretended_gpu
from tests.restoration.restorers.test_table import diffusion

__all__ = ["folder"]  # a fixture


def both(monkeypatch: pytest.MonkeyPatch, *command: str | Path, out: str = "out.png") -> tuple[Path, Path]:
    """What a command writes on the CPU and on the pretended GPU."""
    assert run(*command, "--out", f"cpu_{out}") == 0
    with pretended_gpu() as device, monkeypatch.context() as patched:
        patched.setattr(devices, "chosen", lambda _name: device)
        assert run(*command, "--out", f"gpu_{out}") == 0
    return Path(f"cpu_{out}"), Path(f"gpu_{out}")


def alike(one: Path, other: Path) -> bool:
    return float((images.read(one) - images.read(other)).abs().max()) < 1.5 / 255


def about_alike(one: Path, other: Path) -> bool:
    """Of a network trained on the image: rounding alone (1e-7) moves a pixel by 7 of 255 in two steps of Adam."""
    return float((images.read(one) - images.read(other)).abs().mean()) < 1 / 255


@pytest.mark.parametrize("command", ["upscale", "compare"])
def test_a_checkpoint_enlarges_on_a_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    cards.save(folder / "tiny.safetensors", tiny.net(), arch=tiny.ARCH, scale=2, made_by="prune", params_hash="0")
    assert alike(*both(monkeypatch, command, "photo.png", "--model", "tiny.safetensors"))


def test_restore_on_a_gpu_with_each_kind_of_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srfoundry.restoration.restorers.dip.STEPS", 1)
    mzsr, usrnet = meta_trained(folder), trained_networks(folder)
    blur_file(folder)
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(re.sub(r"evaluations:( *)\d+", r"evaluations:\g<1>2", text))
    common = ("restore", "photo.png", "--force", "--kernel", "blur.npy", "--steps", "2")
    for model, same in ((mzsr, alike), (usrnet, alike), ("dip", about_alike)):
        assert same(*both(monkeypatch, *common, "--model", model, out=f"{Path(model).stem}.png"))
    both(monkeypatch, *common, "--model", diffusion(folder), "--scale", "2", out="diffusion.png")


@pytest.mark.parametrize("method", ["fast", "dkp", "mlmc", "released"])
def test_restore_estimates_kernels_on_a_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(released, "Program", partial(released.Program, outer=2, warm_up=2))
    mzsr = meta_trained(folder)
    trained_networks(folder)
    text = (folder / "params.yaml").read_text().replace("method: auto", f"method: {method}")
    text = text.replace("precision: auto", "precision: float32")
    text = re.sub(r"draws:( *)\d+", r"draws:\g<1>8", text)
    # mlmc's loops lie in each other: their numbers multiply
    text = re.sub(r"(iterations|image_steps|kernel_steps|updates|rounds):( *)\d+", r"\1:\g<2>2", text)
    (folder / "params.yaml").write_text(text)
    both(monkeypatch, "restore", "photo.png", "--force", "--model", mzsr, "--steps", "1", "--close", "1")

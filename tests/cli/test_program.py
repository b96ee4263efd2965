"""The program as its users meet it: files in, files out, one line for every mistake."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from srfoundry.blind.auto import histories
from srfoundry.cli import files, program
from srfoundry.cli.plan import Job
from srfoundry.core import seeds
from srfoundry.degradation import conventions, kernel_files, kernels, linear_enlargement
from srfoundry.degradation.kernel_families import FAMILIES
from srfoundry.degradation.operator import degrade
from srfoundry.imaging import images, resize
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.nonblind.degradation_classifier import DegradationClassifier
from srfoundry.networks.nonblind.usrnet import USRNet, start_plain
from srfoundry.networks.zoo import cards
from srfoundry.runtime.session import Session
from tests import photographs, tiny
from tests.shipped import SHIPPED

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with exports/pruned.onnx and a photograph photo.png of 50 x 70 pixels."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "pruned.onnx").write_bytes(tiny.exported()[0])
    pixels().save(tmp_path / "photo.png")
    return tmp_path


def pixels(width: int = 70, height: int = 50) -> Image.Image:
    """A colour photograph: smooth waves with some noise."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    waves = np.stack([127 + 90 * np.sin(x / 7 + c) * np.cos(y / 9) for c in range(3)], axis=-1)
    return Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8))


def run(*arguments: str | Path) -> int:
    return program.main([str(argument) for argument in arguments])


def failure(capture: Capture, *arguments: str | Path) -> str:
    """The one line that a mistake is answered with."""
    assert run(*arguments) == 1
    said = capture.readouterr().err
    last = said.strip().splitlines()[-1]
    assert last.startswith("error: ") and "Traceback" not in said
    return last


def test_upscale_writes_what_the_model_says(folder: Path, capsys: Capture) -> None:
    assert run("upscale", "photo.png", "--tile", "256") == 0
    session = Session(folder / "exports" / "pruned.onnx", threads=1)
    expected = images.to_uint8(torch.from_numpy(session.run(images.read(folder / "photo.png").numpy())))
    with Image.open(folder / "photo_x2.png") as written:
        assert np.array_equal(np.array(written), expected[0].numpy())
    assert "photo_x2.png" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.tif", "a.mpo"])
def test_that_only_the_first_of_several_pictures_is_used_is_said(folder: Path, name: str, capsys: Capture) -> None:
    first, second = pixels(), pixels().transpose(Image.Transpose.ROTATE_180)
    first.save(name, save_all=True, append_images=[second])
    first.save(f"one_{name}", **({"format": "JPEG"} if name == "a.mpo" else {}))
    assert run("upscale", name) == 0 and f"{name} holds several pictures: the first" in capsys.readouterr().out
    assert run("upscale", f"one_{name}") == 0 and "several" not in capsys.readouterr().out


@pytest.mark.parametrize("closed", ["1", "2"])
def test_nobody_needs_to_read_what_is_said(folder: Path, closed: str) -> None:
    command = f"{sys.executable} -m srfoundry.cli.program upscale photo.png {closed}>&-"
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr and (folder / "photo_x2.png").exists()


def test_tiles_do_not_show_in_a_file(folder: Path) -> None:
    run("upscale", "photo.png", "--tile", "32", "--overlap", "12", "--out", "tiled.png")
    run("upscale", "photo.png", "--tile", "256", "--out", "whole.png")
    tiled, whole = images.read(folder / "tiled.png"), images.read(folder / "whole.png")
    assert float((tiled - whole).abs().max()) < 0.02  # the attention's means differ between tiles


def test_a_folder_keeps_its_tree_and_names_its_bad_files(folder: Path, capsys: Capture) -> None:
    album = folder / "album"
    (album / "deep").mkdir(parents=True)
    pixels().save(album / "a.png")
    pixels().save(album / "a.jpg")
    pixels(9, 5).save(album / "deep" / "small.png")
    (album / "cut.png").write_bytes((album / "a.png").read_bytes()[:900])
    (album / "words.jpg").write_text("no image")
    assert run("upscale", "album") == 1
    said = capsys.readouterr().err
    assert "cut.png is damaged" in said and "words.jpg is not an image" in said and "2 of 5 images" in said
    made = {path.relative_to(folder / "album_x2").as_posix() for path in (folder / "album_x2").rglob("*.*")}
    assert made == {"a_png.png", "a_jpg.png", "deep/small.png"}


def test_results_inside_the_folder_are_not_taken_for_photographs(folder: Path) -> None:
    (folder / "album").mkdir()
    pixels().save(folder / "album" / "a.png")
    assert run("upscale", "album", "--out", "album/large") == 0
    assert run("upscale", "album", "--out", "album/large", "--overwrite") == 0
    assert [path.name for path in (folder / "album" / "large").rglob("*.png")] == ["a.png"]


def test_alpha_grey_depth_palette_orientation_and_profile_come_back(folder: Path) -> None:
    picture = pixels()
    clear = picture.copy()
    clear.putalpha(Image.linear_gradient("L").resize(picture.size))
    clear.save("alpha.png")
    picture.convert("L").save("grey.png", icc_profile=b"profile of the camera")
    Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save("deep.png")
    picture.quantize(16).save("palette.png")
    turned = Image.Exif()
    turned[0x112] = 6
    picture.save("turned.jpg", exif=turned)
    modes = {}
    for name in ("alpha.png", "grey.png", "deep.png", "palette.png", "turned.jpg"):
        assert run("upscale", name, "--out", f"out_{Path(name).stem}.png") == 0
        with Image.open(f"out_{Path(name).stem}.png") as written:
            modes[name] = (written.mode, written.size)
            if name == "grey.png":
                assert written.info["icc_profile"] == b"profile of the camera"
    size, standing = (140, 100), (100, 140)
    assert modes == {
        "alpha.png": ("RGBA", size),
        "grey.png": ("L", size),
        "deep.png": ("L", size),
        "palette.png": ("RGB", size),
        "turned.jpg": ("RGB", standing),
    }
    assert Path("out_grey.png").read_bytes() != b"" and np.array_equal(
        np.array(Image.open("out_grey.png")), np.array(Image.open("out_deep.png"))
    )
    band = np.array(clear.getchannel("A"), dtype=np.float32)[None, None] / 255
    expected = images.to_uint8(resize.cubic(torch.from_numpy(band), 2))[0, ..., 0].numpy()
    assert np.array_equal(np.array(Image.open("out_alpha.png").getchannel("A")), expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["upscale", "nowhere.png"], "nowhere.png not found"),
        (["upscale", "photo.png", "--model", "gone.onnx"], "cannot read the model gone.onnx"),
        (["upscale", "photo.png", "--model", "photo.png"], "a model is a .onnx or .safetensors"),
        (["upscale", "photo.png", "--model", "models:/nobody@champion"], "no such registered model"),
        (["upscale", "photo.png", "--model", "models:/nobody"], "models:/nobody@champion: no such registered model"),
        (["info", "models:/nobody"], "models:/NAME@champion"),
        (["upscale", "photo.png", "--tile", "32", "--overlap", "16"], "tile must be larger than twice its overlap"),
        (["upscale", "photo.png", "--out", "photo.png"], "would replace its own source"),
        (["upscale", "photo.png", "--out", "photo.xyz"], "names no picture format"),
        (["upscale", "empty"], "holds no photograph"),
        (["upscale", "empty", "--out", "photo.png"], "--out must be a folder"),
        (["info", "models/none.safetensors"], "models/none.safetensors not found"),
        (["restore", "photo.png"], "params.yaml not found"),
        (["degrade", "photo.png", "--kernel", "photo.png"], "must be square"),
    ],
)
def test_mistakes_are_one_line(folder: Path, capsys: Capture, arguments: list[str], words: str) -> None:
    (folder / "empty").mkdir()
    assert words in failure(capsys, *arguments)


def test_no_model_at_all_says_how_to_get_one(folder: Path, capsys: Capture) -> None:
    (folder / "exports" / "pruned.onnx").unlink()
    assert "make repro" in failure(capsys, "upscale", "photo.png")


def test_the_only_export_is_taken_whatever_its_name(folder: Path) -> None:
    (folder / "exports" / "pruned.onnx").rename(folder / "exports" / "mine.onnx")
    assert run("upscale", "photo.png") == 0


def test_alpha_into_jpeg_is_refused_before_the_work(folder: Path, capsys: Capture) -> None:
    picture = pixels()
    picture.putalpha(128)
    picture.save("alpha.png")
    assert "transparency" in failure(capsys, "upscale", "alpha.png", "--out", "flat.jpg")


def test_info_prints_the_card(folder: Path, capsys: Capture) -> None:
    assert run("info") == 0
    card = json.loads(capsys.readouterr().out)
    assert card["scale"] == 2 and card["made_by"] == "prune" and card["arch"]["name"] == "drn"


def test_a_checkpoint_gives_what_its_export_gives(folder: Path) -> None:
    cards.save(folder / "tiny.safetensors", tiny.net(), arch=tiny.ARCH, scale=2, made_by="prune", params_hash="0")
    run("upscale", "photo.png", "--out", "onnx.png")
    run("upscale", "photo.png", "--model", "tiny.safetensors", "--out", "torch.png")
    difference = (images.read(folder / "onnx.png") - images.read(folder / "torch.png")).abs().max()
    assert float(difference) < 1.5 / 255


@pytest.mark.filterwarnings("ignore")  # MLflow's own, several, at its import
def test_the_champion_can_be_listed_and_used(folder: Path, mlflow_store: str, capsys: Capture) -> None:
    assert "srfoundry register" in failure(capsys, "models")
    shutil.copy(SHIPPED, folder)
    assert run("register", "--name", "tiny") == 0
    assert "pruned is version 1, champion: +1.00 dB over bicubic" in capsys.readouterr().out
    assert run("register", "--name", "tiny", "--new") == 0 and not capsys.readouterr().out
    assert run("models") == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["tiny", "1", "champion", "psnr_y", "=", "31.000000", "2"]
    assert run("upscale", "photo.png", "--model", "models:/tiny@champion", "--out", "champion.png") == 0
    assert run("upscale", "photo.png", "--out", "local.png") == 0
    assert (folder / "champion.png").read_bytes() == (folder / "local.png").read_bytes()
    assert run("promote", "models:/tiny/1", "--alias", "chosen") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "chosen is version 1"
    assert "models:/tiny/2" in failure(capsys, "promote", "models:/tiny/2")


def test_a_card_is_a_folder_to_publish(folder: Path, capsys: Capture) -> None:
    assert run("card") == 0
    assert "the figures are those that the model carries" in capsys.readouterr().out
    assert {path.name for path in (folder / "card").iterdir()} == {"README.md", "config.json", "model.onnx"}
    assert "--overwrite" in failure(capsys, "card")
    assert run("card", "--overwrite", "--licence", "mit", "--name", "me/tiny") == 0
    written = (folder / "card" / "README.md").read_text()
    assert "license: mit\n" in written and "# me/tiny\n" in written
    (folder / "card" / "mine.txt").touch()
    assert "holds other things (mine.txt)" in failure(capsys, "card", "--overwrite")
    assert "exported model" in failure(capsys, "card", "--model", "x.safetensors", "--out", "new")
    with pytest.raises(SystemExit):
        run("card", "--overwrite", "--threads", "0")
    assert "whole number from 1 to" in capsys.readouterr().err


def test_degrade_then_compare(folder: Path) -> None:
    assert run("degrade", "photo.png", "--out", "low.png") == 0
    kernel = kernels.gaussian(15, torch.tensor([4.0]), torch.tensor([4.0]), torch.zeros(1))
    expected = images.to_uint8(degrade(images.read(folder / "photo.png"), kernel, 2))
    different = images.to_uint8(images.read(folder / "low.png")).int() - expected.int()
    assert int(different.abs().max()) <= 1 and float((different != 0).float().mean()) < 1e-3  # double precision, float
    assert run("compare", "photo.png", "--out", "side_by_side.png") == 0
    with Image.open("side_by_side.png") as drawn:
        assert drawn.width > drawn.height


@pytest.mark.parametrize("convention", ["mzsr", "dkp", "usrnet", "kernelgan"])
def test_degrade_writes_the_kernel_that_it_used(folder: Path, convention: str) -> None:
    """Given back, the written kernel makes the same image: it is a correlation, whatever the convention was."""
    more = ["--noise", "2", "--jpeg", "90", "--scale", "3", "--border", "reflect"]
    command = ["degrade", "photo.png", "--family", "trajectory", "--convention", convention, *more]
    assert run(*command, "--out", "low.png") == 0
    assert run("degrade", "photo.png", "--kernel", "low_kernel.npy", *more, "--out", "again.png") == 0
    assert (folder / "low.png").read_bytes() == (folder / "again.png").read_bytes()
    with Image.open("low_kernel.png") as drawn:
        assert drawn.width > drawn.height


def test_conventions_of_the_help_are_the_librarys() -> None:
    assert set(program.CONVENTIONS) == set(conventions.CONVENTIONS)


@pytest.mark.parametrize("convention", program.CONVENTIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_drawn_kernels_do_not_ring_whatever_their_centre(folder: Path, convention: str, family: str) -> None:
    more = ["--family", family, "--convention", convention, "--scale", "2"]
    assert run("degrade", "photo.png", *more, "--out", "low.png") == 0
    kernel = kernel_files.read(folder / "low_kernel.npy")
    assert float(kernel.min()) >= 0
    centre = conventions.centre_of_mass(kernel.double())[0] - kernel.shape[-1] // 2
    assert centre.tolist() == pytest.approx([conventions.CONVENTIONS[convention].phase(2)] * 2, abs=0.1)


def test_degrade_names_its_files_as_restore_does(folder: Path, capsys: Capture) -> None:
    (folder / "to").mkdir()
    assert run("degrade", "photo.png", "--out", "to") == 0
    assert (folder / "to" / "photo_low.png").exists() and (folder / "to" / "photo_low_kernel.npy").exists()
    assert "cannot write a.xyz" in failure(capsys, "degrade", "photo.png", "--out", "a.xyz")
    blur_file(folder)
    (folder / "blur.npy").rename("a_kernel.npy")
    assert "own source" in failure(capsys, "degrade", "photo.png", "--kernel", "a_kernel.npy", "--out", "a.png")


def test_degrade_makes_a_blind_test_set_of_a_folder(folder: Path, capsys: Capture) -> None:
    for name in ("sharp/a.png", "sharp/deep/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels(101, 83).save(name)
    Path("sharp/c.heic").touch()
    command = ["degrade", "sharp", "--set", "div2krk", "--set", "photographs", "--scale", "4", "--seed", "7"]
    assert run(*command) == 0 and run(*command, "--out", "again") == 0
    assert capsys.readouterr().err.count("left out: 1 .heic, which cannot be read") == 2
    made = folder / "sharp_div2krk_photographs_x4"
    files = {path.relative_to(made).as_posix(): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    assert files == {each.relative_to("again").as_posix(): each.read_bytes() for each in Path("again").rglob("*.*")}
    kinds = ("high", "bicubic", "div2krk", "photographs")
    assert {f"{kind}/{name}.png" for kind in kinds for name in ("a", "deep__b")} <= set(files)
    said = json.loads(files["div2krk.json"])
    kernel = kernel_files.read(made / said["photographs"]["deep__b"]["kernel"])
    low = degrade(images.read(made / "high" / "deep__b.png"), kernel, 4)
    assert float((low - images.read(made / "div2krk" / "deep__b.png")).abs().max()) < 0.51 / 255
    assert "allow it with --overwrite" in failure(capsys, *command) and run(*command, "--overwrite") == 0
    assert "holds no test set" in failure(capsys, *command, "--overwrite", "--out", "sharp/deep")
    assert "replace sharp itself" in failure(capsys, *command, "--overwrite", "--out", ".")


def test_a_test_set_takes_nothing_elses_place(folder: Path, capsys: Capture) -> None:
    """What it did not write stays, and what it wrote is no photograph of its source."""
    (folder / "sharp").mkdir()
    pixels(101, 83).save("sharp/a.png")
    command = ["degrade", "sharp", "--set", "div2krk", "--out", "sharp/sets", "--overwrite"]
    assert run(*command) == 0 and run(*command) == 0
    assert [path.name for path in Path("sharp/sets/high").iterdir()] == ["a.png"]
    Path("sharp/sets/notes.txt").touch()
    assert "holds other things (notes.txt)" in failure(capsys, *command)
    assert Path("sharp/sets/notes.txt").exists()
    Path("album/high").mkdir(parents=True)
    pixels().save("album/high/mine.png")
    assert "holds no test set" in failure(capsys, *command[:-2], "album", "--overwrite")
    assert Path("album/high/mine.png").exists()
    Path("sharp/sets/notes.txt").unlink()
    Path("sharp/a.png").unlink()
    assert "no photograph but those of sharp/sets" in failure(capsys, *command)


def test_test_sets_of_the_present_folder_lie_beside_it(folder: Path) -> None:
    (folder / "sharp").mkdir()
    pixels().save("sharp/a.png")
    os.chdir("sharp")
    assert run("degrade", ".", "--set", "div2krk") == 0
    assert (folder / "sharp_div2krk_x2" / "high" / "a.png").exists()


@pytest.mark.parametrize(
    "command",
    [("degrade", "../photo.png", "--set", "div2krk"), ("card", "--model", "../exports/pruned.onnx")],
)
def test_the_present_folder_is_not_replaced(folder: Path, capsys: Capture, command: tuple[str, ...]) -> None:
    Path("within").mkdir()
    os.chdir("within")
    assert "is the present folder" in failure(capsys, *command, "--overwrite", "--out", ".")


def meta_trained(folder: Path, enlargement: linear_enlargement.How = "bicubic") -> Path:
    """The checkpoint of a small zero-shot network, in a folder with the repository's params.yaml."""
    path = folder / "meta.safetensors"
    net = MZSR(width=8, depth=3, enlargement=enlargement)
    seeds.redraw(net, seeds.generator(0, "cli"))
    arch = {"name": "mzsr", "width": 8, "depth": 3, "enlargement": enlargement}
    metrics = {"rates": [0.01, 0.005], "self_pairs": 2, "held_out": 0.1}
    cards.save(path, net, arch=arch, scale=2, made_by="metatrain", params_hash="0", metrics=metrics)
    shutil.copy(Path(program.__file__).resolve().parents[3] / "params.yaml", folder)
    return path


def blur_file(folder: Path) -> torch.Tensor:
    kernel = kernels.gaussian(15, torch.tensor([2.0]), torch.tensor([1.0]), torch.zeros(1))
    np.save(folder / "blur.npy", kernel[0].numpy())
    return kernel


@pytest.mark.parametrize("enlargement", ["bicubic", "linear"])
def test_restore_with_a_given_kernel_explains_its_input(
    folder: Path, capsys: Capture, enlargement: linear_enlargement.How
) -> None:
    model, kernel = meta_trained(folder, enlargement), blur_file(folder)
    common = ("--kernel", "blur.npy", "--model", model, "--steps", "3", "--decimation", "bicubic", "--force")
    assert run("restore", "photo.png", *common) == 0
    assert images.read(folder / "photo_restored.png").shape == (1, 3, 100, 140)
    assert np.allclose(np.load(folder / "photo_restored_kernel.npy"), kernel[0].numpy())
    assert (folder / "photo_restored_kernel.png").exists()
    said = capsys.readouterr().out
    assert "consistency" in said and "back-projection" not in said
    assert run("restore", "photo.png", *common, "--close", "3", "--out", "closed.png") == 0
    before, after = re.findall(r"([0-9.]+) dB (?:before|after)", capsys.readouterr().out)
    assert float(after) > float(before) + 3


def test_restore_of_a_folder_gives_what_it_gives_one_by_one(folder: Path, capsys: Capture) -> None:
    model, album = meta_trained(folder), folder / "album"
    blur_file(folder)
    (album / "deep").mkdir(parents=True)
    pixels().save(album / "a.png")
    pixels(60, 44).save(album / "deep" / "b.png")
    pixels(9, 5).save(album / "tiny.png")
    common = ("--kernel", "blur.npy", "--model", model, "--steps", "2", "--force")
    assert run("restore", "album", *common) == 1
    said = capsys.readouterr()
    assert (
        "image of 5x9 is too small" in said.err and "1 of 3 images" in said.err and said.out.count("consistency") == 2
    )
    assert len(re.findall("[\\r\\n]+", said.err)) < 9, "a line now and then, and the errors"
    assert run("restore", album / "deep" / "b.png", *common, "--out", "alone.png") == 0
    together, alone = images.read(folder / "album_restored" / "deep" / "b.png"), images.read(folder / "alone.png")
    assert float((together - alone).abs().max()) < 1.5 / 255
    assert (folder / "album_restored" / "a_kernel.png").exists()


def test_restore_estimates_the_kernel_of_an_image(folder: Path, capsys: Capture) -> None:
    model = meta_trained(folder)
    text = (folder / "params.yaml").read_text()
    text = re.sub(r"(iterations|draws|image_steps|kernel_steps):( *)\d+", r"\1:\g<2>8", text)
    (folder / "params.yaml").write_text(text)
    dkp = ("--method", "dkp", "--model", model, "--steps", "1")
    assert run("restore", "photo.png", *dkp, "--out", "plain.png") == 0
    said = capsys.readouterr().out
    assert "plain enlargement" in said and "--force" in said and not Path("plain_kernel.npy").exists()
    assert images.read(Path("plain.png")).shape == (1, 3, 100, 140)
    assert run("restore", "photo.png", *dkp, "--force") == 0
    assert "photo_restored_kernel.png  (kernel by dkp)" in capsys.readouterr().out
    assert float(np.load("photo_restored_kernel.npy").sum()) == pytest.approx(1, abs=1e-4)
    assert run("restore", "photo.png", *dkp, "--overwrite") == 0
    assert not list(folder.glob("photo_restored_kernel.*")), "the kernel of another result"


def trained_networks(folder: Path) -> str:
    """The files of the stage nonblind: returns that of the network that is conditioned on the blur."""
    net, corrector = USRNet(widths=[4] * 4, blocks=1, iterations=2, residual=True), Corrector()
    for each in (net, corrector):
        seeds.redraw(each, seeds.generator(0, "conditioned"))
    start_plain(net)
    arch = {"name": "usrnet", "widths": [4] * 4, "blocks": 1, "iterations": 2, "residual": True}
    common: dict[str, Any] = {"scale": 2, "made_by": "nonblind", "params_hash": "0"}
    cards.save(folder / "models" / "nonblind.safetensors", net, arch=arch, **common)
    cards.save(folder / "models" / "corrector.safetensors", corrector, arch={"name": "corrector"}, **common)
    shape = {"histories": len(histories.NAMES), "sharp": len(histories.SHARP)}
    classifier, known = DegradationClassifier(**shape), {"name": "classifier", **shape}
    seeds.redraw(classifier, seeds.generator(0, "classifier"))
    cards.save(folder / "models" / "classifier.safetensors", classifier, arch=known, **common)
    return str(folder / "models" / "nonblind.safetensors")


def test_restore_with_a_network_that_is_conditioned_on_the_blur(folder: Path, capsys: Capture) -> None:
    meta_trained(folder)
    model = trained_networks(folder)
    assert run("restore", "photo.png", "--model", model, "--force", "--out", "one.png") == 0
    said = capsys.readouterr().out
    assert "USRNet, noise" in said and "consistency" in said and "steps" not in said
    assert (folder / "one_kernel.png").exists()
    low, high = images.read(folder / "photo.png"), images.read(folder / "one.png")
    assert high.shape[-1] == 2 * low.shape[-1] and high.shape[-2] == 2 * low.shape[-2]
    assert run("restore", "photo.png", "--model", model, "--kernel", "one_kernel.npy", "--noise", "3") == 0
    assert "noise 3.0 of 255" in capsys.readouterr().out
    assert run("restore", "photo.png", "--model", model, "--scale", "3", "--out", "x3.png") == 1
    assert "trained for x2" in capsys.readouterr().err


def test_restore_by_an_untrained_network(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("srfoundry.restoration.restorers.dip.STEPS", 2)
    meta_trained(folder)
    blur_file(folder)
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(re.sub(r"(width|levels):( *)\d+", r"\1:\g<2>3", text))
    assert run("restore", "photo.png", "--model", "dip", "--kernel", "blur.npy", "--scale", "3", "--force") == 0
    assert "deep image prior" in capsys.readouterr().out
    assert run("restore", "photo.png", "--model", "models/none.safetensors", "--kernel", "blur.npy") == 1


def test_a_fallen_back_adaptation_is_said(folder: Path, capsys: Capture) -> None:
    """Steps that are far too long spoil no photograph, and the user is told so."""
    model = meta_trained(folder)
    blur_file(folder)
    net, card = cards.load(model)
    metrics = {"rates": [0.01, 1e4, 1e4]}
    cards.save(model, net, arch=card.arch, scale=2, made_by="metatrain", params_hash="0", metrics=metrics)
    assert run("restore", "photo.png", "--kernel", "blur.npy", "--model", model, "--steps", "3", "--force") == 0
    assert "adaptation diverged at step 2: fell back to step 1" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        program.main(["--version"])
    assert caught.value.code == 0 and re.fullmatch(r"srfoundry \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_help_is_quick_and_teaches() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "srfoundry.cli.program", "--help"]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "100"})
    assert "srfoundry upscale holiday/" in done.stdout and "restore" in done.stdout
    for heavy in ("torch", "numpy", "mlflow", "onnxruntime", "matplotlib", "PIL"):
        assert not any(line.rsplit("|", 1)[-1].strip() == heavy for line in done.stderr.splitlines()), heavy
    assert time.monotonic() - began < 20  # a hang, not a speed: what is imported decides that


@pytest.mark.parametrize("command", ["upscale", "restore", "degrade", "compare", "import", "models", "info"])
def test_every_command_explains_itself(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        run(command, "--help")
    assert caught.value.code == 0 and len(capsys.readouterr().out) > 60


@pytest.mark.parametrize("bad", ["0", "-3", "many", "2.5"])
def test_wrong_numbers_are_wrong_usage(folder: Path, bad: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        run("upscale", "photo.png", "--tile", bad)
    assert caught.value.code == 2 and "whole number of at least 16" in capsys.readouterr().err


def test_upscale_with_an_exported_model_loads_nothing_heavy(folder: Path) -> None:
    """PyTorch alone takes longer to load than a small image to enlarge."""
    code = (
        "import sys; from srfoundry.cli.program import main; status = main(sys.argv[1:]); "
        "heavy = {'torch', 'mlflow', 'pandas', 'scipy', 'matplotlib', 'onnx', 'pydantic'} & set(sys.modules); "
        "sys.exit(f'loaded {sorted(heavy)}' if heavy else status)"
    )
    for arguments in (["photo.png"], ["info"]):
        command = ["upscale", *arguments] if arguments != ["info"] else ["info", "exports/pruned.onnx"]
        done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (folder / "photo_x2.png").is_file()


def test_upscale_takes_the_model_that_fits_and_says_so(folder: Path, capsys: Capture) -> None:
    assert run("upscale", "photo.png") == 0
    assert "model" not in capsys.readouterr().out  # there is no other
    shutil.copy("exports/pruned.onnx", "exports/photo.onnx")
    image = photographs.clean("coffee")
    os.mkdir("album")
    image.save("album/a.png")
    image.save("album/b.jpg", quality=50)
    assert run("upscale", "album") == 0
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("album/a.png: model pruned, for it is hardly damaged: no JPEG, noise 0.0, blur 0.3")
    assert second == "album/b.jpg: model photo, for it was a JPEG of quality 50"
    assert last == "2 images below album_x2  (x2)"
    assert run("upscale", "album/b.jpg", "--model", "exports/") == 0
    assert "album/b.jpg: model photo, for it was" in capsys.readouterr().out
    for told in (["--member", "clean"], ["--member", "photo"], ["--model", "exports/pruned.onnx"]):
        assert run("upscale", "album/b.jpg", "--overwrite", *told) == 0
        assert "model" not in capsys.readouterr().out
    said = failure(capsys, "upscale", "photo.png", "--member", "photo", "--model", "exports/pruned.onnx")
    assert "--member takes a model out of a family" in said
    assert "one of photo, pruned, got fast" in failure(capsys, "upscale", "photo.png", "--member", "fast")


INTERRUPTED = """
import sys, time
from pathlib import Path
from srfoundry.cli import commands, program
from srfoundry.core import atomic

def info(options):
    atomic.write_bytes(Path("whole"), b"whole")
    with atomic.replacing(Path("half")) as partial:
        partial.write_bytes(b"half")
        print("begun", flush=True)
        time.sleep(600)

commands.info = info
sys.exit(program.main(["info"]))
"""


def test_an_interruption_is_not_held_up_by_a_long_step(tmp_path: Path) -> None:
    """A step of native code that takes minutes, as of a large tile: it does not look for signals."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert "interrupted" in process.communicate(timeout=120)[1] and process.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_existing_results_are_kept_or_replaced_as_asked(folder: Path, capsys: Capture) -> None:
    assert run("upscale", "photo.png") == 0
    (folder / "photo_x2.png").write_text("mine")
    assert "--overwrite" in failure(capsys, "upscale", "photo.png")
    assert run("upscale", "photo.png", "--skip-existing") == 0
    assert "nothing left to do" in capsys.readouterr().out and (folder / "photo_x2.png").read_text() == "mine"
    assert run("upscale", "photo.png", "--overwrite") == 0
    assert images.read(folder / "photo_x2.png").shape == (1, 3, 100, 140)
    for command in (["degrade", "photo.png"], ["compare", "photo.png"]):
        assert run(*command) == 0
        assert "--overwrite" in failure(capsys, *command)
        assert run(*command, "--overwrite") == 0


def test_several_images_and_a_new_folder(folder: Path, capsys: Capture) -> None:
    shutil.copy("photo.png", "other.png")
    assert run("upscale", "photo.png", "gone.png", "other.png", "--out", "new.folder/") == 1
    said = capsys.readouterr().err
    assert "gone.png not found" in said and "1 of 3 images" in said
    assert sorted(path.name for path in (folder / "new.folder").iterdir()) == ["other_x2.png", "photo_x2.png"]


def test_no_bad_item_ends_a_batch(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Whatever goes wrong: links that loop, names of any bytes, too little memory, our own faults."""
    album = folder / "album"
    album.mkdir()
    for name in ("a.png", "b.png", "c.png", os.fsdecode(b"caf\xe9.png"), "n" * 251 + ".png"):
        shutil.copy("photo.png", album / name)
    (album / "loop.png").symlink_to(album / "loop.png")
    (album / "gone.png").symlink_to(album / "nowhere.png")
    whole = files.upscale_file

    def upscale(job: Job, *more: Any, **named: Any) -> list[str]:
        if job.source.name == "a.png":
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory")
        if job.source.name == "b.png":
            raise KeyError("of ours")
        return whole(job, *more, **named)

    monkeypatch.setattr(files, "upscale_file", upscale)
    assert run("upscale", "album") == 1
    said = capsys.readouterr().err
    assert "a.png takes more memory than there is; run smaller tiles with --tile" in said
    assert "b.png: KeyError: 'of ours'; this is a fault of the program" in said and "4 of 7 images" in said
    assert "gone.png not found" in said and "loop.png is a link that leads to itself" in said
    made = {path.name for path in (folder / "album_x2").iterdir()}
    assert made == {"c.png", os.fsdecode(b"caf\xe9.png"), "n" * 251 + ".png"}
    with pytest.raises(KeyError):  # alone it shows where
        run("upscale", album / "b.png")
    assert "a.png takes more memory" in failure(capsys, "upscale", album / "a.png")
    assert run("upscale", album / os.fsdecode(b"caf\xe9.png")) == 0
    assert "caf\\udce9_x2.png" in capsys.readouterr().out


def test_networks_of_another_kind_are_named(folder: Path, capsys: Capture) -> None:
    meta, model = meta_trained(folder), trained_networks(folder)
    assert "srfoundry restore --model" in failure(capsys, "upscale", "photo.png", "--model", model)
    assert "srfoundry restore --model" in failure(capsys, "upscale", "photo.png", "--model", meta)
    assert "makes no image" in failure(capsys, "upscale", "photo.png", "--model", "models/corrector.safetensors")
    said = failure(capsys, "restore", "photo.png", "--model", "exports/pruned.onnx")
    assert "got exports/pruned.onnx" in said and "srfoundry upscale" in said and "damaged" not in said
    assert "got corrector in" in failure(capsys, "restore", "photo.png", "--model", "models/corrector.safetensors")


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("result.xyz", "names no picture format"),
        ("photo.png", "own source"),
        ("photo.png/a.png", "cannot write to"),
        ("/proc/a.png", "cannot write to"),
    ],
)
def test_compare_names_a_bad_place_before_the_work(folder: Path, capsys: Capture, out: str, words: str) -> None:
    assert words in failure(capsys, "compare", "photo.png", "--out", out)


def test_compare_tells_figures_and_takes_folders_and_several_models(folder: Path, capsys: Capture) -> None:
    (folder / "album").mkdir()
    Image.open("photo.png").resize((200, 210)).save("album/a.png")
    Image.open("photo.png").resize((40, 30)).save("album/b.png")
    Path("album/c.gif").touch()
    assert run("compare", "album", "--beside", "exports/pruned.onnx", "--model", folder / "exports/pruned.onnx") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err.startswith("left out: 1 .gif, which cannot be read")
    assert lines[0].split() == ["image", "method", "PSNR-Y", "SSIM-Y", "NIQE"] and lines[-1] == "before_after.png"
    assert [line.split()[:2] for line in lines[1:3]] == [["a.png", "bicubic"], ["a.png", "pruned"]]
    assert lines[4].split()[:2] == ["b.png", "bicubic"] and lines[4].endswith(" -"), "too small for NIQE"
    assert lines[7].startswith("mean") and "(median" in lines[7]
    assert "is named twice" in failure(
        capsys, "compare", "album", "--overwrite", *["--beside", "exports/pruned.onnx"] * 2
    )


def test_compare_takes_photographs_as_they_are(folder: Path, capsys: Capture) -> None:
    assert run("compare", "--real", "photo.png", "--out", "real.png") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["image", "method", "NIQE"][: len(lines[0].split())]
    assert [line.split()[:2] for line in lines[1:3]] == [["photo.png", "bicubic"], ["photo.png", "srfoundry"]]
    with Image.open("real.png") as drawn:
        assert drawn.width > drawn.height


def test_compare_leaves_out_what_is_too_small(folder: Path, capsys: Capture) -> None:
    pixels(1, 1).save("dot.png")
    assert "dot.png is smaller than the scale 2" in failure(capsys, "compare", "dot.png")
    assert run("compare", "dot.png", "photo.png", "--out", "pictures/") == 1
    assert (folder / "pictures" / "before_after.png").exists()
    assert "1 of 2 images" in capsys.readouterr().err


@pytest.mark.parametrize("bad", ["100000", "0", "9" * 30])
def test_threads_are_bounded(folder: Path, bad: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        run("upscale", "photo.png", "--threads", bad)
    assert caught.value.code == 2 and "whole number from 1 to" in capsys.readouterr().err

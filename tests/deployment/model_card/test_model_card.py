"""A card says what was measured, in words that hubs and people read, the same bytes each time."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

from srfoundry.core import seeds
from srfoundry.degradation.blurred_sets import BLURRED
from srfoundry.deployment.model_card import folder, gathering, measuring, text
from srfoundry.deployment.model_card.text import Facts
from srfoundry.imaging import images, metrics, resize
from srfoundry.runtime.session import BICUBIC, Session
from tests import tiny


@pytest.fixture(scope="module")
def session() -> Session:
    """The tiny network."""
    return Session(tiny.exported()[0], threads=1, device="cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/synthesize with a part of a bundled photograph, reduced by bicubic and directly."""
    made = tmp_path_factory.mktemp("synthesize")
    chelsea = next(path for path in images.bundled() if path.stem == "chelsea")
    high = images.read(chelsea)[..., :96, :120]
    for kind, image in {"high": high, "bicubic": resize.cubic(high, 0.5), "gauss20": high[..., ::2, ::2]}.items():
        images.write(image, made / "held_out" / kind / "chelsea.png")
    return made


def test_sets_under_one_blur_are_measured_on_their_own_grid() -> None:
    assert measuring.BESIDE == set(BLURRED) and measuring.BESIDE <= set(measuring.WORDS)


def test_each_way_that_photographs_were_made_small_is_a_row(session: Session, data: Path) -> None:
    rows = measuring.measure(session, data / "held_out")
    assert [row.test for row in rows] == [BICUBIC, "jpeg", "noise", "gauss20"]
    assert rows[0].bicubic > rows[1].bicubic and rows[0].bicubic > rows[2].bicubic
    high, low = (images.read(data / "held_out" / kind / "chelsea.png") for kind in ("high", "bicubic"))
    assert rows[0].bicubic == pytest.approx(metrics.psnr_y(resize.cubic(low, 2).clamp(0, 1), high, 2))
    assert rows == measuring.measure(session, data / "held_out")
    assert measuring.measure(session, data / "nothing") == []


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_on_the_grid_a_directly_reduced_image_lies_where_the_original_does(scale: int) -> None:
    """A ramp: its pixels kept and enlarged are a ramp again, on the same grid."""
    ramp = torch.linspace(0.2, 0.8, 48 * scale).expand(1, 3, 24 * scale, -1)
    large = resize.cubic(ramp[..., ::scale, ::scale], scale)
    inside = (..., slice(4 * scale, -4 * scale))
    moved = measuring.onto_grid(large, scale)
    assert (moved - ramp)[inside].abs().max() < 1e-4 < (large - ramp)[inside].abs().max()


def test_the_card_has_figures_limits_and_what_hubs_index(session: Session, data: Path, tmp_path: Path) -> None:
    facts = gathering.gather(session, 1234, data)
    assert facts.bundled and facts.held_out == ["chelsea"]
    written = folder.write(tmp_path / "card", tiny.exported()[0], facts, "me/tiny-x2", b"a picture")
    assert written == ["README.md", "before_after.png", "config.json", "model.onnx"]
    card = ModelCard.load(tmp_path / "card" / "README.md")
    indexed: Any = card.data
    assert indexed.pipeline_tag == "image-to-image" and indexed.license == "unknown"
    assert len(indexed.eval_results) == 2 * len(facts.rows)
    assert indexed.eval_results[0].metric_value == round(facts.rows[0].model, 2)
    for said in (
        "has never seen blur, noise or JPEG",
        "DRN",
        "(before_after.png)",
        "models:/srfoundry@champion",
        "chelsea",
    ):
        assert said in card.text
    assert all(f"| {measuring.words(row.test, 2)} | {row.bicubic:.2f} dB" in card.text for row in facts.rows)
    assert json.loads((tmp_path / "card" / "config.json").read_text())["scale"] == 2
    before = {path.name: path.read_bytes() for path in (tmp_path / "card").iterdir()}
    folder.write(tmp_path / "card", tiny.exported()[0], facts, "me/tiny-x2", b"a picture")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "card").iterdir()}


def test_without_photographs_the_figures_are_the_files_own(session: Session, tmp_path: Path) -> None:
    facts = gathering.gather(session, 1234, tmp_path)
    assert not facts.bundled and "30.00 dB | 31.00 dB | +1.00 dB" in text.readme(facts, "tiny")
    assert "31.00 dB PSNR-Y, +1.00 dB over bicubic" in text.short(facts)
    bare = Facts(card=dataclasses.replace(session.card, metrics={}), size=1)
    assert "no held-out photographs were there" in text.readme(bare, "tiny")


def test_a_card_says_what_damage_its_model_was_trained_for(session: Session, data: Path) -> None:
    """Degradation, its ranges, the dual map; its own test set comes first, and clean images are no surprise."""
    trained = {
        "degradation": "photographs",
        "dual_map": "operator",
        "clean": 0.2,
        "blur": {"variances": [0.04, 2.5], "motion": 0.15},
        "damage": {"noisy": 0.5, "noise": 0.08, "grey": 0.4, "poisson": 0.4, "packed": 0.5, "jpeg": [30, 95]},
        "rounds": {"once": 0.5, "first_blur": [0.2, 2.0], "second_blur": [0.2, 1.2], "second_blurred": 0.5}
        | {"resize": [0.5, 1.2], "sharpened": 0.1},
    }
    scores = {
        f"held_out.{test}": {"psnr_y": 27.0, "gain_db": gain} for test, gain in (("photographs", 0.5), ("bicubic", 1))
    }
    metrics = {**session.card.metrics, **scores, "held_out.set": "photographs"}
    card = dataclasses.replace(session.card, trained_for=trained, metrics=metrics, made_by="photo_compress")
    facts = Facts(card=card, size=1)
    said = " ".join(text.readme(facts, "photo").split())
    for words in (
        "Enlarges photographs from cameras and the web 2 times",
        "blur (deviations 0.2 to 2 pixels, then 0.2 to 1.2 pixels)",
        "noise of a deviation up to 20 of 255 (50% of the images)",
        "JPEG of quality 30 to 95 (50%)",
        "20% reduced by MATLAB's bicubic alone",
        "the very blur and reduction that had made the small image brings the large one back",
        "JPEG of a quality below 30",
        "made smaller by searching",
    ):
        assert words in said, words
    assert "has never seen blur, noise or JPEG" not in said
    assert [row["dataset"]["name"] for row in text.front_matter(facts, "photo")["model-index"][0]["results"]] == [
        f"held-out photographs, {measuring.words(test, 2)}" for test in ("photographs", BICUBIC)
    ]
    assert "27.00 dB PSNR-Y, +0.50 dB over bicubic" in text.short(facts)


@pytest.mark.parametrize(("scale", "kept"), [(2, "second"), (3, "third"), (4, "fourth"), (8, "eighth")])
def test_a_card_says_which_pixels_stayed_at_its_scale(session: Session, scale: int, kept: str) -> None:
    """Of figures that were measured and of those that the card carries, once each; a blur's variance is called that."""
    scores = {f"held_out.{test}": {"psnr_y": 27.0, "gain_db": 0.5} for test in ("gauss20", "aniso")}
    card = dataclasses.replace(session.card, scale=scale, metrics={**session.card.metrics, **scores})
    facts = Facts(card=card, size=1, rows=[measuring.Row("gauss20", 26.0, 27.0, 0.8)])
    said = " ".join(text.readme(facts, "tiny").split())
    table = [line for line in text.readme(facts, "tiny").splitlines() if line.startswith("| blurred")]
    assert len(table) == 2 and all(f"then every {kept} pixel;" in line for line in table)
    assert f"Where every {kept} pixel was taken" in said
    assert said.count("pixel;") == said.count(f"every {kept} pixel;")
    assert "Gaussian of variance 2.0 square pixels" in said and "of width" not in said


def test_ones_own_photographs_are_not_named(session: Session) -> None:
    """Neither those that it was trained on nor those that it was measured on; the bundled ones are."""
    facts = Facts(session.card, 1, trained_on=["at_the_hospital", "b"], held_out=["our_children", "c"])
    said = text.readme(facts, "tiny")
    assert "hospital" not in said and "children" not in said
    assert "2 photographs" in said and "2 held-out photographs" in said
    said = text.readme(dataclasses.replace(facts, bundled=True), "tiny")
    assert "at_the_hospital" in said and "our_children" in said


@pytest.mark.parametrize(("clean", "damaged", "less"), [(1.0, 0.1, True), (-0.16, 0.13, False), (None, 0.1, False)])
def test_what_a_model_gains_on_damaged_images_is_said_by_its_figures(
    session: Session, clean: float | None, damaged: float, *, less: bool
) -> None:
    gains = {"jpeg": damaged} | ({} if clean is None else {BICUBIC: clean})
    rows = [measuring.Row(test, 27.0, 27.0 + gain, 0.8) for test, gain in gains.items()]
    card = dataclasses.replace(session.card, metrics={"held_out.set": BICUBIC})
    said = " ".join(text.readme(Facts(card, 1, rows), "tiny").split())
    assert ("On such images it gains less, as the table shows" in said) == less
    assert ("What it gains on such images" in said) != less


def test_a_small_error_of_tiles_is_not_called_none(session: Session) -> None:
    for error, shown in ((3e-6, "by less than 0.0001 of the range"), (0.0012, "by 0.0012 of the range")):
        card = dataclasses.replace(session.card, tile_error=error)
        assert shown in " ".join(text.readme(Facts(card, 1), "tiny").split())


def test_a_namesake_is_not_a_bundled_photograph(data: Path, tmp_path: Path) -> None:
    assert gathering.is_bundled(data / "held_out" / "high" / "chelsea.png")
    rng = seeds.generator(0, "namesake")
    strange = torch.randint(0, 256, (32, 32, 3), generator=rng, dtype=torch.uint8).numpy()
    for name in ("chelsea", "somebody"):
        Image.fromarray(np.ascontiguousarray(strange)).save(tmp_path / f"{name}.png")
        assert not gathering.is_bundled(tmp_path / f"{name}.png")

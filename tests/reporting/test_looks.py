"""The picture of photographs as they are has a row an image, and is the same bytes each time."""

from pathlib import Path

from PIL import Image

from srfoundry.imaging import images, looks, resize
from srfoundry.reporting.looks import sheet

LOW = images.read(looks.free_photographs()[2])[..., :120, :140]


def test_sheet_has_a_row_an_image(tmp_path: Path) -> None:
    made = [
        looks.look(
            name, LOW, {"soft": lambda low: resize.cubic(low, 2), "loud": lambda low: 1.5 * resize.cubic(low, 2)}, 2
        )
        for name in ("one", "two")
    ]
    scores = [each.scores() for each in made]
    sheet(tmp_path / "one.png", made[:1], scores[:1])
    sheet(tmp_path / "two.png", made, scores)
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert (two.width, two.height) == (one.width, 2 * one.height) and one.width > 4 * 288
    sheet(tmp_path / "again.png", made, scores)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "two.png").read_bytes()

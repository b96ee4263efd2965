"""Pictures of compression: drawn, and the same bytes every time."""

from pathlib import Path

from srfoundry.reporting.compression import family_picture, methods_picture, widths_picture


def test_pictures_are_the_same_every_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        rows = [{"step": 1.0, "removed": 0.1}, {"step": 2.0, "removed": 0.3}]
        widths_picture(tmp_path / name / "w.png", ["a", "b"], [8, 8], [4, 8], rows, 0.3)
        psnr = {"dense": 31.0, "small": 30.9}
        costs = {"parameters, K": {"dense": 100.0, "small": 50.0}, "time, ms": {"dense": 9.0, "small": 6.0}}
        family_picture(tmp_path / name / "f.png", psnr, costs)
    for file in ("w.png", "f.png"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_picture_of_methods_is_the_same_every_time(tmp_path: Path) -> None:
    psnr = {"dense": (31.0, 0.1), "msgc": (30.9, 0.2)}
    costs = {"multiply-adds, G": {"dense": 2.0, "msgc": 1.0}, "time, ms": {"dense": 9.0, "msgc": 6.0}}
    for name in ("one", "two"):
        methods_picture(tmp_path / f"{name}.png", psnr, costs)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()

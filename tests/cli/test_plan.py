"""Results never meet, never replace an input of the call, and replace what is there only on demand."""

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from srfoundry.cli.place import Existing, Place
from srfoundry.cli.plan import Job, Naming, Plan, check_names, plan
from srfoundry.cli.program import main
from srfoundry.core.errors import FoundryError
from tests import tiny

LARGE = Naming("x2")
RESTORED = Naming("restored", beside=("_kernel.npy", "_kernel.png"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def targets(planned: Plan) -> dict[str, str]:
    """What each image becomes."""
    return {job.source.as_posix(): os.path.relpath(job.target) for job in planned.jobs}


def test_names_with_dots_are_kept_whole() -> None:
    touch("photo.png", "photo.v1.png", "album/holiday.png", "album/holiday.2.png")
    (job,) = plan([Path("photo.v1.png")], None, RESTORED).jobs
    assert [path.name for path in job.outputs] == [
        "photo.v1_restored.png",
        "photo.v1_restored_kernel.npy",
        "photo.v1_restored_kernel.png",
    ]
    assert targets(plan([Path("album")], None, LARGE)) == {
        "album/holiday.png": "album_x2/holiday.png",
        "album/holiday.2.png": "album_x2/holiday.2.png",
    }


@pytest.mark.parametrize("naming", [LARGE, RESTORED])
@pytest.mark.parametrize(
    "names",
    [
        ["a.jpg", "a.png", "a_jpg.png"],
        ["a.png", "a_kernel.jpg"],
        ["a.png", "a_kernel.png", "a_kernel.jpg", "a_kernel_png.png"],
        ["a.png", "A.PNG", "a.PNG", "a_png.jpg", "a_png_2.jpg"],
        ["é.png", "e\u0301.png"],
        ["a.jpg", "a.jpeg", "a.jfif", "a_jpg.tif", "a_jpeg.webp"],
    ],
)
def test_no_two_results_have_one_name(naming: Naming, names: list[str]) -> None:
    """Not even where upper and lower case are the same."""
    touch(*(f"album/{name}" for name in names))
    jobs = plan([Path("album")], None, naming).jobs
    written = [str(path).casefold() for job in jobs for path in job.outputs]
    assert len(jobs) == len(names) and len(set(written)) == len(written)
    together = plan([Path("album") / name for name in names], Place.of("to/"), naming).jobs
    written = [str(path).casefold() for job in together for path in job.outputs]
    assert len(together) == len(names) and len(set(written)) == len(written)


def test_several_images_and_folders_go_into_one() -> None:
    touch("a.png", "one/b.png", "two/b.png", "two/deep/c.jpg")
    sources = [Path("a.png"), Path("one"), Path("two"), Path("a.png")]
    assert targets(plan(sources, Place.of("new.folder/"), LARGE)) == {
        "a.png": "new.folder/a_x2.png",
        "one/b.png": "new.folder/one/b.png",
        "two/b.png": "new.folder/two/b.png",
        "two/deep/c.jpg": "new.folder/two/deep/c.png",
    }
    assert targets(plan(sources[:2], None, LARGE)) == {"a.png": "a_x2.png", "one/b.png": "one_x2/b.png"}
    assert plan([Path("a.png")], Place.of("new.folder/"), LARGE).jobs[0].target == Path("new.folder/a_x2.png")
    assert plan([Path("a.png")], Place.of("b.c.jpg"), LARGE).jobs[0].target == Path("b.c.jpg")
    with pytest.raises(FoundryError, match="must be a folder"):
        plan([Path("a.png"), Path("one")], Place.of("a.png"), LARGE)


@pytest.mark.parametrize("here", [".", "./", "../album", "../album/."])
def test_the_working_folder_is_a_folder_as_any_other(monkeypatch: pytest.MonkeyPatch, here: str) -> None:
    touch("album/a.png", "album/deep/b.png")
    monkeypatch.chdir("album")
    made = targets(plan([Path(here)], None, LARGE)).values()
    assert list(made) == ["../album_x2/a.png", "../album_x2/deep/b.png"]


def test_an_empty_argument_is_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    touch("a.png")
    for arguments in (["upscale", ""], ["restore", "a.png", "--out", ""]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2 and "an argument is empty" in capsys.readouterr().err


def test_results_may_go_into_a_parent_but_not_among_the_images() -> None:
    touch("album/a.png", "album/deep/b.png")
    assert targets(plan([Path("album")], Place.of("."), LARGE)) == {
        "album/a.png": "a.png",
        "album/deep/b.png": "deep/b.png",
    }
    assert len(plan([Path("album/deep")], Place.of(".."), LARGE).jobs) == 1
    touch("album/large/a.png")
    assert targets(plan([Path("album")], Place.of("album/large"), LARGE, existing="overwrite")) == {
        "album/a.png": "album/large/a.png",
        "album/deep/b.png": "album/large/deep/b.png",
    }
    with pytest.raises(FoundryError, match="among the images"):
        plan([Path("album")], Place.of("album/../album"), LARGE)


@pytest.mark.parametrize("existing", ["refuse", "overwrite"])
def test_no_input_is_replaced(existing: Existing) -> None:
    touch("a.png", "a_x2.png", "b_kernel.png", "low_kernel.npy", "album/album/a.png")
    Path("link.png").symlink_to("a.png")
    with pytest.raises(FoundryError, match="own source a_x2.png"):
        plan([Path("a.png"), Path("a_x2.png")], None, LARGE, existing=existing)
    with pytest.raises(FoundryError, match="own source b_kernel.png"):
        plan([Path("b_kernel.png")], Place.of("b.png"), RESTORED, existing=existing)
    with pytest.raises(FoundryError, match="own source low_kernel.npy"):
        plan([Path("a.png")], Place.of("low.png"), RESTORED, existing=existing, read=[Path("low_kernel.npy")])
    with pytest.raises(FoundryError, match="own source a.png"):
        plan([Path("a.png")], Place.of("link.png"), LARGE, existing=existing)


def test_what_is_there_stays_unless_it_may_go() -> None:
    touch("album/a.png", "album/b.png", "album_x2/a.png", "c.png", "c_restored_kernel.npy")
    with pytest.raises(
        FoundryError, match=r"album_x2/a.png would be replaced; allow it with --overwrite.*--skip-existing"
    ):
        plan([Path("album")], None, LARGE)
    assert len(plan([Path("album")], None, LARGE, existing="overwrite").jobs) == 2
    planned = plan([Path("album")], None, LARGE, existing="skip")
    assert [job.source.name for job in planned.jobs] == ["b.png"]
    assert planned.remarks() == ["1 results are there already and stay as they are"]
    advice: dict[Existing, str] = {"refuse": "keep what is there with --skip-existing", "skip": "remove what is left"}
    for existing, words in advice.items():
        with pytest.raises(FoundryError, match=f"c_restored_kernel.npy would be replaced.*{words}"):
            plan([Path("c.png")], None, RESTORED, existing=existing)


def test_a_glob_that_is_used_again_does_not_take_results_for_images() -> None:
    touch("a.png", "b.png", "a_restored.png", "a_restored_kernel.png", "a_restored_restored.png", "c_restored.png")
    images = sorted(Path().glob("*.png"))
    planned = plan(images, None, RESTORED, existing="skip")
    assert targets(planned) == {"b.png": "b_restored.png", "c_restored.png": "c_restored_restored.png"}
    assert planned.remarks() == [
        "1 results are there already and stay as they are",
        "left out: 3 images that are results of others of this call",
    ]
    assert targets(plan([Path("a_restored.png"), Path("b.png")], Place.of("to/"), RESTORED, existing="skip")) == {
        "a_restored.png": "to/a_restored_restored.png",
        "b.png": "to/b_restored.png",
    }


def test_places_that_cannot_be_written_are_said_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("a.png")
    Path("a_x2.png").mkdir()
    for out in ("a.png/b.png", "/proc/a.png", "a.png/deep/b.png"):
        with pytest.raises(FoundryError, match="cannot write to .*--out"):
            plan([Path("a.png")], Place.of(out), LARGE)
    with pytest.raises(FoundryError, match="a folder has that name"):
        plan([Path("a.png")], None, LARGE, existing="overwrite")

    def refuse(*_: object) -> int:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch, pytest.raises(FoundryError, match="Read-only file system"):
        patch.setattr(os, "open", refuse)
        plan([Path("a.png")], Place.of("b.png"), LARGE)
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["a.png", "a_x2.png"]


def test_a_name_that_is_too_long_is_said() -> None:
    name = "n" * 251
    touch(f"{name}.png")
    (job,) = plan([Path(f"{name}.png")], None, LARGE).jobs
    with pytest.raises(FoundryError, match="258 bytes, 255 are the most"):
        check_names(job)
    check_names(Job(Path("a.png"), Path(f"{name}.png")))


def test_pictures_that_cannot_be_read_are_counted() -> None:
    touch("album/a.png", "album/b.HEIC", "album/c.heic", "album/d.gif", "album/notes.txt", "other/e.avif")
    assert plan([Path("album")], None, LARGE).remarks() == [
        "left out: 1 .gif, 2 .heic, which cannot be read; save them as PNG or JPEG"
    ]
    with pytest.raises(FoundryError, match=r"holds no photograph.*1 \.avif"):
        plan([Path("other")], None, LARGE)


def test_thousands_of_names_are_planned_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in looks at the disk, not in seconds: a few for each image, however many there are."""
    looks: list[str] = []
    real = os.lstat

    def lstat(path: str, *more: Any, **named: Any) -> os.stat_result:
        looks.append(path)
        return real(path, *more, **named)

    counts = {}
    monkeypatch.setattr(os, "lstat", lstat)
    for many in (200, 400):
        touch(*(f"{many}/{index}.{ending}" for index in range(many // 2) for ending in ("png", "jpg")))
        looks.clear()
        assert len({job.target for job in plan([Path(str(many))], None, LARGE).jobs}) == many
        counts[many] = len(looks)
    assert counts[400] <= 2 * counts[200]


def test_names_that_some_file_systems_take_for_one_are_kept_apart() -> None:
    names = [
        "a.jpg",
        "a.png",
        "A.png",
        "A.JPG",
        "\u00e9.png",
        "e\u0301.png",
        "\u00c9.png",
        "stra\u00dfe.png",
        "STRASSE.png",
    ]
    touch(*(f"in/{name}" for name in names))
    outputs = [path.name for job in plan([Path("in")], None, RESTORED).jobs for path in job.outputs]
    assert len({unicodedata.normalize("NFC", name).casefold() for name in outputs}) == len(names) * 3
    assert len({unicodedata.normalize("NFD", name).casefold() for name in outputs}) == len(names) * 3


@pytest.mark.parametrize("existing", ["refuse", "overwrite", "skip"])
def test_no_link_leads_a_result_to_a_source(existing: Existing) -> None:
    touch("a.png", "hard.png")
    Path("a_x2.png").symlink_to("a.png")
    Path("hard_x2.png").hardlink_to("hard.png")
    for name in ("a.png", "hard.png"):
        if existing == "skip":
            assert not plan([Path(name)], None, LARGE, existing=existing).jobs
            continue
        with pytest.raises(FoundryError, match="its own source"):
            plan([Path(name)], None, LARGE, existing=existing)


def test_links_in_circles_and_folders_called_as_images() -> None:
    touch("in/a.png", "in/deep.png/b.png")
    Path("in/loop").symlink_to("..")
    Path("in/self.png").symlink_to("self.png")
    Path("in/gone.png").symlink_to("nowhere.png")
    found = plan([Path("in")], None, LARGE)
    assert sorted(job.source.as_posix() for job in found.jobs) == [
        *("in/a.png", "in/deep.png/b.png", "in/gone.png", "in/self.png")
    ]
    (job,) = plan([Path("in/deep.png")], None, LARGE).jobs
    assert os.path.relpath(job.target) == "in/deep.png_x2/b.png"
    touch("c.png")
    Path("c_x2.png").mkdir()
    with pytest.raises(FoundryError, match="a folder has that name"):
        plan([Path("c.png")], None, LARGE, existing="overwrite")


def test_any_name_that_a_file_can_have_is_planned() -> None:
    names = ["a\nb.png", "-rf.png", "\udcff.png", "a\x1b[31m.png", " .png", "%s{}.png", "x" * 200 + ".png"]
    touch(*(f"in/{name}" for name in names))
    jobs = plan([Path("in")], None, RESTORED).jobs
    assert len({path for job in jobs for path in job.outputs}) == 3 * len(names)
    for job in jobs:
        check_names(job)
        assert job.target.name.startswith(job.source.stem)


def test_a_name_is_printed_on_one_line_without_what_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a\nerror: \x1b[2J.png").write_bytes(b"no picture")
    assert main(["upscale", "a\nerror: \x1b[2J.png", "--model", "none.onnx"]) == 1
    assert main(["upscale", "a\nerror: \x1b[2J.png"]) == 1
    said = capsys.readouterr().err
    assert "\x1b" not in said and len(said.splitlines()) == 2


def test_a_name_under_a_bar_is_one_that_no_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a\x1b[2J.png", "b.png"):
        Path(name).write_bytes(b"no picture")
    Path("pruned.onnx").write_bytes(tiny.exported()[0])
    assert main(["upscale", "b.png", "a\x1b[2J.png", "--model", "pruned.onnx"]) == 1
    said = capsys.readouterr().err
    assert "\x1b[2J" not in said and "a\\x1b[2J.png]" in said

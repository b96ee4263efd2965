"""What changes at the source is served without a restart, if it is fit."""

from pathlib import Path

import pytest

from srfoundry.core.errors import FoundryError
from srfoundry.serving.following import Follower
from srfoundry.serving.members import Family
from srfoundry.serving.problems import Problem
from srfoundry.serving.sources import Folder, Offer
from tests import served
from tests.conftest import wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one model."""
    (tmp_path / "pruned.onnx").write_bytes(served.model())
    return tmp_path


def follower(folder: Path, refused: list[str] | None = None) -> Follower:
    seen = [] if refused is None else refused
    made = Follower(Folder(folder), Family(), threads=1, device="cpu", refused=seen.append)
    made.begin()
    return made


def test_a_new_file_is_taken_and_a_broken_one_is_not(folder: Path) -> None:
    refused: list[str] = []
    found = follower(folder, refused)
    first = found.family.find(None).loaded
    found.look()
    assert found.family.find("pruned").loaded is first  # nothing changed
    (folder / "pruned.onnx").write_bytes(served.model(0.01))
    found.look()
    second = found.family.find(None).loaded
    assert second.version != first.version
    for _ in range(2):
        (folder / "pruned.onnx").write_bytes(served.model(0.3))
        found.look()
    member = found.family.find(None)
    assert member.loaded is second and "bicubic" in member.refused["why"] and refused == ["pruned"]
    (folder / "pruned.onnx").write_bytes(served.model())
    found.look()
    assert found.family.find(None).loaded.version == first.version and not found.family.find(None).refused


def test_members_come_and_stay(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What the source has no longer is served on, and said once; the default stays who it was."""
    found = follower(folder)
    (folder / "dual.onnx").write_bytes(served.model(0.02))
    found.look()
    assert [member.name for member in found.family.members()] == ["pruned", "dual"]
    with pytest.raises(Problem, match="No such model") as caught:
        found.family.find("other")
    assert "one of auto, pruned, dual" in caught.value.detail
    (folder / "pruned.onnx").unlink()
    for _ in range(2):
        found.look()
    assert found.family.default == "pruned" and found.family.find("pruned").loaded.version
    assert [record.message.partition(";")[0] for record in caplog.records] == [f"pruned is not in {folder} any more"]
    (folder / "pruned.onnx").write_bytes(served.model(0.01))
    found.look()
    assert caplog.records[-1].message.startswith("pruned is version ")
    for name in ("pruned", "dual"):
        (folder / f"{name}.onnx").unlink()
    found.look()  # the source has nothing: what is here goes on
    assert found.family.default == "pruned"


def test_a_source_that_raises_is_survived(folder: Path) -> None:
    class Broken(Folder):
        def fetch(self, offer: Offer) -> bytes:
            raise FoundryError("gone")

    found = follower(folder)
    found.source = Broken(folder)
    (folder / "pruned.onnx").write_bytes(served.model(0.01))
    before = found.family.find(None).loaded
    found.look()
    assert found.family.find(None).loaded is before
    found.source = Folder(folder)
    found.look()
    assert found.family.find(None).loaded is not before


def test_what_is_below_bicubic_by_its_card_is_served_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """exports/ holds what the last night made."""
    (folder / "pruned.onnx").write_bytes(served.model(gain=-0.4))
    found = follower(folder)
    found.look()
    assert len(caplog.records) == 1 and "is below bicubic, -0.40 dB" in caplog.records[0].message


class Lost(Folder):
    """A folder that names a file and does not hand it out."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.why, self.fetches = "its file is gone", 0

    def fetch(self, offer: Offer) -> bytes:
        self.fetches += 1
        if not self.why:
            return super().fetch(offer)
        raise FoundryError(self.why)


def test_what_cannot_be_fetched_is_said_once_and_tried_ever_more_seldom(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A look a second: a day has 86,400."""
    found = follower(folder)
    found.source = source = Lost(folder)
    (folder / "pruned.onnx").write_bytes(served.model(0.01))
    before = found.family.find(None).loaded
    for _ in range(1000):
        found.look()
    assert [record.message for record in caplog.records] == ["its file is gone"]
    assert source.fetches < 20 and found.family.find(None).loaded is before
    source.why = "status 503"
    for _ in range(1000):
        found.look()
    assert [record.message for record in caplog.records] == ["its file is gone", "status 503"]
    source.why = ""
    for _ in range(300):
        found.look()
    assert found.family.find(None).loaded is not before


def test_another_version_is_tried_at_once(folder: Path) -> None:
    found = follower(folder)
    found.source = source = Lost(folder)
    (folder / "pruned.onnx").write_bytes(served.model(0.01))
    before = found.family.find(None).loaded
    for _ in range(100):
        found.look()
    source.why = ""
    (folder / "pruned.onnx").write_bytes(served.model(0.02))
    found.look()
    assert found.family.find(None).loaded is not before


def test_what_nobody_foresaw_is_logged_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Folder):
        def offers(self) -> list[Offer]:
            raise RuntimeError("a driver's own")

    looks: list[None] = []
    found = Follower(Folder(folder), Family(), threads=1, device="cpu", failed=lambda: looks.append(None))
    found.begin()
    found.source = Broken(folder)
    found.follow(0.001)
    wait_until(lambda: len(looks) > 5)
    found.close()
    assert [record.message for record in caplog.records] == [f"looking at {folder} failed"]


@pytest.mark.parametrize("blob", [None, b"no model"], ids=["empty", "damaged"])
def test_a_server_without_models_does_not_begin(tmp_path: Path, blob: bytes | None) -> None:
    if blob is not None:
        (tmp_path / "pruned.onnx").write_bytes(blob)
    with pytest.raises(FoundryError, match="no .onnx file|can be served"):
        follower(tmp_path)

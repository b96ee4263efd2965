"""A version is served if a picture comes back as it should, and is refused with the reason otherwise."""

import pytest

from srfoundry.core.errors import FoundryError
from srfoundry.serving import self_test
from tests import served


def test_a_sound_model_is_planned_and_timed() -> None:
    loaded = self_test.load(served.model(), "7", threads=2, device="cpu")
    assert loaded.version == "7" and loaded.size == len(served.model()) and loaded.seconds > 0
    assert set(loaded.sessions) == {2, loaded.plan.threads} and 2 % loaded.plan.threads == 0
    later = self_test.load(served.model(0.01), "8", threads=2, device="cpu", before=loaded)
    assert later.plan == loaded.plan and later.seconds > 0
    picture = self_test.picture(32)
    assert loaded.run(picture, 2).shape == (1, 3, 64, 64)


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        (served.model(0.3), "within 20 dB of bicubic"),
        (served.model(float("nan")), "not finite"),
        (b"no model", "not a usable ONNX model"),
    ],
    ids=["far from bicubic", "not finite", "no model"],
)
def test_broken_models_are_refused(blob: bytes, why: str) -> None:
    with pytest.raises(FoundryError, match=why):
        self_test.load(blob, "1", threads=1, device="cpu")


def test_a_successor_must_enlarge_by_the_same_scale() -> None:
    before = self_test.load(served.model(), "1", threads=1, device="cpu")
    with pytest.raises(FoundryError, match="by 3, its predecessor by 2"):
        self_test.load(served.model(scale=3), "2", threads=1, device="cpu", before=before)

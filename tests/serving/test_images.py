"""The format that a client likes best."""

import pytest

from srfoundry.serving.images import wanted
from srfoundry.serving.problems import Problem


@pytest.mark.parametrize(
    ("accept", "suffix"),
    [
        (None, ".png"),
        ("", ".png"),
        ("image/avif,image/webp,image/apng,image/*,*/*;q=0.8", ".webp"),
        ("IMAGE/JPEG; Q=0.5 , image/png;q=0.4", ".jpg"),
        ("image/png;q=oops, image/jpeg;q=0.1", ".jpg"),
        ("image/jpeg;q=9", ".jpg"),
    ],
)
def test_wanted(accept: str | None, suffix: str) -> None:
    assert wanted(accept) == suffix


@pytest.mark.parametrize("accept", ["text/html", "image/gif", "image/png;q=0", ",;,"])
def test_other_formats_are_refused(accept: str) -> None:
    with pytest.raises(Problem) as caught:
        wanted(accept)
    assert caught.value.status == 406

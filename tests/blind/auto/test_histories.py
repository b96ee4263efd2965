"""What may have happened to an image is drawn in its shares."""

import torch

from srfoundry.blind.auto import histories
from srfoundry.core.seeds import generator


def test_histories_are_drawn_in_their_shares_and_fit_their_kernels() -> None:
    drawn = histories.draw(200, 2, rng=generator(2, "histories"))
    assert torch.equal(drawn.kernel, histories.draw(200, 2, rng=generator(2, "histories")).kernel)
    assert (drawn.kernel.sum(dim=(-2, -1)) - 1).abs().max() < 1e-4
    counts = torch.bincount(drawn.history, minlength=len(histories.NAMES))
    assert (counts / 200 - torch.tensor(list(histories.SHARES.values()))).abs().max() < 0.08
    decimated = drawn.kernel[drawn.history == histories.NAMES.index("decimated")]
    assert bool((decimated.flatten(1).max(dim=1).values == 1).all())


def test_forms_are_drawn_alone_where_they_are_asked_for() -> None:
    drawn = histories.draw(6, 2, shares={"line": 1.0}, rng=generator(2, "histories"))
    assert set(drawn.history.tolist()) == {histories.NAMES.index("line")}

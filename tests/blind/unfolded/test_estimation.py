"""The estimate of one image: a centred kernel, the same for every turn of the image, and what is refused."""

import pytest
import torch

from srfoundry.blind.unfolded.estimation import CANDIDATES, ROUNDS, estimate_kernel_by_rounds
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator, redraw
from srfoundry.degradation import conventions, kernels
from srfoundry.degradation.operator import degrade
from srfoundry.networks.nonblind.unfolded import SIZE, Unfolded
from tests.blind_cases import power_law
from tests.nonblind import data_steps


def drawn() -> Unfolded:
    net = Unfolded(scales=(2, 3), widths=(4, 4, 4), kernel_widths=(4, 4, 4))
    redraw(net, generator(1, "net"))
    return net.eval()


LOW = degrade(power_law(112, 5), kernels.line(15, torch.tensor([9.0]), torch.tensor([0.5])), 2).clamp(0, 1)


def test_it_is_a_centred_kernel_that_turns_with_the_image() -> None:
    found = estimate_kernel_by_rounds(LOW, 2, drawn(), look=48, noise=0.0)
    assert found.kernel.shape == (1, SIZE, SIZE) and len(found.history) == ROUNDS and found.box[2:] == (48, 48)
    assert float(found.kernel.sum()) == pytest.approx(1, abs=1e-4) and float(found.kernel.min()) >= 0
    assert float((conventions.centre_of_mass(found.kernel) - SIZE // 2).abs().max()) < 0.3
    again = estimate_kernel_by_rounds(LOW.flip(-1), 2, drawn(), look=48, noise=0.0)
    assert float((found.kernel - again.kernel.flip(-1)).abs().max()) < 0.2 * float(found.kernel.max())
    judged = estimate_kernel_by_rounds(LOW, 2, drawn(), look=48, noise=0.0, restore=data_steps())
    assert len(judged.history) == ROUNDS + CANDIDATES
    assert judged.history[-1]["sparsity"] >= min(row["sparsity"] for row in judged.history[ROUNDS:])


@pytest.mark.parametrize(
    ("low", "scale", "wrong"),
    [
        (LOW[..., :20], 2, "too small"),
        (torch.full((1, 3, 32, 32), 0.4), 2, "single colour"),
        (LOW, 4, "trained for x2"),
    ],
)
def test_what_no_kernel_is_found_from(low: torch.Tensor, scale: int, wrong: str) -> None:
    with pytest.raises(FoundryError, match=wrong):
        estimate_kernel_by_rounds(low, scale, drawn())

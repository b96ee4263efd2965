"""A dual map of a known or learned kernel is the degradation."""

from pathlib import Path

import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation import operator
from srfoundry.degradation.kernels import gaussian
from srfoundry.networks.sr.kernel_dual import KernelDual
from srfoundry.networks.zoo import cards

BLUR = gaussian(7, torch.tensor([0.4]), torch.tensor([3.0]), torch.tensor([1.0]))


@pytest.mark.parametrize("decimation", ["direct", "bicubic"])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_dual_map_of_a_kernel_is_the_degradation(scale: int, decimation: operator.Decimation) -> None:
    high = torch.rand(2, 3, 24, 36, generator=generator(1, "high"))
    wanted = operator.degrade(high, BLUR, scale, decimation=decimation)
    for learn in (False, True):
        made = KernelDual.of(BLUR, scale=scale, decimation=decimation, learn=learn)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (low,) = made([high[..., :12, :12], high])
        assert low.dtype == torch.float32
        torch.testing.assert_close(low, wanted, atol=2e-4 if learn else 0, rtol=0)
        assert float(made.kernel.detach().sum()) == pytest.approx(1, abs=1e-5)
        assert [name for name, _ in made.named_parameters()] == (["logits"] if learn else [])


def test_a_learned_kernel_finds_the_true_one() -> None:
    """Started from a round kernel, it leans to the one that made the low image, and stays a kernel on the way."""
    high = torch.rand(1, 3, 64, 64, generator=generator(1, "high"))
    low = operator.degrade(high, BLUR, 2)
    made = KernelDual.of(gaussian(7, torch.ones(1), torch.ones(1), torch.zeros(1)), scale=2, learn=True)
    start = float((made.kernel - BLUR).abs().sum().detach())
    adam = torch.optim.Adam(made.parameters(), lr=0.05)
    for _ in range(150):
        adam.zero_grad()
        (made([high])[0] - low).abs().mean().backward()
        adam.step()
    assert float((made.kernel - BLUR).abs().sum().detach()) < 0.2 * start
    assert float(made.kernel.detach().min()) > 0


def test_a_kernels_file_holds_it(tmp_path: Path) -> None:
    arch = {"name": "kernel_dual", "scale": 2, "size": 7, "decimation": "direct", "learn": False}
    made = KernelDual.of(BLUR, scale=2)
    cards.save(tmp_path / "k", made, arch=arch, scale=2, made_by="dual", params_hash="0" * 16)
    loaded, _ = cards.load(tmp_path / "k")
    assert isinstance(loaded, KernelDual) and torch.equal(loaded.kernel, made.kernel)


def test_what_is_no_kernel_is_refused() -> None:
    with pytest.raises(FoundryError, match="sum"):
        KernelDual.of(2 * BLUR, scale=2)

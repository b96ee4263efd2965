"""Multiply-adds of a network, counted as the papers of super-resolution count them."""

from jaxtyping import Float
from torch import Tensor, nn, no_grad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def multiplications(net: nn.Module, low: Float[Tensor, "b c h w"]) -> int:
    """Multiply-adds of one pass over `low`, counted as the papers do: products, and one addition a bias.

    Half of the operations that PyTorch counts (an attention as its two matrix products), plus the outputs of the layers
    with a bias. Nets on the meta device are counted without computing.
    """
    biases = 0

    def hook(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal biases
        biases += 0 if module.bias is None else output.numel()

    handles = [part.register_forward_hook(hook) for part in net.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    try:
        with FlopCounterMode(display=False) as counter, no_grad(), sdpa_kernel(SDPBackend.MATH):
            net(low)
    finally:
        for handle in handles:
            handle.remove()
    return counter.get_total_flops() // 2 + biases

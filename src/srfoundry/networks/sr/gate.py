"""The end of a residual channel-attention block in as few passes over the features as there can be.

In bfloat16 the convolutions are quick, and what autograd makes of the plain operations takes a tenth of a training
step on a CPU. Same values but for rounding, gradients of gradients included.
"""

from typing import Any

import torch
from torch import Tensor


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, body: Tensor, squeeze: Tensor, bias1: Tensor, excite: Tensor, bias2: Tensor
    ) -> Tensor:
        pooled, hidden, gate = _gate(body, squeeze, bias1, excite, bias2)
        ctx.save_for_backward(body, squeeze, bias1, excite, bias2, pooled, hidden, gate)
        return torch.addcmul(features, body, gate[:, :, None, None])

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        body, squeeze, bias1, excite, bias2, pooled, hidden, gate = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient is asked for: it needs their way from the inputs
            pooled, hidden, gate = _gate(body, squeeze, bias1, excite, bias2)
        to_gate = (slope * body).sum(dim=(2, 3)) * gate * (1 - gate)
        to_hidden = (to_gate @ excite) * (hidden > 0)
        to_pooled = to_hidden @ squeeze / (body.shape[2] * body.shape[3])
        to_body = torch.addcmul(to_pooled[:, :, None, None], slope, gate[:, :, None, None])
        return slope, to_body, to_hidden.t() @ pooled, to_hidden.sum(0), to_gate.t() @ hidden, to_gate.sum(0)


def _gate(body: Tensor, squeeze: Tensor, bias1: Tensor, excite: Tensor, bias2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    pooled = body.sum(dim=(2, 3)) / (body.shape[2] * body.shape[3])  # a CPU's mean() would copy all to float32
    hidden = torch.relu(torch.addmm(bias1, pooled, squeeze.t()))
    return pooled, hidden, torch.sigmoid(torch.addmm(bias2, hidden, excite.t()))


def gated(features: Tensor, body: Tensor, squeeze: torch.nn.Conv2d, excite: torch.nn.Conv2d) -> Tensor:
    """features + body * gate, one gate a channel: sigmoid(excite(relu(squeeze(mean of body)))), 1x1 convolutions.

    In the dtype of the body, under autocast too.
    """
    weights = (squeeze.weight[:, :, 0, 0], squeeze.bias, excite.weight[:, :, 0, 0], excite.bias)
    with torch.autocast(body.device.type, enabled=False):
        cast = [weight.to(body.dtype) for weight in weights if weight is not None]
        found = _Gated.apply(features.to(body.dtype), body, *cast)
    assert isinstance(found, Tensor)
    return found

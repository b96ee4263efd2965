"""The layouts in which DRN, EDSR and SwinIR are published, names and shapes, and their forward passes said once more.

Written down from the authors' repositories (guoyongcs/DRN, sanghyun-son/EDSR-PyTorch, JingyunLiang/SwinIR). The passes
work on the state dict alone, with other means than ours: interpolation instead of a convolution, windows one by one.
"""

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from srfoundry.core.seeds import generator

Shapes = dict[str, tuple[int, ...]]
State = dict[str, Tensor]
MEAN = torch.tensor([0.4488, 0.4371, 0.4040]).reshape(3, 1, 1)


def conv(name: str, inside: int, out: int, kernel: int = 3, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (out, inside, kernel, kernel)} | ({f"{name}.bias": (out,)} if bias else {})


def linear(name: str, inside: int, out: int) -> Shapes:
    return {f"{name}.weight": (out, inside), f"{name}.bias": (out,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def drn_layout(scale: int, blocks: int, width: int) -> Shapes:
    phases = scale.bit_length() - 1
    found = conv("sub_mean", 3, 3, 1) | conv("head", 3, width) | conv("add_mean", 3, 3, 1)
    for p in range(phases):
        here = width * 2**p
        found |= conv(f"down.{p}.dual_module.0.0", here, here, bias=False)
        found |= conv(f"down.{p}.dual_module.1", here, 2 * here, bias=False)
    top = width * 2**phases
    for i, here in enumerate([top] + [width * 2 ** (phases - i + 1) for i in range(1, phases)]):
        for j in range(blocks):
            stem = f"up_blocks.{i}.{j}.body"
            found |= conv(f"{stem}.0", here, here) | conv(f"{stem}.2", here, here)
            found |= conv(f"{stem}.3.conv_du.0", here, here // 16, 1) | conv(f"{stem}.3.conv_du.2", here // 16, here, 1)
        found |= conv(f"up_blocks.{i}.{blocks}.0", here, 4 * here)
        found |= conv(f"up_blocks.{i}.{blocks + 1}", here, width * 2 ** (phases - 1 - i), 1)
    for k, here in enumerate([top] + [width * 2 ** (phases - i) for i in range(phases)]):
        found |= conv(f"tail.{k}", here, 3)
    return found


def dual_layout(width: int) -> Shapes:
    return conv("dual_module.0.0", 3, width, bias=False) | conv("dual_module.1", width, 3, bias=False)


def edsr_layout(scale: int, blocks: int, width: int) -> Shapes:
    found = conv("sub_mean", 3, 3, 1) | conv("add_mean", 3, 3, 1) | conv("head.0", 3, width)
    for i in range(blocks):
        found |= conv(f"body.{i}.body.0", width, width) | conv(f"body.{i}.body.2", width, width)
    found |= conv(f"body.{blocks}", width, width)
    if scale == 3:
        found |= conv("tail.0.0", width, 9 * width)
    else:
        for k in range(scale.bit_length() - 1):
            found |= conv(f"tail.0.{2 * k}", width, 4 * width)
    return found | conv("tail.1", width, 3)


def swinir_layout(
    scale: int, depths: list[int], width: int, heads: int, *, window: int = 8, size: int = 64, direct: bool = True
) -> Shapes:
    """With the buffers that their files hold as well; `size` is that of the training patches."""
    found = conv("conv_first", 3, width) | norm("patch_embed.norm", width)
    for i, depth in enumerate(depths):
        for j in range(depth):
            stem = f"layers.{i}.residual_group.blocks.{j}"
            if j % 2:
                found[f"{stem}.attn_mask"] = ((size // window) ** 2, window**2, window**2)
            found |= norm(f"{stem}.norm1", width)
            found[f"{stem}.attn.relative_position_bias_table"] = ((2 * window - 1) ** 2, heads)
            found[f"{stem}.attn.relative_position_index"] = (window**2, window**2)
            found |= linear(f"{stem}.attn.qkv", width, 3 * width) | linear(f"{stem}.attn.proj", width, width)
            found |= norm(f"{stem}.norm2", width)
            found |= linear(f"{stem}.mlp.fc1", width, 2 * width) | linear(f"{stem}.mlp.fc2", 2 * width, width)
        found |= conv(f"layers.{i}.conv", width, width)
    found |= norm("norm", width) | conv("conv_after_body", width, width)
    if direct:
        return found | conv("upsample.0", width, 3 * scale**2)
    found |= conv("conv_before_upsample.0", width, 64) | conv("conv_last", 64, 3)
    if scale == 3:
        return found | conv("upsample.0", 64, 9 * 64)
    for k in range(scale.bit_length() - 1):
        found |= conv(f"upsample.{2 * k}", 64, 4 * 64)
    return found


def drawn(shapes: Shapes, seed: int = 0) -> State:
    """Random weights of a layout, lively enough to tell a wrong place from the right one; mean shifts as theirs."""
    found = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator(seed, name))
        deviation = 0.3 if len(shape) < 2 else 0.8 * value[0].numel() ** -0.5
        found[name] = value * deviation + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        if f"{name}.weight" in found:
            found[f"{name}.weight"] = torch.eye(3).reshape(3, 3, 1, 1)
            found[f"{name}.bias"] = sign * 255 * MEAN.flatten()
    return found


def apply(state: State, name: str, image: Tensor, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    return functional.conv2d(
        image, weight, state.get(f"{name}.bias"), stride=stride, padding=1 if weight.shape[-1] == 3 else 0
    )


def drn(state: State, low: Tensor, *, scale: int, blocks: int) -> list[Tensor]:
    """All images of theirs, 0..255 in and out."""
    phases = scale.bit_length() - 1
    large = functional.interpolate(low, scale_factor=scale, mode="bicubic", align_corners=False)
    x = apply(state, "head", apply(state, "sub_mean", large))
    copies = []
    for p in range(phases):
        copies.append(x)
        x = functional.leaky_relu(apply(state, f"down.{p}.dual_module.0.0", x, 2), 0.2)
        x = apply(state, f"down.{p}.dual_module.1", x)
    images = [apply(state, "add_mean", apply(state, "tail.0", x))]
    for i in range(phases):
        for j in range(blocks):
            stem = f"up_blocks.{i}.{j}.body"
            body = apply(state, f"{stem}.2", apply(state, f"{stem}.0", x).relu())
            gate = functional.adaptive_avg_pool2d(body, 1)
            gate = apply(state, f"{stem}.3.conv_du.2", apply(state, f"{stem}.3.conv_du.0", gate).relu()).sigmoid()
            x = x + body * gate
        x = functional.pixel_shuffle(apply(state, f"up_blocks.{i}.{blocks}.0", x), 2)
        x = torch.cat([apply(state, f"up_blocks.{i}.{blocks + 1}", x), copies[phases - i - 1]], 1)
        images.append(apply(state, "add_mean", apply(state, f"tail.{i + 1}", x)))
    return images


def edsr(state: State, low: Tensor, *, scale: int, blocks: int, strength: float) -> Tensor:
    """Theirs, 0..255 in and out."""
    x = start = apply(state, "head.0", apply(state, "sub_mean", low))
    for i in range(blocks):
        x = x + strength * apply(state, f"body.{i}.body.2", apply(state, f"body.{i}.body.0", x).relu())
    x = apply(state, f"body.{blocks}", x) + start
    for k, step in enumerate([3] if scale == 3 else [2] * (scale.bit_length() - 1)):
        x = functional.pixel_shuffle(apply(state, f"tail.0.{2 * k}", x), step)
    return apply(state, "add_mean", apply(state, "tail.1", x))


def swinir(
    state: State, low: Tensor, *, scale: int, depths: list[int], heads: int, window: int, direct: bool
) -> Tensor:
    """Theirs, 0..1 in and out; one image whose sides are multiples of the window; windows and heads one by one."""
    x = start = apply(state, "conv_first", low - MEAN)
    x = _normed(state, "patch_embed.norm", x[0].permute(1, 2, 0))
    for i, depth in enumerate(depths):
        before = x
        for j in range(depth):
            stem, shift = f"layers.{i}.residual_group.blocks.{j}", window // 2 if j % 2 else 0
            seen = torch.roll(_normed(state, f"{stem}.norm1", x), (-shift, -shift), dims=(0, 1))
            found = _attention(state, f"{stem}.attn", seen, heads, window, shift)
            x = x + torch.roll(found, (shift, shift), dims=(0, 1))
            inner = functional.gelu(_linear(state, f"{stem}.mlp.fc1", _normed(state, f"{stem}.norm2", x)))
            x = x + _linear(state, f"{stem}.mlp.fc2", inner)
        x = before + apply(state, f"layers.{i}.conv", x.permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    x = apply(state, "conv_after_body", _normed(state, "norm", x).permute(2, 0, 1)[None]) + start
    if direct:
        return functional.pixel_shuffle(apply(state, "upsample.0", x), scale) + MEAN
    x = functional.leaky_relu(apply(state, "conv_before_upsample.0", x), 0.01)
    for k, step in enumerate([3] if scale == 3 else [2] * (scale.bit_length() - 1)):
        x = functional.pixel_shuffle(apply(state, f"upsample.{2 * k}", x), step)
    return apply(state, "conv_last", x) + MEAN


def _linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def _normed(state: State, name: str, x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def _attention(state: State, name: str, x: Tensor, heads: int, window: int, shift: int) -> Tensor:
    height, width, channels = x.shape
    each = channels // heads
    table = state[f"{name}.relative_position_bias_table"]
    places = list(product(range(window), range(window)))
    index = [[(a - c + window - 1) * (2 * window - 1) + b - d + window - 1 for c, d in places] for a, b in places]
    result = torch.zeros_like(x)

    def region(at: int, size: int) -> int:
        return 0 if not shift or at < size - window else 1 if at < size - shift else 2

    for top, left in product(range(0, height, window), range(0, width, window)):
        tokens = x[top : top + window, left : left + window].reshape(window**2, channels)
        qkv = _linear(state, f"{name}.qkv", tokens)
        regions = [(region(top + a, height), region(left + b, width)) for a, b in places]
        apart = torch.tensor([[0.0 if one == other else -100.0 for other in regions] for one in regions])
        parts = []
        for head in range(heads):
            q, k, v = (qkv[:, (c * heads + head) * each : (c * heads + head + 1) * each] for c in range(3))
            parts.append(torch.softmax(q @ k.T * each**-0.5 + table[:, head][torch.tensor(index)] + apart, -1) @ v)
        out = _linear(state, f"{name}.proj", torch.cat(parts, dim=1))
        result[top : top + window, left : left + window] = out.reshape(window, window, channels)
    return result

"""The classes of photographs that adaptation is measured on, and the other kinds of steps beside the default's."""

from collections.abc import Callable

import pytest
import torch

from benchmarks import _adaptation_conditioning, _adaptation_steps, _adaptation_variants
from benchmarks._adaptation_ceiling import LOOKS, RATES, summary
from benchmarks._adaptation_classes import Case, Texture, middle
from benchmarks._adaptation_replay import Replay, look
from benchmarks.adapt import turns
from srfoundry.core.seeds import generator
from srfoundry.imaging import images, resize, windows
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import Weights


def _case(side: int = 64) -> Case:
    photograph = images.read(next(path for path in images.bundled() if path.stem == "coffee"))
    return Case.made(
        "repeated", "coffee", windows.crop(photograph, windows.busiest(photograph, side, energy="edges")), 1
    )


def _net() -> MZSR:
    torch.manual_seed(0)
    return MZSR(width=4, depth=3, enlargement="linear").eval()


def _start(net: MZSR) -> Weights:
    return {name: value.detach() for name, value in net.named_parameters()}


def test_the_rule_tells_lines_grain_and_slopes_apart() -> None:
    axis = torch.arange(192.0)
    stripes = ((axis // 32) % 2).expand(1, 3, 192, 192)  # edges look alike at every scale
    grain = resize.cubic(torch.rand(1, 1, 96, 96, generator=generator(0, "grain")), 2).clamp(0, 1).expand(1, 3, -1, -1)
    slope = (0.4 * axis / 192).expand(1, 3, 192, 192)
    assert [Texture.of(image).name for image in (stripes, grain, slope)] == ["repeated", "texture", "smooth"]


def test_a_case_is_the_same_each_time_and_another_with_another_seed() -> None:
    first, again = _case(), _case()
    other = Case.made("repeated", "coffee", first.high, 2)
    assert first.low.equal(again.low) and first.blur == again.blur
    assert other.blur != first.blur
    assert first.smaller(32).low.shape[-2:] == (16, 16)
    assert middle(torch.zeros(1, 3, 403, 101)).shape[-2:] == (320, 100)


def test_every_group_has_its_turn() -> None:
    case = _case()
    names = [
        (one.group, one.name)
        for one in turns(
            Case(group, name, case.high, case.low, case.kernel, case.blur)
            for group, name in (("a", "1"), ("a", "2"), ("b", "3"))
        )
    ]
    assert names == [("a", "1"), ("b", "3"), ("a", "2")]


PARTS = {
    "all": _adaptation_steps.all_weights,
    "last": _adaptation_steps.last_layer,
    "gains": _adaptation_steps.channel_gains,
    "rank": lambda start: _adaptation_steps.low_rank(start, 2),
}


@pytest.mark.parametrize("part", list(PARTS))
def test_ten_steps_lower_the_loss_and_start_at_the_net(part: str) -> None:
    made: Callable[[Weights], _adaptation_steps.Leaves] = PARTS[part]
    net, case = _net(), _case()
    start = _start(net)
    leaves = made(start)
    before = leaves.weights()
    assert all(torch.allclose(before[name], start[name]) for name in start)
    copies = _adaptation_variants.copies_of(net, case.observation, "one", Replay([]))
    pair = copies(0)
    weights = _adaptation_steps.walk(net, leaves, copies, [3e-3] * 10)
    assert pair.loss(net, weights, slope=False).loss < pair.loss(net, start, slope=False).loss
    moved = {name for name in start if not torch.equal(weights[name], start[name])}
    assert moved == (set(list(start)[-2:]) if part == "last" else {n for n in start if part != "rank" or "weight" in n})


def test_learned_factors_are_finite_and_in_range() -> None:
    net = _net()
    factors = _adaptation_variants.learned_factors(net, [_case()], Recipe([1e-3] * 3, descent="adam"))
    assert len(factors) == len(list(net.parameters()))
    assert all(0 <= factor <= 8 for factor in factors)


def test_replay_finds_what_looks_alike() -> None:
    axis = torch.arange(96.0)
    wave = 0.5 + 0.3 * torch.sin(axis * 0.7)
    across, down = wave.expand(1, 3, 96, 96), wave[:, None].expand(1, 3, 96, 96)
    case = _case()
    assert float((look(across) - look(down)).abs().sum()) > 1
    seen = Case.made("repeated", "wave", down.contiguous(), 1)
    pairs = Replay([across.contiguous(), down.contiguous()]).pairs(_net(), seen.observation)
    assert torch.equal(pairs[0].target[:1], down)
    assert case.low.shape[1] == 3


def test_widths_are_judged_for_every_given_kernel() -> None:
    rows = {"repeated": [_adaptation_conditioning.conditioning(_net(), _case(96))]}
    table = _adaptation_conditioning.summary(rows)
    assert {kernel: set(judges) for kernel, judges in table.items()} == {
        kernel: {"loop", "pairs", "spectrum"} for kernel in ("true", "narrow", "wide")
    }


def test_the_oracle_takes_the_best_step_of_each_image() -> None:
    def row(values: dict[int, float]) -> dict[str, object]:
        curve = {str(look): 30 + values.get(look, -1.0) for look in LOOKS} | {"0": 30.0}
        return {**{f"{rate:g}": dict(curve) for rate in RATES}, "agreement": 0.5}

    found = summary({"smooth": [row({10: 0.2, 500: 0.6}), row({10: 0.1})]})["smooth"]
    assert found["oracle"] == pytest.approx(0.35)
    assert found["oracle_within_ten"] == pytest.approx(0.15)
    assert found["gain"][f"{RATES[0]:g}"]["500"] == pytest.approx(-0.2)


def test_variants_are_reported_at_their_best_multiple(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"one": _adaptation_variants.Kind((1, 4)), "halves": _adaptation_variants.Kind((1,), half=True)}
    monkeypatch.setattr(_adaptation_variants, "KINDS", kinds)
    net, case = _net(), _case(96)
    recipe = Recipe([1e-3] * 2, descent="adam")
    row = _adaptation_variants.variants(net, case, recipe=recipe, replay=Replay([]), factors=[])
    table = _adaptation_variants.summary({"repeated": [row]})
    assert [line["kind"] for line in table] == ["one", "halves"]
    assert table[0]["gain_db"] == pytest.approx(max(row["one x1"], row["one x4"]) - row["zero"], abs=1e-4)
    assert table[0]["repeated"] == table[0]["gain_db"] == table[0]["worst_db"]

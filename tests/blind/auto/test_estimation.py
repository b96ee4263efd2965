"""The method auto: what it learns to see, what it decides, and what it leaves to whom."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from srfoundry.blind import estimators
from srfoundry.blind.auto import histories
from srfoundry.blind.auto.contrast import Contrast
from srfoundry.blind.auto.deciding import decide, hardly_blurred
from srfoundry.blind.auto.estimation import _stretched, deviation, least_pixels, narrow
from srfoundry.blind.auto.evidence import DETAIL, Evidence, jpeg_noise, weigh
from srfoundry.blind.auto.forms import Explanations
from srfoundry.blind.auto.milder import beside, doubted, hedged, possible, unless_unexplained
from srfoundry.blind.auto.samples import THUMBNAILS, collect_windows, window_patches
from srfoundry.blind.auto.training import taught_classifier
from srfoundry.blind.decision import Candidates
from srfoundry.blind.estimate import BlindObservation, Networks, Resources
from srfoundry.blind.motion_deblur.estimation import estimate_by_edges
from srfoundry.blind.nonblind_settings import ClassifierDescent
from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream, generator
from srfoundry.core.state import Resumption
from srfoundry.degradation import conventions, kernels, operator, sharpening
from srfoundry.degradation.observation import Sampling
from srfoundry.imaging import drawings, images, resize
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.nonblind.degradation_classifier import DegradationClassifier
from tests.blind_cases import tiny
from tests.closed import CPU, prepared
from tests.nonblind import data_steps, stopping

STREAM = Stream(1, "auto")


def photograph(name: str, side: int = 320) -> Tensor:
    path = next(each for each in images.bundled() if each.stem == name)
    image = images.read(path)
    top, left = ((extent - side) // 2 for extent in image.shape[-2:])
    return image[..., top : top + side, left : left + side]


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Patches:
    """Photographs that a classifier learns from in seconds."""
    shown = {name: photograph(name) for name in ("china", "coffee", "rocket")}
    return prepared(tmp_path_factory.mktemp("photographs"), shown, (1, 2))


def taught(
    patches: Patches, folder: Path, *, windows: int, steps: int, stop: int | None = None
) -> DegradationClassifier:
    resumption = Resumption(folder / "classifier.pt", "k", stopping(stop))
    descent = ClassifierDescent(windows=windows, steps=steps, rate=3e-3)
    return taught_classifier(patches, descent, softness=0.5, scales=[2], stream=STREAM, resumption=resumption)[0]


@pytest.fixture(scope="module")
def classifier(patches: Patches, tmp_path_factory: pytest.TempPathFactory) -> DegradationClassifier:
    return taught(patches, tmp_path_factory.mktemp("classifier"), windows=1600, steps=600)


def blurred(high: Tensor, variance: float) -> Tensor:
    one = torch.tensor([variance])
    return eight_bit(operator.degrade(high, kernels.gaussian(17, one, one, torch.zeros(1)), 2))


def eight_bit(image: Tensor) -> Tensor:
    return images.from_uint8(images.to_uint8(image))


def evidence(**chances: float) -> Evidence:
    values = torch.tensor([chances.get(name.replace(", ", "_"), 0.0) for name in histories.NAMES])
    return Evidence(values.double(), values[None], [(0, 0, 64, 64)], 0.0, None)


def test_sharp_images_are_enlarged_and_blurred_ones_restored() -> None:
    found, history = decide(evidence(reduced=0.92, gaussian=0.08), 2)
    assert not found.restore and history == "reduced" and found.phase == 0.5 and found.chance == pytest.approx(0.92)
    assert decide(evidence(decimated=0.9, shake=0.1), 2)[0].phase == 0
    found, history = decide(evidence(reduced=0.1, gaussian=0.7, line=0.2), 4)
    assert found.restore and (history, found.phase) == ("gaussian", 0)
    assert decide(evidence(shake=0.8, gaussian=0.2), 2)[1] == "shake"
    assert decide(evidence(reduced=1.0), 2, insist=True)[0].restore
    assert decide(evidence(blurred_reduced=0.6, gaussian=0.4), 2)[0].phase == 0  # what is rarer must be surer
    assert decide(evidence(blurred_reduced=0.995, gaussian=0.005), 4)[0].phase == 1.5


def test_one_in_six_of_what_it_learns_from_is_a_drawing(
    patches: Patches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharp = {2: window_patches(patches, 2, octave=0.3, batch=32)}

    def features(level: float) -> Tensor:
        def drawn(count: int, side: int, *, rng: torch.Generator) -> Tensor:
            return level * (torch.arange(side) // 9 % 2).expand(count, side, side)

        monkeypatch.setattr(drawings, "drawn", drawn)
        resumption = Resumption(tmp_path / str(level), "k")
        collected = collect_windows(
            sharp, windows=32, softness=0.0, scales=[2], stream=STREAM, resumption=resumption, turn=[THUMBNAILS]
        )
        return collected.all()[0]

    assert (features(0.2) != features(0.9)).any(dim=1).nonzero()[:, 0].tolist() == [0, 6, 12, 18, 24, 30]


def test_round_blurs_count_together() -> None:
    found, history = decide(evidence(gaussian=0.3, blurred_reduced=0.25, disc=0.45), 2)
    assert (history, found.phase) == ("gaussian", 0)
    assert decide(evidence(gaussian=0.2, blurred_reduced=0.15, shake=0.4, line=0.25), 2)[1] == "shake"


def test_what_a_person_says_of_the_reduction_leaves_open_whether_there_was_a_blur() -> None:
    seen = evidence(reduced=0.2, area=0.1, decimated=0.1, gaussian=0.1, line=0.2, blurred_reduced=0.3)
    for decimation, names, phase in (("direct", ["decimated"], 0.0), ("bicubic", ["reduced", "area"], 1.5)):
        known = replace(seen, decimation=decimation).settled
        assert known.chance(*names) == pytest.approx(0.4) and float(known.chances.sum()) == pytest.approx(1)
        assert decimation == "direct" or known.chance("reduced") == pytest.approx(2 * known.chance("area"))
        assert known.chance("line") == pytest.approx(2 * known.chance("gaussian"))
        assert decide(known, 4)[0].phase == phase == decide(known, 4, insist=True)[0].phase
    assert seen.settled is seen
    sharp = replace(evidence(area=0.3, decimated=0.3, gaussian=0.4), decimation="bicubic").settled
    found, _ = decide(sharp, 2)
    assert not found.restore and found.phase == 0.5
    assert found.candidates is not None  # where a blur is thought of its pixels lie as the others'
    place = (found.candidates.kernels.shape[-1] - 1) / 2 + 0.5
    centres = conventions.centre_of_mass(found.candidates.kernels)[found.candidates.chances > 0.01]
    assert torch.allclose(centres, torch.tensor(place).to(centres), atol=0.03)


def test_it_tells_sharp_from_blurred_on_a_photograph_it_did_not_learn(classifier: DegradationClassifier) -> None:
    high = photograph("flower")
    thumbnail = eight_bit(resize.cubic(high, 0.5))
    sharp = [thumbnail, images.jpeg(thumbnail, 80), eight_bit(high[..., ::2, ::2])]
    chances = [weigh(low, 2, classifier).chance(*histories.SHARP) for low in sharp]
    assert min(chances) > 0.5
    for variance in (3.0, 5.0):
        assert weigh(blurred(high, variance), 2, classifier).chance(*histories.SHARP) < 0.5
    left_out = [weigh(low, 2, classifier).chance("decimated") for low in sharp]
    assert left_out[2] > 2 * max(left_out[:2])


def test_a_turned_or_mirrored_image_has_the_same_history(classifier: DegradationClassifier) -> None:
    low = blurred(photograph("flower", 208), 3.0)  # 104 pixels a side: its windows lie alike from every side
    chances = [weigh(view, 2, classifier).chances for view in (low, low.flip(-1), low.rot90(1, (-2, -1)))]
    for turned in chances[1:]:
        assert torch.allclose(turned, chances[0], atol=1e-3)


def test_a_jpeg_file_counts_as_noise(classifier: DegradationClassifier) -> None:
    low = blurred(photograph("flower"), 3.0)
    clean, high, coarse = (weigh(each, 2, classifier) for each in (low, images.jpeg(low, 95), images.jpeg(low, 75)))
    assert clean.quality is None and high.quality == 95
    assert coarse.quality is not None
    assert clean.grain < high.grain < coarse.grain <= jpeg_noise(coarse.quality)
    assert replace(coarse, detail=1.0).grain == jpeg_noise(coarse.quality)
    assert weigh(low, 2, classifier, noise=0.1).grain == 0.1
    smooth = replace(coarse, detail=coarse.grain / 4)  # a JPEG takes no more of it than there is
    assert smooth.grain == pytest.approx(DETAIL * coarse.grain / 4)
    flat = weigh(0.5 + 0.02 * low, 2, classifier)
    assert flat.detail == pytest.approx(0.02 * clean.detail, rel=0.05)


def test_kernels_are_looked_for_at_the_contrast_of_other_photographs() -> None:
    low = blurred(photograph("flower"), 3.0)
    usual = _stretched(BlindObservation(low, Sampling(2), decimated="bicubic"), 0.01)
    assert usual.low is low and usual.noise == 0.01 and usual.decimated is None
    dark = _stretched(BlindObservation(0.2 * low, Sampling(2)), 0.01)
    contrast = Contrast.of(0.2 * low)
    assert contrast.gain > 1 and dark.noise == pytest.approx(0.01 * contrast.gain)
    assert torch.allclose(dark.low.diff(dim=-1), 0.2 * contrast.gain * low.diff(dim=-1), atol=1e-6)


def test_a_thumbnail_that_was_sharpened_looks_so(classifier: DegradationClassifier) -> None:
    thumbnail = eight_bit(resize.cubic(photograph("flower"), 0.5))
    masked = [
        eight_bit(sharpening.unsharp(thumbnail[0], torch.full((3,), 1.0), torch.full((3,), amount))[None])
        for amount in (0.0, 1.0, 3.5)
    ]
    none = [1.0 if found is None else float(found[0]) for found in (weigh(low, 2, classifier).masks for low in masked)]
    assert none[0] > 2 * none[2] and none[2] < 0.5
    assert weigh(blurred(photograph("flower"), 3.0), 2, classifier).masks is None  # it is no thumbnail
    assert weigh(eight_bit(0.2 * masked[2]), 2, classifier).masks is None  # stretched, its rounding would look so, too
    assert weigh(masked[2], 2, classifier).calm <= weigh(masked[2], 2, classifier).noise


def test_a_mask_is_taken_back_from_what_was_reduced_alone() -> None:
    masks = torch.nn.functional.one_hot(torch.tensor(4), sharpening.PLACES).double()
    reduced, left_out, shaken = (
        replace(evidence(**chances), masks=masks, noise=0.02, calm=0.01)
        for chances in ({"reduced": 0.95}, {"decimated": 0.95}, {"shake": 0.95})
    )
    found = decide(reduced, 2)[0]
    assert found.masks is not None and torch.equal(found.masks, masks)
    assert found.noise == 0.01 and "sharpened" in found.line()
    doubtful = replace(evidence(reduced=0.6, decimated=0.2), masks=masks)
    found = decide(doubtful, 2)[0].masks
    assert found is not None and found[[0, 4]].tolist() == pytest.approx([0.25, 0.75])
    for other in (left_out, shaken):
        found = decide(other, 2)[0]
        assert found.masks is None and found.noise == 0.02 and "sharpened" not in found.line()


def test_a_classifier_of_before_knows_no_masks() -> None:
    before = DegradationClassifier(histories=len(histories.NAMES), sharp=len(histories.SHARP))
    assert weigh(eight_bit(resize.cubic(photograph("flower"), 0.5)), 2, before).masks is None


def test_a_killed_training_goes_on_to_the_same_bytes(patches: Patches, tmp_path: Path) -> None:
    through = taught(patches, tmp_path / "through", windows=64, steps=4)
    for stop in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            taught(patches, tmp_path / "stopped", windows=64, steps=4, stop=stop)
    resumed = taught(patches, tmp_path / "stopped", windows=64, steps=4)
    for one, other in zip(through.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_it_asks_an_estimator_only_for_what_is_blurred(classifier: DegradationClassifier) -> None:
    estimator, settings = estimators.find("auto"), tiny(method="auto")
    resources = Resources(Networks(data_steps(), Corrector(), Compute(CPU), classifier))
    high = photograph("flower", 128)

    def found(low: Tensor, insist: bool = False):
        seen = BlindObservation(low, Sampling(2), insist=insist)
        return estimator(seen, settings, resources, rng=generator(1, "auto"))

    thumbnail = eight_bit(resize.cubic(high, 0.5))
    left = found(thumbnail)
    assert left.decision is not None and not left.decision.restore and not left.history
    assert "sharp" in left.decision.line()
    size = estimator.kernel_size(settings, resources, 2)
    insisted = found(thumbnail, insist=True)
    assert insisted.decision is not None and insisted.decision.restore
    for each in (left, insisted, found(thumbnail[..., :24, :24])):
        assert each.kernel.shape[-1] == size and each.kernel.sum() == pytest.approx(1, abs=1e-4)
    with pytest.raises(FoundryError, match="classifier.safetensors"):
        missing = replace(resources, networks=Networks(data_steps(), Corrector(), Compute(CPU)))
        estimator(BlindObservation(thumbnail, Sampling(2)), settings, missing, rng=generator(1, "auto"))


def test_a_files_word_on_its_compression_counts_for_what_is_restored(classifier: DegradationClassifier) -> None:
    resources = Resources(Networks(data_steps(), Corrector(), Compute(CPU), classifier))
    high = photograph("flower", 128)

    def found(low: Tensor, quality: int | None) -> int | None:
        seen = BlindObservation(low, Sampling(2), quality=quality)
        made = estimators.find("auto")(seen, tiny(method="auto"), resources, rng=generator(1, "auto"))
        assert made.decision is not None
        return made.decision.quality

    thumbnail, soft = eight_bit(resize.cubic(high, 0.5)), blurred(high, 4.0)
    assert found(thumbnail, 70) is None  # pixels show nothing of it
    assert found(soft, None) is None and found(soft, 70) == 70
    assert found(soft, 98) is None  # as good as no JPEG
    seen = evidence(gaussian=1.0)
    assert replace(seen, quality=60).packed(80).quality == replace(seen, quality=80).packed(60).quality == 60


def test_a_blur_that_varies_is_seen_and_mapped() -> None:
    said = torch.full((12, len(histories.NAMES)), 0.01).double()
    said[:, histories.NAMES.index("gaussian")] = 0.94
    boxes = [(0, 16 * column, 64, 64) for column in range(12)]
    same = Evidence(said.mean(dim=0), said.log(), boxes, 0.0, None)
    assert decide(same, 2)[0].varies is None
    said[0] = torch.tensor([0.97, *[0.01] * (len(histories.NAMES) - 1)])
    one = Evidence(same.chances, (said / said.sum(dim=1, keepdim=True)).log(), boxes, 0.0, None)
    varies = decide(one, 2)[0].varies
    assert varies is not None and "1 of 12 windows" in varies.line()
    seen = varies.map((64, 240))
    assert seen.shape == (1, 3, 64, 240) and seen[0, 0, 0, 0] < 0.1 and seen[0, 0, 0, 239] > 0.9


def test_a_sharp_image_is_enlarged_by_the_mean_over_what_made_it_small() -> None:
    def chances(**found: float) -> tuple[float, list[float]]:
        decision = decide(evidence(**found), 2)[0]
        assert not decision.restore and decision.candidates is not None
        assert decision.candidates.chances.sum() == pytest.approx(1)
        return decision.phase, decision.candidates.chances.tolist()

    phase, sure = chances(reduced=0.95, area=0.02, decimated=0.03)
    assert phase == 0.5 and sure[3] == 0 and sure[0] > sure[2] > 0.3 and sure[1] < 0.03
    for doubt in (0.12, 0.4):  # a third of the harm, at no one's cost
        phase, either = chances(area=1 - doubt, decimated=doubt)
        assert phase == pytest.approx(0.425) and either[1] == pytest.approx(0.85) and either[3] == pytest.approx(0.15)
    assert decide(evidence(area=0.5, decimated=0.5), 2)[0].candidates is None
    assert chances(area=0.4, decimated=0.4, gaussian=0.2)[1][3] == pytest.approx(0.8 * 0.5)
    packed = decide(replace(evidence(reduced=1.0), quality=75), 2)[0]
    assert packed.candidates is not None and packed.noise == jpeg_noise(75)
    left_out = decide(evidence(area=0.1, decimated=0.9), 4)[0]
    assert left_out.phase == 0 and left_out.candidates is None
    _, perhaps = chances(reduced=0.6, gaussian=0.4)
    assert len(perhaps) == 5 and perhaps[4] == pytest.approx(0.25)  # a mild blur is thought of, too
    far = decide(evidence(reduced=0.6, gaussian=0.4), 4)[0].candidates
    assert far is not None and len(far.chances) == 4  # whose pixels lie too far away by 4


def test_a_kernel_as_narrow_as_an_antialiasing_is_taken_for_one() -> None:
    seen = evidence(reduced=0.3, area=0.1, gaussian=0.6)
    decision, kernel = decide(seen, 2)[0], kernels.gaussian(25, torch.ones(1), torch.ones(1), torch.zeros(1)).float()
    found = hardly_blurred(decision, seen, 2, kernel)
    assert decision.restore and not found.restore and found.candidates is not None
    assert found.candidates.chances[-1] == pytest.approx(0.25) and found.phase == pytest.approx(0.375)
    assert found.chance == pytest.approx(0.75)  # it says what it does


@pytest.mark.parametrize(
    "scale, wide, chance, history, expected",
    [
        (2, 0.4, 0.99, "gaussian", True),
        (2, 0.5, 0.99, "gaussian", False),
        (2, 0.5, 0.9, "gaussian", True),
        (4, 0.25, 0.99, "gaussian", True),
        (4, 0.4, 0.9, "gaussian", False),
        (4, 0.4, 0.99, "line", True),
        (4, 0.4, 0.99, "blurred, reduced", True),
    ],
)
def test_at_larger_scales_narrower_kernels_are_believed(
    scale: int, wide: float, chance: float, history: str, expected: bool
) -> None:
    """But for what is never so narrow."""
    variance = torch.tensor([(wide * scale) ** 2])
    assert narrow(kernels.gaussian(25, variance, variance, torch.zeros(1)), scale, chance, history) == expected


def test_who_is_in_doubt_keeps_what_else_may_have_happened() -> None:
    blur = kernels.gaussian(29, torch.tensor([9.0]), torch.tensor([1.0]), torch.tensor([0.7]))
    found = possible(evidence(reduced=0.2, decimated=0.1, gaussian=0.7), blur, 2)
    assert found.chances.sum() == pytest.approx(1) and found.chances[-1] == pytest.approx(0.5)  # no more than half
    assert found.chances[:3].sum() == pytest.approx(1 / 3) and found.chances[3] == pytest.approx(1 / 6)
    assert (
        torch.allclose(found.kernels[-1], blur[0].float(), atol=1e-6)
        and (found.kernels.sum(dim=(-2, -1)) - 1).abs().max() < 1e-4
    )
    assert deviation(blur) == pytest.approx(3.0, abs=0.02)
    both = torch.cat([blur, blur.transpose(-1, -2)])
    two = possible(evidence(gaussian=1.0), both, 2, least=0.25, among=torch.tensor([0.8, 0.2]))
    assert two.chances[-2:].tolist() == pytest.approx([0.6, 0.15])


def test_a_jpeg_file_is_hardly_sharpened_on_a_doubt() -> None:
    blur = kernels.gaussian(29, torch.tensor([9.0]), torch.tensor([1.0]), torch.tensor([0.7]))
    clean = evidence(reduced=0.3, gaussian=0.7)
    file = replace(clean, quality=75)
    assert doubted(clean, blur, 2, 0.7).chances[-1] == pytest.approx(0.5) and doubted(clean, blur, 2, 0.7).plain == 0
    assert doubted(file, blur, 2, 0.7).chances[-1] == pytest.approx(0.1) and doubted(file, blur, 2, 0.7).plain > 0
    assert doubted(file, blur, 2, 0.95).chances[-1] == pytest.approx(0.5)  # hardly a doubt


def test_the_fewer_pixels_the_less_a_kernel_of_free_form_counts() -> None:
    """Of very few, what left the image sharp is thought of, too."""
    seen = BlindObservation(blurred(photograph("flower", 128), 6.0), Sampling(2), 0.0)
    free, said = kernels.line(31, torch.tensor([9.0]), torch.zeros(1)).float(), evidence(reduced=0.01, shake=0.99)

    def found(pixels: float, said: Evidence = said) -> Candidates:
        return beside(said, seen, free, 0.0, pixels=pixels)

    assert [found(pixels).weight for pixels in (100.0, 16.0, 8.0)] == [0.2, 0.5, 1.0]
    assert found(100.0, replace(said, quality=90)).weight == 0.4
    few = found(5.0)
    assert few.weight == 1.0 and few.chances[:-2].sum() == pytest.approx(0.25)
    assert few.chances[-2:].tolist() == pytest.approx([0.375, 0.375])


def test_a_kernel_of_free_form_has_a_round_one_beside_it() -> None:
    low = blurred(photograph("flower", 192), 6.0)
    free = kernels.line(31, torch.tensor([9.0]), torch.zeros(1)).float()
    for phase in (0.0, 0.5):
        found = hedged(BlindObservation(low, Sampling(2), 0.0), free, phase)
        assert torch.equal(found.kernels[0], free[0]) and found.chances.tolist() == [0.5, 0.5]
        middle = (found.kernels[1].sum(dim=0) * torch.arange(31)).sum()
        assert float(middle) == pytest.approx(15 + phase, abs=0.02)
        assert deviation(found.kernels[1:]) == pytest.approx(6.0**0.5, abs=0.7)


def test_a_kernel_that_the_spectrum_does_not_support_makes_way() -> None:
    true = kernels.line(25, torch.tensor([14.0]), torch.tensor([0.6])).float()
    high = photograph("flower", 320)
    seen = BlindObservation(eight_bit(operator.degrade(high, true, 2)), Sampling(2), 0.0)
    said, explanations = evidence(line=0.99, reduced=0.01), Explanations.of(seen, tiny().spectrum)
    decision = decide(said, 2)[0]
    right = unless_unexplained(decision, said, explanations, true, "line", 2)
    assert right.candidates is None and right.instead is not None
    assert unless_unexplained(decision, said, explanations, true, "disc", 2) == decision
    wrong = unless_unexplained(decision, said, explanations, true.flip(-1), "line", 2)
    assert wrong.candidates is not None and wrong.candidates.weight == 1 and "explains" in wrong.candidates.why
    assert unless_unexplained(decision, said, explanations, None, "shake", 2).candidates is None  # of free form
    assert float(wrong.candidates.chances[:4].sum()) == pytest.approx(0.25)  # it may be sharp


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_an_image_that_is_looked_at_is_large_enough_for_every_form(scale: int) -> None:
    settings = tiny(kernel_size=25)
    side = least_pixels(settings, scale)
    image = torch.rand(1, 3, side, side, generator=generator(1, "small"))
    seen = BlindObservation(image, Sampling(scale), 0.0)
    found = estimate_by_edges(
        seen, settings, net=None, step=None, rng=generator(1, "small"), log=lambda step, row: None
    )
    assert float(found.kernel.sum()) == pytest.approx(1, abs=1e-3)
    larger = replace(settings, prior=replace(settings.prior, kernel_size=45))
    assert least_pixels(larger, 2) > least_pixels(settings, 2) >= least_pixels(settings, 4)

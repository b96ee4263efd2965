"""What a model is for and what not, in words: from what its card says of the pairs that it was trained on."""

from collections.abc import Mapping, Sequence
from typing import Any

from srfoundry.runtime.session import BICUBIC, OnnxCard

FOR = {  # by degradation: for lists and tags
    BICUBIC: "clean small images",
    "blind": "small images with blur, noise and JPEG",
    "photographs": "photographs from cameras and the web",
}
DUAL_MAPS = {
    "operator": "the very blur and reduction that had made the small image brings the large one back to it",
    "learned": "a second, learned map brings the large image back to the small one",
}


def brief(card: OnnxCard) -> str:
    """A few words, such as: clean small images."""
    return FOR.get(card.degradation, card.degradation)


def trained_on(card: OnnxCard) -> str:
    """What its training pairs went through, with all ranges; a clause that follows `photographs`."""
    said = card.trained_for
    if said is None or card.degradation == BICUBIC:
        return "reduced by MATLAB's bicubic"
    clean, once = float(said.get("clean", 0)), float(said.get("rounds", {}).get("once", 0))
    blind, parts = _one_round(said), list[str]()
    if card.degradation == "blind":
        parts.append(f"reduced under {blind}")
    else:
        parts.append(f"taken through two rounds of {_two_rounds(said)}")
        parts += [f"{once:.0%} of them through one round: {blind}"] if once else []
    parts += [f"{clean:.0%} reduced by MATLAB's bicubic alone"] if clean else []
    return "; ".join(parts)


def never_seen(card: OnnxCard) -> str:
    """What it was not trained for, as a sentence or two."""
    if card.degradation == BICUBIC:
        return "It has never seen blur, noise or JPEG"
    worst = (card.trained_for or {}).get("damage", {}).get("jpeg", [30])[0]
    return (
        f"It has never seen more blur or noise than these, JPEG of a quality below {worst}, scratches, or print. "
        "What it takes for noise it removes, fine grain and texture too. On clean small images a member that is made "
        "for them does better"
    )


def dual_map(card: OnnxCard) -> str:
    """How the closed loop went; empty where the card does not say."""
    return DUAL_MAPS.get(str((card.trained_for or {}).get("dual_map", "")), "")


def _one_round(said: Mapping[str, Any]) -> str:
    """Blur, noise and JPEG of the model `blind`."""
    blur = said.get("blur", {})
    variances = _range(blur.get("variances", []), " times the scale in square pixels")
    motion = float(blur.get("motion", 0))
    moved = f" ({motion:.0%} motion blur instead)" if motion else ""
    return f"Gaussian blur of variance {variances}{moved}, {_damage(said)}"


def _two_rounds(said: Mapping[str, Any]) -> str:
    """What the two rounds have, those of the model `photographs`."""
    rounds = said.get("rounds", {})
    first, second = (_range(rounds.get(f"{which}_blur", []), " pixels") for which in ("first", "second"))
    sharpened = float(rounds.get("sharpened", 0))
    return (
        f"blur (deviations {first}, then {second}), resizing ({_range(rounds.get('resize', []), ' times')} between "
        f"them), {_damage(said)}" + (f"; {sharpened:.0%} sharpened at last" if sharpened else "")
    )


def _damage(said: Mapping[str, Any]) -> str:
    damage = said.get("damage", {})
    noise, noisy, packed = (float(damage.get(name, 0)) for name in ("noise", "noisy", "packed"))
    return (
        f"noise of a deviation up to {255 * noise:.0f} of 255 ({noisy:.0%} of the images), "
        f"JPEG of quality {_range(damage.get('jpeg', []), '')} ({packed:.0%})"
    )


def _range(ends: Sequence[float | int], unit: str) -> str:
    return " to ".join(f"{end:g}" for end in ends) + unit

"""Which of two models is the better one to hand out: quality on the same photographs first, then time and size."""

from dataclasses import dataclass

from srfoundry.deployment.held_out import Figures

CLOSE = 0.05  # times and sizes nearer to each other than this share count as equal


@dataclass(frozen=True)
class Decision:
    """Whether a model takes over, and why, for people."""

    takes: bool
    reason: str


def decide(candidate: Figures, holder: Figures | None, least_gain: float) -> Decision:
    """Compare a model with the one that holds an alias.

    Args:
        candidate: the model that may take over.
        holder: the model to beat, scored on the same images; None where there is none.
        least_gain: dB. A smaller gain takes over only with less time or size, and more of neither.
    """
    over = candidate.psnr - candidate.bicubic
    if not over > 0:
        return Decision(False, f"{over:+.2f} dB over bicubic: a champion must be above it")
    if holder is None:
        return Decision(True, f"{over:+.2f} dB over bicubic, nobody to compare with")
    if holder.held_out != candidate.held_out:
        raise ValueError("figures on different photographs cannot be compared")
    gain = candidate.psnr - holder.psnr
    if not holder.psnr > holder.bicubic:
        return Decision(True, f"the holder is not above bicubic, this is by {over:.2f} dB")
    if gain < 0:
        return Decision(False, f"{gain:+.3f} dB against the holder")
    if gain >= least_gain - 1e-9:
        return Decision(True, f"{gain:+.3f} dB against the holder")
    cheaper = _cheaper(candidate, holder)
    if cheaper:
        return Decision(True, f"{gain:+.3f} dB against the holder, and {cheaper}")
    return Decision(False, f"{gain:+.3f} dB against the holder, under {least_gain:g} dB and with no less time or size")


def _cheaper(candidate: Figures, holder: Figures) -> str:
    """In what the candidate is cheaper, empty where it is not, or costs more of the other."""
    ratios = {"size": candidate.size / max(holder.size, 1)}
    if candidate.seconds and holder.seconds:
        ratios["time"] = candidate.seconds / holder.seconds
    if any(ratio > 1 + CLOSE for ratio in ratios.values()):
        return ""
    return ", ".join(f"{ratio:.2f} of its {name}" for name, ratio in ratios.items() if ratio < 1 - CLOSE)

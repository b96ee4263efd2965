"""Enlargement of what is not restored: by the project's exported network, or else by cubic interpolation."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from srfoundry.imaging import images, resize
from srfoundry.imaging.user_image import Photograph
from srfoundry.runtime.chooser import Chooser
from srfoundry.runtime.providers import NotInstalled

PLAIN = "plain enlargement"
LINEAR = "linear enlargement, the mean over the reductions that may have made it"


@dataclass(frozen=True)
class PlainUpscaler:
    """The exported networks of a folder, loaded when one is first needed; without any, cubic interpolation.

    So it is without ONNX Runtime, which is said. A file that cannot be used is an error: what is enlarged by
    interpolation although a network is there is of another quality than the last time.

    The networks were trained on antialiased reductions, whose pixels are centred in their blocks. Where every s-th
    pixel was kept, their result would lie half a block beside its place, and cubic interpolation takes over. The
    network for real photographs undoes blur and noise as it supposes them: where both were estimated it is not asked,
    since it lost up to 6.6 dB on soft thumbnails and 1.0 on JPEGs that the linear mean betters.

    Args:
        folder: of exported networks; it may be missing.
    """

    folder: Path | None = None
    _loaded: list[Chooser] = field(default_factory=list, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def enlarge(
        self,
        original: Photograph,
        scale: int,
        phase: float,
        *,
        linear: Callable[[Tensor], Tensor] | None = None,
        damaged: bool | None = None,
    ) -> tuple[UInt8[np.ndarray, "H W 3"], str]:
        """Enlarge, and say how.

        Args:
            original: the photograph.
            scale: of the enlargement.
            phase: high-resolution pixels from a low-resolution pixel's place to the centre of its block.
            linear: enlarges in place of cubic interpolation where more is known of the image: 1 x 3 x h x w to
                1 x 3 x H x W, range [0, 1].
            damaged: it has noise or was a JPEG file; None where nobody looked, and the networks' own choice counts.

        Raises:
            FoundryError: a network is there, and cannot be used.
        """
        aligned = phase == (scale - 1) / 2 and not (damaged and linear is not None)
        networks, lacking = self._networks() if aligned else (None, "")
        if networks is not None and networks.scale == scale:
            upscaler, taken = networks.chosen(original) if damaged is None else (networks.clean, None)
            name = networks.pair.clean[0] if taken is None else taken.member
            return upscaler(original.pixels), f"upscaled by {name}"
        low = images.from_uint8(torch.from_numpy(original.pixels).unsqueeze(0))
        made, how = (resize.cubic_at(low, scale, phase), PLAIN) if linear is None else (linear(low), LINEAR)
        return images.to_uint8(made.clamp(0, 1))[0].numpy(), how + lacking

    def _networks(self) -> tuple[Chooser | None, str]:
        """The networks, or what is lacking to use those that are there."""
        if self.folder is None or not any(self.folder.glob("*.onnx")):
            return None, ""
        with self._lock:
            if not self._loaded:
                try:
                    self._loaded.append(Chooser.load(self.folder))
                except NotInstalled as error:
                    return None, f" ({error})"
            return self._loaded[0], ""


NO_UPSCALER = PlainUpscaler()

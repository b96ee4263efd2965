"""An exported network, run by ONNX Runtime: the file alone is enough, for its card stands in its metadata.

Neither PyTorch nor anything else that is heavy is needed, so that a program which enlarges an image starts at once.
"""

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from srfoundry.core import json_text
from srfoundry.core.errors import FoundryError, is_out_of_memory
from srfoundry.runtime import providers

RESTORED = "restored"  # the image; a network that estimates its input's blur has `kernel` and `noise` beside it
SMALLEST = 4  # rows or columns that a graph takes; smaller images are padded
ADVICE = "use a file made by 'dvc repro export'"
MOST = {"scale": 64, "multiple_of": 4096, "tile": 2**16, "channels": 2**16, "overlap": 2**16}  # that a card may say
# In a card's metrics: `held_out.SET` are scores on a test set, `held_out.set` is the set that the model is judged on.
SCORES, JUDGED_ON, HELD_OUT = "held_out.", "held_out.set", "held_out.md5"
BICUBIC = "bicubic"  # MATLAB's reduction: a degradation, and the test set that has no other


@dataclasses.dataclass(frozen=True)
class OnnxCard:
    """What a user of an exported file must know; every value is plain JSON."""

    name: str
    arch: dict[str, Any]  # as in the checkpoint: enough to rebuild the PyTorch net
    scale: int
    channels: int  # of input and output: RGB in that order
    value_range: list[float]  # of input and output; the graph itself clips its output
    multiple_of: int  # height and width of the input must be multiples of this; Session pads and crops
    tile: int  # suggested: no more input pixels at once than in a square of this side
    overlap: int  # suggested input pixels that a tile reaches into its neighbours
    parameters: int
    opset: int
    metrics: dict[str, Any]
    made_by: str  # the stage that trained it
    params_hash: str
    data_hash: str
    tile_error: float | None = None  # what tiles with that overlap change, rms of the worst row or column (overlap.py)
    folded: bool = False  # linear chains of layers are one convolution each: fewer multiply-adds, the same image
    precision: str = "fp32"  # of what it computes with: fp32, fp16 or int8; input and output are fp32 always
    outputs: list[str] = dataclasses.field(default_factory=lambda: [RESTORED])  # in the graph's order: Session.outputs
    trained_for: dict[str, Any] | None = None  # degradation of its pairs, their ranges; None = MATLAB's bicubic alone

    @property
    def degradation(self) -> str:
        """What its training pairs went through: bicubic, blind or photographs."""
        return str((self.trained_for or {}).get("degradation", BICUBIC))

    @property
    def judged_on(self) -> str:
        """The held-out test set that it is judged on."""
        return str(self.metrics.get(JUDGED_ON, BICUBIC))

    def scores(self, test: str = "") -> dict[str, Any]:
        """On a held-out test set, the one that it is judged on if none is named: psnr_y and gain_db, if measured."""
        return self.metrics.get(SCORES + (test or self.judged_on)) or {}


class Session:
    """An exported model (a file, or its bytes from the registry), ready to run: `Session(path, threads=2).run(low)`.

    CUDA is chosen by what NVIDIA's driver counts, for ONNX Runtime lists CUDA on machines that have none.

    Args:
        model: the .onnx file, or its bytes.
        threads: of one run.
        device: auto, cpu, cuda, tensorrt or openvino (providers.py).
        sharing: for a server with several models: they hold memory together (an eighth of what each for itself
            would), and threads do not look out busily for the next run (30 ms of processor time each).

    Raises:
        FoundryError: no such file, not an ONNX model, not one with a card, a device that is not here, or no ONNX
            Runtime is installed.
    """

    def __init__(self, model: Path | bytes, *, threads: int, device: str = "auto", sharing: bool = False) -> None:
        onnxruntime = providers.onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if sharing:
            _share_memory()
            options.add_session_config_entry("session.use_env_allocators", "1")
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            options.enable_mem_pattern = False  # one plan for each size of image
        wanted = providers.chosen(device, threads)
        self._path = path = model if isinstance(model, Path) else Path("the model")
        try:
            blob = model if isinstance(model, bytes) else model.read_bytes()
            self._session = onnxruntime.InferenceSession(blob, options, providers=wanted)
        except OSError as error:
            raise FoundryError(f"cannot read the model {path}: {error.strerror}; {ADVICE}") from None
        except Exception as error:  # it answers damaged graphs with a dozen kinds of its own
            reason = " ".join(str(error).split())[:160]
            raise FoundryError(f"{path} is not a usable ONNX model: {reason}; {ADVICE}") from None
        self.card = _read_card(self._session, path)
        self.scale = self.card.scale
        self.device = providers.started(self._session, device)

    def run(self, low: Float[np.ndarray, "b c h w"]) -> Float[np.ndarray, "b c H W"]:
        """Enlarge a float image in [0, 1] of any size; the padding that the net needs is added and cropped."""

        def call(image: np.ndarray) -> np.ndarray:
            return self._run([RESTORED], image)[0]

        return padded(call, low, self.card.multiple_of, self.scale)

    def outputs(self, low: Float[np.ndarray, "b c h w"]) -> dict[str, np.ndarray]:
        """All that the graph says of an image, by the names on the card.

        Of a network that estimates blur and noise: `restored` as from `run`, `kernel` (b 1 k k), the blur for direct
        decimation onto the grid of MATLAB's bicubic, and `noise` (b 1 1 1), the root mean square of noise and
        compression in [0, 1]. These two are of the whole image as it is given: a tile has its own.

        Args:
            low: float image in [0, 1] of any size.
        """
        return outputs_of(
            lambda image: dict(zip(self.card.outputs, self._run(self.card.outputs, image), strict=True)), low, self.card
        )

    def _run(self, names: list[str], image: np.ndarray) -> list[np.ndarray]:
        try:
            found = self._session.run(names, {"low": np.ascontiguousarray(image, np.float32)})
        except Exception as error:
            if is_out_of_memory(error):
                raise
            reason = " ".join(str(error).split())[:160]
            raise FoundryError(f"{self._path} does not run ({reason}); {ADVICE}") from None
        shape, wanted = np.shape(found[0]), (*image.shape[:2], *(self.scale * side for side in image.shape[2:]))
        if names[0] == RESTORED and shape != wanted:
            raise FoundryError(f"{self._path} must give an image of the shape {wanted}, got {shape}; {ADVICE}")
        return [np.asarray(each) for each in found]


def padded(
    net: Callable[[np.ndarray], np.ndarray], low: Float[np.ndarray, "b c h w"], multiple: int, scale: int
) -> Float[np.ndarray, "b c H W"]:
    """Run `net` on an image of any size: edges repeated up to a multiple of `multiple`, the result cropped.

    Args:
        net: enlarges by `scale`.
        low: range [0, 1].
        multiple: of which height and width must be.
        scale: the enlargement.
    """
    height, width = low.shape[-2:]
    down = max(-height % multiple, SMALLEST - height, 0)
    across = max(-width % multiple, SMALLEST - width, 0)
    if down or across:
        low = np.pad(low, ((0, 0), (0, 0), (0, down), (0, across)), mode="edge")
    return net(low)[..., : height * scale, : width * scale]


def outputs_of(
    net: Callable[[np.ndarray], dict[str, np.ndarray]], low: Float[np.ndarray, "b c h w"], card: OnnxCard
) -> dict[str, np.ndarray]:
    """Run a `net` of several outputs on an image of any size, padded as its card says; the image is cropped."""
    found: dict[str, np.ndarray] = {}

    def call(image: np.ndarray) -> np.ndarray:
        found.update(net(image))
        return found[RESTORED]

    restored = padded(call, low, card.multiple_of, card.scale)
    return {**found, RESTORED: restored}


@cache
def _share_memory() -> None:
    """Make the memory that sessions with `sharing` hold together."""
    onnxruntime = providers.onnxruntime()
    kind, where = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    settings = {  # ONNX Runtime's own choices
        "max_mem": 0,
        "arena_extend_strategy": 0,
        "initial_chunk_size_bytes": -1,
        "max_dead_bytes_per_chunk": -1,
    }
    arena = onnxruntime.OrtArenaCfg(settings)
    onnxruntime.create_and_register_allocator(onnxruntime.OrtMemoryInfo("Cpu", kind, 0, where), arena)


def _read_card(session: Any, path: Path) -> OnnxCard:
    try:
        properties: dict[str, str] = session.get_modelmeta().custom_metadata_map
        # those with a default are younger than files that are still in use
        fields = dataclasses.fields(OnnxCard)
        wanted = [each.name for each in fields if each.default is each.default_factory is dataclasses.MISSING]
        present = [each.name for each in fields if each.name in properties]
        card = OnnxCard(**{name: json_text.read(properties[name]) for name in {*wanted, *present}})
        _check(card)
    except (KeyError, ValueError, TypeError):
        raise FoundryError(f"{path} carries no srfoundry card; {ADVICE}") from None
    return card


def _check(card: OnnxCard) -> None:
    """Refuse a card whose values are not of their kinds, or would take any memory.

    Raises:
        ValueError, TypeError: they are not.
    """
    for name, most in MOST.items():
        value = getattr(card, name)
        if type(value) is not int or not (name != "overlap") <= value <= most:
            raise ValueError(name)
    kinds = {
        **dict.fromkeys(("arch", "metrics"), dict),
        **dict.fromkeys(("name", "made_by", "params_hash", "precision"), str),
        **dict.fromkeys(("value_range", "outputs"), list),
        "trained_for": (dict, type(None)),
    }
    if not all(isinstance(getattr(card, name), kind) for name, kind in kinds.items()):
        raise TypeError
    if RESTORED not in card.outputs:
        raise ValueError(RESTORED)

"""A model in the layout of Triton's model repository: NAME/config.pbtxt and NAME/1/model.onnx.

Triton batches requests of one size by itself, so a client sends tiles of the card's size, and the warm-up runs one.
"""

import re
from pathlib import Path

import numpy as np

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.foreign.conversion import Converted, demand, open_session, tolerance
from srfoundry.runtime.session import RESTORED, OnnxCard, Session

NAME = r"[A-Za-z0-9][\w.-]*"
BATCH = 8  # images at most that one run takes
DELAY = 2000  # microseconds that a request waits for others
TOLERANCE = 1e-5


def convert(model: Path) -> Converted:
    """The two files; images in a batch must come out as they do alone.

    Raises:
        FoundryError: they do not, or the file's name is none for a model.
    """
    if not re.fullmatch(NAME, model.stem, re.ASCII):
        raise FoundryError(
            f"Triton's clients ask for a model by its name in an address, got {model.stem!r}; "
            "rename the file: letters, digits, - _ and ."
        )
    session = open_session(model)
    worst = _batched(session)
    demand(worst, tolerance(session, TOLERANCE), "a batch")
    files = {
        f"{model.stem}/config.pbtxt": config(model.stem, session.card).encode(),
        f"{model.stem}/1/model.onnx": model.read_bytes(),
    }
    return Converted(files, worst, f"a batch of {BATCH} and its images one by one")


def config(name: str, card: OnnxCard) -> str:
    """The model's configuration (model_config.proto, text format).

    Args:
        name: of its folder.
        card: of the exported file.
    """
    tile = card.tile - card.tile % card.multiple_of
    sizes = {RESTORED: f"{card.channels}, -1, -1"}  # of what a network estimates beside it: one channel, any size
    outputs = ", ".join(
        f'{{ name: "{name}" data_type: TYPE_FP32 dims: [ {sizes.get(name, "1, -1, -1")} ] }}' for name in card.outputs
    )
    multiple = f", both multiples of {card.multiple_of}" if card.multiple_of > 1 else ""
    return f"""# {card.name}: enlarges x{card.scale}. RGB in [0, 1], channels first, height and width free{multiple}.
name: "{name}"
backend: "onnxruntime"
max_batch_size: {BATCH}
input [{{ name: "low" data_type: TYPE_FP32 dims: [ {card.channels}, -1, -1 ] }}]
output [{outputs}]
version_policy {{ latest {{ num_versions: 1 }} }}
# requests of one size share a run
dynamic_batching {{ max_queue_delay_microseconds: {DELAY} }}
# one on each GPU, or on the processor where there is none; KIND_CPU or KIND_GPU and gpus: [ 0 ] say which
instance_group [{{ count: 1 kind: KIND_AUTO }}]
model_warmup [{{
  name: "tile"
  batch_size: 1
  inputs {{
    key: "low"
    value {{ data_type: TYPE_FP32 dims: [ {card.channels}, {tile}, {tile} ] zero_data: true }}
  }}
}}]
parameters {{ key: "scale" value {{ string_value: "{card.scale}" }} }}
parameters {{ key: "tile" value {{ string_value: "{card.tile}" }} }}
parameters {{ key: "overlap" value {{ string_value: "{card.overlap}" }} }}
"""


def _batched(session: Session) -> float:
    """The largest difference between images in a batch and alone."""
    rng = np.random.default_rng(0)
    low = rng.random((BATCH, session.card.channels, 24, 40), np.float32)
    alone = np.concatenate([session.run(image[None]) for image in low])
    return float(np.abs(session.run(low) - alone).max())

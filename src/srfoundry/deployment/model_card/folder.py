"""A model as a folder to publish, laid out as model hubs have them: README.md, model.onnx, config.json, a picture."""

import dataclasses
import json
from pathlib import Path

from srfoundry.core.atomic import published
from srfoundry.deployment.model_card import text
from srfoundry.deployment.model_card.text import Facts

MODEL, CONFIG, README = "model.onnx", "config.json", "README.md"


def write(folder: Path, blob: bytes, facts: Facts, name: str, picture: bytes | None = None) -> list[str]:
    """Write the folder, which takes the place of a former one whole.

    Args:
        folder: to write.
        blob: the ONNX file.
        facts: of the model.
        name: that it is published under, such as me/srfoundry-x2.
        picture: PNG of a comparison; None = none.

    Returns:
        The names of the files.
    """
    facts = dataclasses.replace(facts, picture=picture is not None)
    config = {"model_type": "srfoundry", **dataclasses.asdict(facts.card)}
    files = {
        README: text.readme(facts, name).encode(),
        CONFIG: (json.dumps(config, indent=2, sort_keys=True) + "\n").encode(),
        MODEL: blob,
    }
    if picture is not None:
        files[text.PICTURE] = picture
    with published(folder) as fresh:
        for file, content in files.items():
            (fresh / file).write_bytes(content)
    return sorted(files)

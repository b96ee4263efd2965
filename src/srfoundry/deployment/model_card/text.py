"""A model in words: its card in Markdown, as model hubs show it, and the two lines that a registry's list has room for.

The same facts give the same bytes: no date and no time enters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from srfoundry.deployment.model_card import purpose
from srfoundry.deployment.model_card.measuring import WORDS, Row, nth, words
from srfoundry.runtime.session import BICUBIC, RESTORED, OnnxCard

PICTURE = "before_after.png"
UNSTATED = "unknown"  # as model hubs spell it
REFERENCES = {
    "drn": "DRN (Guo et al., CVPR 2020)",
    "edsr": "EDSR (Lim et al., CVPRW 2017)",
    "swinir": "SwinIR (Liang et al., ICCVW 2021)",
    "conditioned": "residual blocks conditioned on the blur and noise that the network estimates itself",
}
STAGES = {
    "dual": "trained by dual regression: a second, learned map brings its result back to its input",
    "prune": "trained by dual regression, then made smaller by searching how many channels each layer needs (DRC) and "
    "fine-tuned",
}
STAGES |= {"compress": STAGES["prune"], "photo": STAGES["dual"], "photo_compress": STAGES["prune"]}


@dataclass(frozen=True)
class Facts:
    """What a card is written from.

    Args:
        card: of the exported file.
        size: bytes of the file.
        rows: what was measured here.
        trained_on: names of the photographs; empty where that is not known.
        held_out: likewise, of those that it was measured on.
        bundled: whether all of these come with scikit-image and scikit-learn; no others are named.
        picture: whether PICTURE lies beside the text.
        licence: as model hubs spell it, such as mit.
        address: where it is registered.
    """

    card: OnnxCard
    size: int
    rows: Sequence[Row] = ()
    trained_on: Sequence[str] = ()
    held_out: Sequence[str] = ()
    bundled: bool = False
    picture: bool = False
    licence: str = UNSTATED
    address: str = "models:/srfoundry@champion"


def short(facts: Facts) -> str:
    """Two lines: what it is and what it gains, and what it takes."""
    card, first = facts.card, _measured(facts)[:1]
    gain = "".join(f", {row.model:.2f} dB PSNR-Y, {row.model - row.bicubic:+.2f} dB over bicubic" for row in first)
    return (
        f"Enlarges {_subject(card)} {card.scale} times: {_architecture(card)}, {card.parameters:,} parameters{gain}. "
        "As a pyfunc it takes images of any size (encoded bytes or base64, uint8 arrays h w 3, float tensors b 3 h w "
        "in [0, 1]; lists and frames of these) and gives back the same form, in tiles; README.md beside the model has "
        "figures and limits. The ONNX file takes `low`, float32 (batch, 3, height, width), RGB in [0, 1], and carries "
        "its card in its metadata."
    )


def readme(facts: Facts, name: str) -> str:
    """The whole card.

    Args:
        facts: of the model.
        name: that it is published or registered under.
    """
    parts = [_front_matter(facts, name), f"# {name}\n", _what(facts)]
    if facts.picture:
        shown = ", ".join(facts.held_out) if facts.bundled else "held-out photographs"
        parts.append(f"![Low resolution, bicubic, this model, original: {shown}]({PICTURE})\n")
    parts += [_table(facts), _limits(facts), _usage(facts), _training(facts), _licence(facts)]
    return "\n".join(parts)


def front_matter(facts: Facts, name: str) -> dict[str, Any]:
    """What model hubs index: task, tags, licence, figures."""
    card, rows = facts.card, _measured(facts)
    results = [
        {
            "task": {"type": "image-to-image", "name": f"Super-resolution x{card.scale}"},
            "dataset": {"type": "held-out-photographs", "name": f"held-out photographs, {words(row.test, card.scale)}"},
            "metrics": [
                {"type": "psnr", "name": "PSNR-Y, dB", "value": round(row.model, 2)},
                *([{"type": "ssim", "name": "SSIM-Y", "value": round(row.ssim, 4)}] if row.ssim else []),
            ],
        }
        for row in rows
    ]
    return {
        "library_name": "onnxruntime",
        "pipeline_tag": "image-to-image",
        "license": facts.licence,
        "tags": [
            "super-resolution",
            "image-upscaling",
            "onnx",
            f"x{card.scale}",
            str(card.arch.get("name", "")),
            "srfoundry",
        ],
        "metrics": ["psnr", "ssim"],
        "model-index": [{"name": name, "results": results}],
    }


def _front_matter(facts: Facts, name: str) -> str:
    from ruamel.yaml import YAML

    yaml, text = YAML(), StringIO()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 200
    yaml.dump(front_matter(facts, name), text)
    return f"---\n{text.getvalue()}---\n"


def _what(facts: Facts) -> str:
    card = facts.card
    name = card.made_by.partition("@")[0]
    stage = STAGES.get(name) or STAGES.get(name.partition("_")[0], f"made by the stage `{card.made_by}`")
    removed = card.metrics.get("removed_fraction")
    smaller = f" {removed:.0%} of the parameters of the network that it was made from are gone." if removed else ""
    beside = [f"`{name}`" for name in card.outputs if name != RESTORED]
    says = (
        f" Beside the image it gives {' and '.join(beside)}, its estimate of the blur and the noise." if beside else ""
    )
    return (
        f"Enlarges {_subject(card)} {card.scale} times. {_architecture(card)} with {card.parameters:,} parameters, "
        f"{stage}.{smaller} One ONNX file of {facts.size / 1e3:,.0f} kB (operator set {card.opset}), any height and "
        f"width, any batch; its card lies in its metadata and in `config.json`.{says}\n"
    )


def _table(facts: Facts) -> str:
    rows, scale = _measured(facts), facts.card.scale
    if not rows:
        return "## Measured\n\nNothing: no held-out photographs were there.\n"
    # One's own photographs are as private as their names.
    names = f" ({', '.join(facts.held_out)})" if facts.bundled and 0 < len(facts.held_out) <= 12 else ""
    lines = [f"| {_held_out(facts)} | bicubic, PSNR-Y | this model | gain | SSIM-Y |", "|---|---|---|---|---|"]
    for row in rows:
        gain, ssim = f"{row.model - row.bicubic:+.2f} dB", f"{row.ssim:.4f}" if row.ssim else ""
        lines.append(f"| {words(row.test, scale)} | {row.bicubic:.2f} dB | {row.model:.2f} dB | {gain} | {ssim} |")
    return (
        "## Measured\n\n"
        + "\n".join(lines)
        + f"\n\nMeans over photographs{names} that no training and no choice of a model has seen. Bicubic is MATLAB's "
        f"(a = -0.5, antialiased). Y of 8 bits, the border cropped. Where every {nth(scale)} pixel was taken, both "
        "results are moved onto the original's grid first: compared as they come, each seems up to a decibel worse.\n"
    )


def _limits(facts: Facts) -> str:
    error = (
        f", which changes a row or column by {_share(facts.card.tile_error)} of the range, root mean square, at most"
        if facts.card.tile_error
        else ""
    )
    card = facts.card
    shown = "as the table shows" if len(_measured(facts)) > 1 else "as `srfoundry card` measures"
    return f"""## Limits

{_trained(facts, shown)}
- It does not invent: no face, text or texture comes back that the small image has lost. Drawings and screenshots are
  no photographs to it.
- Input and output are RGB of 8 bits or floats in [0, 1]; alpha is enlarged bicubically beside it, wider samples are
  rounded.
- Larger images than {card.tile}x{card.tile} pixels run in tiles that overlap by {card.overlap} pixels{error}.
- It is small, made for quick runs on a processor; larger networks do better.
"""


def _trained(facts: Facts, shown: str) -> str:
    """What it knows, and what follows from that."""
    card = facts.card
    if card.degradation == BICUBIC:
        return (
            "- It was trained on photographs reduced by MATLAB's bicubic and has never seen blur, noise or JPEG.\n"
            f"  {_off_its_ground(facts, shown)}. It enlarges noise and blocks along with the rest.\n"
            "  The members `photo` are made for these; for an unknown blur there is `srfoundry restore`, too."
        )
    loop = purpose.dual_map(card)
    closed = f" In training {loop}." if loop else ""
    return (
        f"- It was made for {purpose.brief(card)}; under `Trained on` stands what damage it has seen.{closed}\n"
        f"- {purpose.never_seen(card)}; how it fares on them, {shown}."
    )


def _off_its_ground(facts: Facts, shown: str) -> str:
    """How a model of clean images fares on damaged ones, as far as that was measured."""
    gains = {row.test: row.model - row.bicubic for row in _measured(facts)}
    clean = gains.pop(BICUBIC, None)
    if clean is not None and gains and max(gains.values()) < clean:
        return f"On such images it gains less, {shown}"
    return f"What it gains on such images {shown.removeprefix('as ')}"


def _share(value: float) -> str:
    """A small share with four decimals; one that they do not show is not 0."""
    return f"{value:.4f}" if value >= 0.00005 else "less than 0.0001"


def _usage(facts: Facts) -> str:
    return f"""## Use

```sh
srfoundry upscale photo.jpg --model model.onnx
```

```python
from srfoundry.runtime.upscaler import Upscaler

upscaler = Upscaler.load("model.onnx")   # NumPy, Pillow and ONNX Runtime, no PyTorch
large = upscaler("photo.jpg")            # or a Pillow image, or a uint8 array h w 3
```

```python
import mlflow                            # where it is registered; MLFLOW_TRACKING_URI says where

model = mlflow.pyfunc.load_model("{facts.address}")
png = model.predict(open("photo.jpg", "rb").read())
```

Any ONNX runtime of operator set {facts.card.opset} runs the graph: `low` (batch, 3, height, width), float32, RGB in
[0, 1]; `restored` is the same, {facts.card.scale} times as large, clipped.
"""


def _training(facts: Facts) -> str:
    card = facts.card
    count = f"{len(facts.trained_on)} photographs" if facts.trained_on else "Photographs"
    names = f" ({', '.join(facts.trained_on)})" if facts.bundled and 0 < len(facts.trained_on) <= 40 else ""
    source = " that come with scikit-image and scikit-learn" if facts.bundled else ""
    return (
        f"## Trained on\n\n{count}{source}{names}, {purpose.trained_on(card)}. "
        "Nothing personal was sought or removed. "
        f"Hash of the data `{card.data_hash}`, of the parameters `{card.params_hash}`: the same data and values give "
        "the same file, byte for byte, on the same kind of machine.\n"
    )


def _licence(facts: Facts) -> str:
    said = (
        "None is stated. Whoever publishes this names one (`srfoundry card --licence`)."
        if facts.licence == UNSTATED
        else f"`{facts.licence}`."
    )
    free = (
        " The photographs are in the public domain or CC0, but for `china` and `flower` (CC BY 2.0)."
        if facts.bundled
        else " Photographs have licences of their own, which may bind what is trained on them."
    )
    return f"## Licence\n\n{said}{free}\n"


def _measured(facts: Facts) -> list[Row]:
    """What was measured, after what the network is made for; what was not measured anew, as its card has it."""
    card, rows = facts.card, list(facts.rows)
    for test in WORDS:
        scores: Mapping[str, Any] = card.scores(test)
        if any(row.test == test for row in rows) or not {"psnr_y", "gain_db"} <= set(scores):
            continue
        psnr = float(scores["psnr_y"])
        rows.append(Row(test, psnr - float(scores["gain_db"]), psnr, float(scores.get("ssim_y", 0.0))))
    return sorted(rows, key=lambda row: [card.judged_on, *WORDS].index(row.test))


def _held_out(facts: Facts) -> str:
    return f"{len(facts.held_out)} held-out photographs" if facts.held_out else "held-out photographs"


def _subject(card: OnnxCard) -> str:
    return "photographs" if card.degradation == BICUBIC else purpose.brief(card)


def _architecture(card: OnnxCard) -> str:
    name = str(card.arch.get("name", "network"))
    return REFERENCES.get(name, name)

"""The one reader of params.yaml: every value typed, bounded and present, or nothing starts.

Fields have no defaults: a default would be a second params file. Units and sources stand in params.yaml itself.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from srfoundry.errors import FoundryError

Count = Annotated[int, Field(ge=1)]
Steps = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Names = Annotated[list[str], Field(min_length=1)]


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError("must be odd, so that a kernel has a middle tap")
    return size


OddSize = Annotated[int, Field(ge=3, le=31), AfterValidator(_odd)]


class Section(BaseModel):
    """A frozen section of params.yaml in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Shared(Section):
    """What every stage reads."""

    seed: Annotated[int, Field(ge=0)]
    scale: Literal[2, 3, 4]
    threads: Count
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "float32", "bfloat16"]


class Archive(Section):
    """A zip or tar of photographs to download."""

    url: Annotated[str, Field(pattern=r"^(https?|file)://\S+$")]
    checksum: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$")]


class Bank(Section):
    """How many kernels of each family (kernels.FAMILIES)."""

    gaussian: Steps
    noisy: Steps
    line: Steps
    trajectory: Steps


class Synthesize(Section):
    """Where the photographs come from and how they are degraded."""

    source: Literal["bundled", "folder", "archives"]
    folder: Annotated[str, Field(min_length=1)]
    archives: list[Archive]
    on_bad_image: Literal["stop", "skip"]
    held_out: Names | Share
    validation: Names | Share
    smallest: Annotated[int, Field(ge=32)]
    kernel_size: OddSize
    bank: Bank
    kernels: Annotated[str, Field(min_length=1)]
    noise: Annotated[float, Field(ge=0, le=0.5)]
    jpeg: Annotated[int, Field(ge=0, le=95)]

    @model_validator(mode="after")
    def _possible(self) -> "Synthesize":
        if self.source == "archives" and not self.archives:
            raise ValueError("source is archives, got an empty list of archives; name one with its checksum")
        return self


class Pretrain(Section):
    """The eight-layer network on bicubic pairs (MZSR phase 1)."""

    width: Count
    depth: Annotated[int, Field(ge=3)]
    patch: Annotated[int, Field(ge=16)]
    batch: Count
    steps: Steps
    learning_rate: Rate
    schedule: Literal["cosine", "staircase"]


class Metatrain(Section):
    """MAML over kernel tasks (MZSR phase 2)."""

    warmup_steps: Steps
    warmup_patch: Annotated[int, Field(ge=16)]
    warmup_batch: Count
    warmup_learning_rate: Rate
    steps: Steps
    tasks: Count
    shots: Count
    patch: Annotated[int, Field(ge=16)]
    inner_steps: Count
    inner_rate: Rate
    learning_rate: Rate
    order: Literal["first", "second"]
    loss_weights: Literal["uniform", "annealed", "last"]
    schedule: Literal["cosine", "constant"]
    enlargement: Literal["bicubic", "linear"]
    decimation: Literal["direct", "bicubic", "both"]
    scales: list[Annotated[float, Field(gt=1, le=8)]]
    mismatch: Annotated[float, Field(ge=0, le=10)]
    learn_rates: bool
    rates: Annotated[list[Rate], Field(min_length=1)]
    sons: Count
    held_out: Annotated[float, Field(ge=0, le=0.5)]

    @model_validator(mode="after")
    def _possible(self) -> "Metatrain":
        broken = [scale for scale in self.scales if scale != int(scale)]
        if broken and self.enlargement == "linear":
            raise ValueError(
                f"enlargement linear has no filters for scales between whole numbers, got {broken}; set it to bicubic"
            )
        return self


class Dual(Section):
    """The dual-regression network on bicubic pairs (DRN)."""

    width: Annotated[int, Field(ge=3)]
    blocks: Count
    dual_width: Count
    dual_weight: Weight
    patch: Annotated[int, Field(ge=16)]
    octave: Annotated[float, Field(ge=0, le=1)]
    batch: Count
    steps: Steps
    learning_rate: Rate
    warmup: Steps
    average: Annotated[float, Field(ge=0, lt=1)]
    clip: Annotated[float, Field(gt=0)]


class Search(Section):
    """How many channels each inner width keeps (DRC)."""

    remove: Share
    tolerance: Share
    multiple: Count
    order: Literal["first", "second"]
    dual_weight: Weight
    patch: Annotated[int, Field(ge=16)]
    octave: Annotated[float, Field(ge=0, le=1)]
    batch: Count
    steps: Steps
    learning_rate: Rate
    width_rate: Rate
    temperature: Rate
    clip: Annotated[float, Field(gt=0)]


class Prune(Section):
    """Which channels stay, and fine-tuning without the others (DRC)."""

    per_round: Count
    select_batches: Count
    select_batch: Count
    select_rate: Rate
    feature_weight: Weight
    dual_weight: Weight
    teacher_weight: Weight
    patch: Annotated[int, Field(ge=16)]
    octave: Annotated[float, Field(ge=0, le=1)]
    batch: Count
    steps: Steps
    learning_rate: Rate
    warmup: Steps
    average: Annotated[float, Field(ge=0, lt=1)]
    clip: Annotated[float, Field(gt=0)]


class Estimate(Section):
    """Kernel estimation from one low-resolution image (DKP)."""

    kernel_size: Annotated[int, Field(ge=3, le=31)]
    variances: Annotated[list[Annotated[float, Field(gt=0, le=100)]], Field(min_length=2, max_length=2)]
    iterations: Count
    draws: Annotated[int, Field(ge=8)]
    temperature: Annotated[float, Field(gt=0)]
    image_steps: Steps
    kernel_steps: Count
    image_rate: Rate
    kernel_rate: Rate
    prior_strength: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2)]
    langevin: Weight
    window: Annotated[int, Field(ge=16)]
    width: Count
    levels: Annotated[int, Field(ge=1, le=6)]
    noise: Annotated[float, Field(ge=0, le=0.5)]
    tile: Annotated[int, Field(ge=8)]
    keep: Annotated[float, Field(gt=0, le=1)]
    exponent: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2)]
    softness: Weight

    @model_validator(mode="after")
    def _possible(self) -> "Estimate":
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, so that it has a middle tap, got {self.kernel_size}")
        if self.variances[0] >= self.variances[1]:
            raise ValueError(f"variances must be the least and then the largest, got {self.variances}")
        return self


class Evaluate(Section):
    """How the finished models are tried on the held-out photographs."""

    tile: Annotated[int, Field(ge=32)]


class Export(Section):
    """What is handed out, under which name, and how exact it must be."""

    registered_model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    opset: Annotated[int, Field(ge=18, le=22)]
    tolerance: Annotated[float, Field(gt=0, le=1e-2)]
    sizes: Annotated[list[tuple[Count, Count]], Field(min_length=1)]
    tile: Annotated[int, Field(ge=32)]


class Params(Section):
    """The whole of params.yaml."""

    shared: Shared
    synthesize: Synthesize
    pretrain: Pretrain
    metatrain: Metatrain
    dual: Dual
    search: Search
    prune: Prune
    estimate: Estimate
    evaluate: Evaluate
    export: Export

    @model_validator(mode="after")
    def _wide_enough(self) -> "Params":
        least = 2 * self.shared.scale + 5
        if self.synthesize.kernel_size < least:
            raise ValueError(
                f"synthesize.kernel_size must be {least} or more at scale {self.shared.scale}, so that kernels fit in, "
                f"got {self.synthesize.kernel_size}"
            )
        return self

    @model_validator(mode="after")
    def _bank_first(self) -> "Params":
        scales = self.metatrain.scales
        if scales and scales[0] != self.shared.scale:
            raise ValueError(
                f"metatrain.scales must begin with shared.scale {self.shared.scale}, which the kernels are drawn for, "
                f"got {scales[0]}"
            )
        return self

    @model_validator(mode="after")
    def _divisible(self) -> "Params":
        """Patches are cut so that a reduction's pixels lie on the photograph's."""
        scale, whole = self.shared.scale, self.model_dump()
        odd = [
            f"{section}.{key} {value}"
            for section in ("pretrain", "metatrain", "dual", "search", "prune")
            for key, value in whole[section].items()
            if key in ("patch", "warmup_patch") and value % scale
        ]
        if odd:
            raise ValueError(f"patches must be multiples of shared.scale {scale}, got {', '.join(odd)}; change them")
        return self

    def section_hash(self, *names: str) -> str:
        """Return 16 hex digits over `shared` and the named sections."""
        whole = self.model_dump(mode="json")
        chosen = {name: whole[name] for name in ("shared", *names)}
        return hashlib.blake2b(json.dumps(chosen, sort_keys=True).encode(), digest_size=8).hexdigest()


def load(path: Path) -> Params:
    """Read and check params.yaml; every problem is reported at once, with its key.

    Raises:
        FoundryError: the file is missing, is no YAML, or has unknown, missing or out-of-range keys.
    """
    try:
        raw: Any = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FoundryError(f"{path} not found; run from the project's folder or restore it from git") from None
    except (YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise FoundryError(f"{path} is not valid YAML: {reason}; mend that line") from None
    return check(raw, str(path))


def check(raw: Any, where: str) -> Params:
    """Return plain values as typed ones; `where` they come from is said with every problem.

    Raises:
        FoundryError: unknown, missing or out-of-range keys.
    """
    try:
        return Params.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors()]
        raise FoundryError(f"{where}: " + "; ".join(problems)) from None


def _problem(item: Any) -> str:
    parts = [str(part) for part in item["loc"]]
    # Members of a union are named after the key ("list[...]", "constrained-float"): noise for a person.
    where = ".".join(part for part in parts if part.replace("_", "").isalnum())
    if item["type"] == "extra_forbidden":
        return f"{where}: unknown key; correct its spelling or remove it"
    if item["type"] == "missing":
        return f"{where}: missing; add it (see params.yaml in git)"
    message = item["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return ": ".join(
        [*([where] if where else []), message if ", got " in message else f"{message}, got {item['input']!r}"]
    )

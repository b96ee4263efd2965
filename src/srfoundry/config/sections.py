"""The sections of params.yaml, one a stage and `shared`: every value typed and bounded.

Fields have no defaults: a default would be a second params file. Units and sources stand in params.yaml itself.
The file grows with the stages: it is the one list of all that can be set.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from srfoundry.blind.diffusion.settings import DiffusionSampler
from srfoundry.blind.estimators import ESTIMATORS
from srfoundry.blind.kernel_step.settings import CaseSettings
from srfoundry.blind.nonblind_settings import (
    ClassifierDescent,
    CorrectorDescent,
    SampleCollection,
    TrainingDegradations,
)
from srfoundry.blind.settings import (
    Estimation,
    ImageFit,
    KernelFit,
    KernelPrior,
    KernelSampling,
    Precision,
    SpectrumModel,
    Stopping,
    Turns,
    Windows,
)
from srfoundry.blind.unfolded.settings import WindowSettings
from srfoundry.compression.compressors import CompressorName
from srfoundry.compression.settings import (
    BudgetTarget,
    Compression,
    GreedySelection,
    SearchDescent,
    Searching,
    Tuning,
    TuningWeights,
    WidthModel,
)
from srfoundry.config.section import Inline, Section
from srfoundry.core.addresses import one_of
from srfoundry.core.ranges import Count, Rate, Steps
from srfoundry.data.settings import Source, Split
from srfoundry.degradation.settings import (
    BankDraw,
    BlurRanges,
    Corruption,
    DamageRanges,
    Model,
    Part,
    RandomDegradation,
    RoundRanges,
)
from srfoundry.deployment.settings import GraphTarget, ParityCheck, Precisions
from srfoundry.dual_regression.settings import DenseTraining, LossWeights
from srfoundry.networks.zoo.architectures import ARCHITECTURES, names
from srfoundry.networks.zoo.family import FAMILY
from srfoundry.solver.beamforming.settings import ChannelDraw, Effort
from srfoundry.training.settings import Descent, PatchDraw
from srfoundry.zero_shot.settings import (
    LARGEST_OF_ADAM,
    AdaptationSteps,
    InnerLoop,
    NoiseDraw,
    OuterDescent,
    PlainTraining,
    TaskDegradations,
    TaskDraw,
)

# A machine gives up, or a library ends without a word, long before the number of threads is too large for an int.
MOST_THREADS = 256  # of a process
MOST_PROCESSES = 64  # of a training


class Shared(Section):
    """What every stage reads."""

    seed: Annotated[int, Field(ge=0)]
    scale: Literal[2, 3, 4, 8]
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)]
    device: Literal["auto", "cpu", "cuda"]
    precision: Precision


class Distributed(Section):
    """How a training's batch is computed: by how many processes, in how many parts, and what is kept meanwhile."""

    processes: Annotated[int, Field(ge=1, le=MOST_PROCESSES)]
    accumulate: Count
    checkpointing: bool

    @property
    def plain(self) -> bool:
        """Whether one process computes the batch at once, and keeps all of it."""
        return self.processes == self.accumulate == 1 and not self.checkpointing


class Synthesize(Section):
    """Where the photographs come from and how they are degraded."""

    photographs: Annotated[Source, Inline()]
    split: Annotated[Split, Inline()]
    blur: Annotated[BankDraw, Inline()]
    corruption: Annotated[Corruption, Inline()]

    @model_validator(mode="after")
    def _possible(self) -> "Synthesize":
        if self.photographs.source == "archives" and not self.photographs.archives:
            raise ValueError("source is archives, got an empty list of archives; name one with its checksum")
        shares = [part for part in (self.split.held_out, self.split.validation) if isinstance(part, float)]
        if len(shares) == 2 and sum(shares) >= 1:
            raise ValueError(f"held_out and validation must leave photographs to train on, got {shares}; lower one")
        return self


class Pretrain(Section):
    """The eight-layer network on bicubic pairs (MZSR phase 1)."""

    width: Count
    depth: Annotated[int, Field(ge=3)]
    training: Annotated[PlainTraining, Inline()]
    schedule: Literal["cosine", "staircase"]


class Metatrain(Section):
    """MAML over kernel tasks (MZSR phase 2)."""

    warmup: Annotated[PlainTraining, Inline("warmup_")]
    draw: Annotated[TaskDraw, Inline()]
    inner: Annotated[InnerLoop, Inline(names={"steps": "inner_steps", "rate": "inner_rate"})]
    outer: Annotated[OuterDescent, Inline()]
    degradations: Annotated[TaskDegradations, Inline()]
    noise: Annotated[NoiseDraw, Inline()]
    adaptation: Annotated[AdaptationSteps, Inline()]

    @model_validator(mode="after")
    def _possible(self) -> "Metatrain":
        scales = self.degradations.scales
        broken = [scale for scale in scales if scale != int(scale)]
        if broken and self.degradations.enlargement == "linear":
            raise ValueError(
                f"enlargement linear has no filters for scales between whole numbers, got {broken}; set it to bicubic"
            )
        if len(scales) > 1 and self.draw.support == "self_pair":
            raise ValueError(f"support self_pair takes one scale, got {scales}; set it to patches")
        largest = max(self.adaptation.rates)
        if self.adaptation.descent == "adam" and largest > LARGEST_OF_ADAM:
            raise ValueError(
                f"rates up to {largest:g} are those of plain descent: a step of Adam's moves every weight by so much; "
                "set descent to plain, or rates to 1e-5 to 1e-4"
            )
        return self


class Degrade(Section):
    """What pairs go through where a stage's `degradation` is blind or photographs."""

    clean: Part
    blur: Annotated[BlurRanges, Inline()]
    damage: Annotated[DamageRanges, Inline()]
    rounds: Annotated[RoundRanges, Inline()]

    def model(self, name: Model) -> RandomDegradation:
        """The model of that name with these ranges."""
        return RandomDegradation(
            degradation=name, clean=self.clean, blur=self.blur, damage=self.damage, rounds=self.rounds
        )

    @model_validator(mode="after")
    def _possible(self) -> "Degrade":
        rounds = self.rounds
        ranges = {
            "variances": self.blur.variances,
            "jpeg": self.damage.jpeg,
            "first_blur": rounds.first_blur,
            "second_blur": rounds.second_blur,
            "resize": rounds.resize,
        }
        if wrong := [f"{name} {list(pair)}" for name, pair in ranges.items() if pair[0] > pair[1]]:
            raise ValueError(f"ranges must be the least and then the largest, got {', '.join(wrong)}; turn them round")
        return self


Primal = Annotated[str, AfterValidator(one_of(lambda: names("primal")))]


def _check_width(network: str, width: int) -> None:
    if width % (multiple := ARCHITECTURES[network].width_multiple):
        raise ValueError(f"width must be a multiple of {multiple} for {network}, got {width}")


class Dual(Section):
    """The dual-regression network (DRN)."""

    degradation: Model
    network: Primal
    width: Annotated[int, Field(ge=3)]
    blocks: Count
    dual_map: Literal["learned", "operator"]
    dual_width: Count
    weights: Annotated[LossWeights, Inline()]
    draw: Annotated[PatchDraw, Inline()]
    descent: Annotated[Descent, Inline()]
    restarts: Count
    skip: Annotated[float, Field(ge=0)]
    unpaired: Annotated[str, Field(min_length=1)]
    unpaired_share: Annotated[float, Field(ge=0, lt=1)]

    def archs(self, scale: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the net and its dual nets are built from: their cards' arch."""
        kind = ARCHITECTURES[self.network]
        assert kind.dual is not None
        net = {"name": self.network, "scale": scale, "width": self.width, **kind.depth(self.blocks)}
        if self.dual_map == "operator":
            return net, {"name": "kernel_dual", "scale": scale, "size": 1, "decimation": "bicubic"}
        return net, {"name": kind.dual, "scale": scale, "width": self.dual_width}

    def training(self, scale: int, ranges: Degrade) -> DenseTraining:
        """All that the network is trained by."""
        arch, dual_arch = self.archs(scale)
        return DenseTraining(
            arch=arch,
            dual_arch=dual_arch,
            weights=self.weights,
            draws=self.draw,
            degradation=ranges.model(self.degradation),
            descent=self.descent,
            restarts=self.restarts,
            skip=self.skip,
            unpaired_share=self.unpaired_share,
        )

    @model_validator(mode="after")
    def _possible(self) -> "Dual":
        _check_width(self.network, self.width)
        if self.unpaired_share > 0 and self.weights.dual_weight == 0:
            raise ValueError("unpaired_share needs the dual term, got dual_weight 0; set one of them")
        if self.unpaired_share > 0 and not 1 <= round(self.draw.batch * self.unpaired_share) < self.draw.batch:
            raise ValueError(
                f"unpaired_share must leave room for one image of each kind in a batch of {self.draw.batch}, "
                f"got {self.unpaired_share}; change it or batch"
            )
        return self


class Photo(Section):
    """The dual-regression network for photographs from cameras and the web: as `dual`, but for these."""

    degradation: Model
    start: Literal["dual", "scratch"]
    network: Primal
    width: Annotated[int, Field(ge=3)]
    blocks: Count
    dual_map: Literal["learned", "operator"]
    draw: Annotated[PatchDraw, Inline()]
    steps: Steps
    learning_rate: Rate

    def over(self, dual: Dual) -> Dual:
        """The values of `dual` but for what this section says otherwise."""
        own = {name: getattr(self, name) for name in type(self).model_fields if name in type(dual).model_fields}
        descent = replace(dual.descent, steps=self.steps, learning_rate=self.learning_rate)
        return dual.model_copy(update={**own, "descent": descent})

    @model_validator(mode="after")
    def _possible(self) -> "Photo":
        _check_width(self.network, self.width)
        return self


class Search(Section):
    """How many channels each inner width keeps (DRC)."""

    degradation: Model
    target: Annotated[BudgetTarget, Inline()]
    model: Annotated[WidthModel, Inline()]
    descent: Annotated[SearchDescent, Inline()]
    weights: Annotated[LossWeights, Inline()]
    draw: Annotated[PatchDraw, Inline()]

    def searching(self, ranges: Degrade) -> Searching:
        """All that the search is run by."""
        return Searching(
            model=self.model,
            descent=self.descent,
            weights=self.weights,
            draws=self.draw,
            degradation=ranges.model(self.degradation),
        )


class Prune(Section):
    """Which channels stay, and fine-tuning without the others (DRC)."""

    degradation: Model
    start: Literal["search", "dual"]
    selection: Annotated[GreedySelection, Inline()]
    weights: Annotated[TuningWeights, Inline()]
    draw: Annotated[PatchDraw, Inline()]
    descent: Annotated[Descent, Inline()]

    def tuning(self, ranges: Degrade) -> Tuning:
        """All that selection and fine-tuning are run by."""
        return Tuning(
            selection=self.selection,
            weights=self.weights,
            draws=self.draw,
            descent=self.descent,
            degradation=ranges.model(self.degradation),
        )


class Compress(Section):
    """The further members of the family: searched and pruned as `search` and `prune` say, but for these."""

    method: CompressorName
    groups: Count
    multiple: Count
    search_steps: Count
    steps: Steps

    def over(self, search: Search, ranges: Degrade, *, remove: float) -> Compression:
        """What the method is given: the values of `search` but for what this section says otherwise."""
        target = replace(search.target, remove=remove, multiple=self.multiple)
        searching = search.searching(ranges)
        searching = replace(searching, descent=replace(searching.descent, steps=self.search_steps))
        return Compression(target=target, searching=searching, groups=self.groups)

    def tuning(self, prune: Prune, ranges: Degrade) -> Tuning:
        """The fine-tuning of `prune` but for its steps."""
        tuning = prune.tuning(ranges)
        return replace(tuning, descent=replace(tuning.descent, steps=self.steps))


class PhotoCompress(Section):
    """The smaller members for photographs: as `compress`, under the degradation of `photo`, but for these."""

    search_steps: Count
    steps: Steps

    def compress(self, compress: Compress) -> Compress:
        """The values of `compress` but for what this section says otherwise."""
        return compress.model_copy(update={"search_steps": self.search_steps, "steps": self.steps})

    def search(self, search: Search, photo: Photo) -> Search:
        """The search's: a step takes half a batch of each half of the photographs."""
        draw = replace(photo.draw, batch=max(1, photo.draw.batch // 2))
        return search.model_copy(update={"degradation": photo.degradation, "draw": draw})

    def prune(self, prune: Prune, photo: Photo) -> Prune:
        """The fine-tuning's."""
        return prune.model_copy(update={"degradation": photo.degradation, "draw": photo.draw})


class Nonblind(Section):
    """The non-blind network that is conditioned on the blur (USRNet), the corrector and the classifier."""

    widths: Annotated[list[Count], Field(min_length=4, max_length=4)]
    blocks: Count
    iterations: Count
    draw: Annotated[PatchDraw, Inline()]
    degradations: Annotated[TrainingDegradations, Inline()]
    descent: Annotated[Descent, Inline()]
    collection: Annotated[SampleCollection, Inline(names={"photograph_softness": "softness"})]
    corrector: Annotated[CorrectorDescent, Inline("corrector_")]
    classifier: Annotated[ClassifierDescent, Inline("classifier_")]

    @property
    def arch(self) -> dict[str, Any]:
        """What the network is built from: its card's arch."""
        shape = {"widths": self.widths, "blocks": self.blocks, "iterations": self.iterations}
        return {"name": "usrnet", **shape, "residual": True}

    @model_validator(mode="after")
    def _possible(self) -> "Nonblind":
        if self.draw.patch < 32:
            raise ValueError(f"patch must be 32 or more, so that kernels fit in, got {self.draw.patch}")
        return self


class Estimate(Section):
    """Kernel estimation from one low-resolution image."""

    method: Annotated[str, AfterValidator(one_of(lambda: ESTIMATORS))]
    prior: Annotated[KernelPrior, Inline()]
    spectrum: Annotated[SpectrumModel, Inline()]
    sampling: Annotated[KernelSampling, Inline()]
    image: Annotated[ImageFit, Inline()]
    kernel: Annotated[KernelFit, Inline()]
    turns: Annotated[Turns, Inline()]
    stopping: Annotated[Stopping, Inline()]
    windows: Annotated[Windows, Inline()]
    recentre: bool
    precision: Precision

    @property
    def settings(self) -> Estimation:
        """All of it as the estimators take it."""
        return Estimation(
            method=self.method,
            prior=self.prior,
            spectrum=self.spectrum,
            sampling=self.sampling,
            image=self.image,
            kernel=self.kernel,
            turns=self.turns,
            stopping=self.stopping,
            windows=self.windows,
            recentre=self.recentre,
            precision=self.precision,
        )

    @model_validator(mode="after")
    def _possible(self) -> "Estimate":
        if self.prior.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, so that it has a middle tap, got {self.prior.kernel_size}")
        if self.prior.variances[0] >= self.prior.variances[1]:
            raise ValueError(f"variances must be the least and then the largest, got {list(self.prior.variances)}")
        needs = {
            "likelihood": self.sampling.likelihood == "residual",
            "learned": self.turns.learned,
            "stop": self.stopping.stop != "none",
        }
        wanting = [name for name, needed in needs.items() if needed]
        if wanting and not self.image.image_steps:
            raise ValueError(f"{', '.join(wanting)} needs an image, got image_steps 0")
        return self


class Diffuse(Section):
    """A small diffusion model of the photographs (DDPM), and kernels that are estimated under it (Diff-DKP)."""

    widths: Annotated[list[Annotated[int, Field(ge=8, multiple_of=8)]], Field(min_length=2, max_length=6)]
    draw: Annotated[PatchDraw, Inline()]
    descent: Annotated[Descent, Inline()]
    sampler: DiffusionSampler

    @model_validator(mode="after")
    def _possible(self) -> "Diffuse":
        unit = 2 ** (len(self.widths) - 1)
        if self.draw.patch % unit:
            raise ValueError(
                f"patch must be a multiple of {unit}, for {len(self.widths)} widths, got {self.draw.patch}"
            )
        return self


class Unfolded(Section):
    """Networks of the method unfolded, which finds kernels of any form."""

    scales: Annotated[list[Literal[2, 3, 4]], Field(min_length=1)]
    widths: Annotated[list[Count], Field(min_length=3, max_length=3)]
    kernel_widths: Annotated[list[Count], Field(min_length=3, max_length=3)]
    windows: Annotated[WindowSettings, Inline()]
    descent: Annotated[Descent, Inline()]

    @property
    def arch(self) -> dict[str, Any]:
        """What the network is built from: its card's arch."""
        shape = {"widths": self.widths, "kernel_widths": self.kernel_widths}
        return {"name": "unfolded", "scales": sorted(set(self.scales)), **shape}


class KernelStep(Section):
    """The learned step to kernels of free form, in the rounds of a restorer that denoises."""

    scales: Annotated[list[Literal[2, 3, 4]], Field(min_length=1)]
    widths: Annotated[list[Count], Field(min_length=3, max_length=3)]
    draw: Annotated[CaseSettings, Inline()]
    descent: Annotated[Descent, Inline()]

    @property
    def arch(self) -> dict[str, Any]:
        """What the network is built from: its card's arch."""
        return {"name": "kernel_step", "scales": sorted(set(self.scales)), "widths": self.widths}


class Fusion(Section):
    """What fuses a restoration under a kernel that may be wrong with milder ones."""

    scales: Annotated[list[Literal[2, 3, 4]], Field(min_length=1)]
    widths: Annotated[list[Count], Field(min_length=3, max_length=3)]
    photographs: Count
    others: Steps
    thumbnails: Steps
    patch: Annotated[int, Field(ge=96)]
    noise: Annotated[float, Field(ge=0, le=0.2)]
    softness: Annotated[float, Field(ge=0, le=2)]
    thumbnail_softness: Annotated[float, Field(ge=0, le=2)]
    square: Annotated[int, Field(ge=16)]
    batch: Count
    descent: Annotated[Descent, Inline()]

    @property
    def arch(self) -> dict[str, Any]:
        """What the network is built from: its card's arch."""
        return {"name": "fusion", "scales": sorted(set(self.scales)), "widths": self.widths}

    @property
    def images(self) -> int:
        """That are made small, and restored."""
        return self.photographs + self.thumbnails


class Beamform(Section):
    """The solver on beamforming: sum rates of random channels."""

    channels: Annotated[ChannelDraw, Inline()]
    snr: Annotated[list[Annotated[float, Field(ge=-30, le=60)]], Field(min_length=1)]
    effort: Annotated[Effort, Inline()]

    @model_validator(mode="after")
    def _possible(self) -> "Beamform":
        users, weights = self.channels.users, self.channels.weights
        if weights and (len(weights) != users or not sum(weights)):
            raise ValueError(f"weights must be one for each of {users} users and not all 0, got {weights}")
        if len({f"{ratio:g}" for ratio in self.snr}) < len(self.snr):  # so they are named in metrics.json
            raise ValueError(f"snr must differ from each other in the first six digits, got {self.snr}")
        return self


class Evaluate(Section):
    """How the finished models are tried on the held-out photographs, and on real ones without an original."""

    tile: Annotated[int, Field(ge=32)]
    real: Annotated[str, Field(min_length=1)]


class Export(Section):
    """What is handed out, under which name, and how exact it must be."""

    registered_model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    least_gain: Annotated[float, Field(ge=0, le=10)]
    target: Annotated[GraphTarget, Inline()]
    parity: Annotated[ParityCheck, Inline()]
    reduced: Annotated[Precisions, Inline()]
    web: list[Annotated[str, AfterValidator(one_of(lambda: FAMILY))]]

"""Where a stage writes: the project's folder, or one of its own for another params file, in which things are tried.

    python -m pipelines.dual --params wide.yaml      writes runs/wide/, and leaves models/ and results/ alone

The file holds some values or all; the others are those of params.yaml.

What the stages before it wrote is taken from there, or from the project where these values would make the same.
"""

from dataclasses import dataclass
from pathlib import Path

from pipelines.support.graph import Graph
from srfoundry.config import params as params_file
from srfoundry.config.params import Params
from srfoundry.core.errors import FoundryError

RUNS = "runs"  # holds a folder for each params file that was tried; ignored by git


@dataclass(frozen=True)
class Place:
    """Whose values a stage has, and where its checkpoints and results go.

    Args:
        root: folder of the project: code, the user's inputs, downloads.
        values: the params file, of values that go before those of the project's.
        folder: what is written lies below it.
    """

    root: Path
    values: Path
    folder: Path

    @classmethod
    def of(cls, root: Path, values: Path = Path("params.yaml")) -> "Place":
        """The project's own place for its params.yaml, runs/NAME for another file NAME.yaml."""
        given, own = root / values, root / "params.yaml"
        return cls(root, given, root if given.resolve() == own.resolve() else root / RUNS / given.stem)

    @property
    def trial(self) -> bool:
        """Whether something is tried: nothing of the project's is touched, and nothing is registered."""
        return self.folder != self.root

    @property
    def title(self) -> str:
        """What a line says of it; nothing of the project's own."""
        return f", values of {self.values.name}, written to {self.folder.relative_to(self.root)}/" if self.trial else ""

    def graph(self, name: str) -> Graph:
        """The graph under these values, the named stage beside it included."""
        return Graph(self.root, aside=name, values=self.values, folder=self.folder)

    def find(self, path: str, graph: Graph, params: Params) -> Path:
        """A file or folder that a stage or the user wrote; of the project where the trial has none of its own.

        Raises:
            FoundryError: it is not there, or it is the project's and other values made it; names what writes it.
        """
        writer = graph.writer(path)
        if self.trial and writer and not (self.folder / path).exists():
            self._same(path, writer, graph, params)
        found = self.folder / path
        found = found if found.exists() else self.root / path
        if not found.exists():
            remedy = f"it is written by: dvc repro {writer}" if writer else "no stage of dvc.yaml writes it"
            raise FoundryError(f"{path} not found; {remedy}")
        return found

    def _same(self, path: str, writer: str, graph: Graph, params: Params) -> None:
        """Stop where the project's `path` is not what these values would make: a figure of two experiments is none."""
        whole = params_file.load(self.root / "params.yaml")
        for name in [*graph.ancestors(writer), writer]:
            known = [section for section in graph.sections(name) if section in type(params).model_fields]
            changed = params.section_hash(*known) != whole.section_hash(*known)
            if changed or any((self.folder / out).exists() for out in graph.outputs(name)):
                why = (
                    f"{self.values.name} has other values for" if changed else f"{RUNS}/{self.folder.name} has its own"
                )
                module, _, item = writer.partition("@")
                items = zip(graph.matrix(module), item.split("-"), strict=False)
                options = "".join(f" --{key} {value}" for key, value in items)
                raise FoundryError(
                    f"{path} is the project's, and {why} {name}; first run: "
                    f"python -m pipelines.{module}{options} --params {self.values.name}"
                )

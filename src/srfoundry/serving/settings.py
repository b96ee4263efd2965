"""What a person decides of a server: where it listens, what it takes, how long it waits."""

from dataclasses import dataclass
from pathlib import Path

from srfoundry.core.errors import FoundryError

MEGA = 10**6


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may take.

    Attributes:
        queue: photographs that wait at most; the next one is refused with 429.
        largest: pixels of a photograph.
        largest_bytes: of a request's body.
        seconds: of work on one photograph, from its start.
        waiting: seconds that a client waits for its photograph's turn; who asks for a job has no such limit.
        grace: seconds that a body, or a client that reads its answer, may pause.
        slowest: bytes a second that a body must bring on average, after `grace`.
        kept_seconds: that a finished job's result is kept for whoever fetches it.
        kept_bytes: of all such results.
        connections: that are open at once.
    """

    queue: int = 32
    largest: int = 24 * MEGA
    largest_bytes: int = 64 * MEGA
    seconds: float = 300.0
    waiting: float = 30.0
    grace: float = 10.0
    slowest: int = 16 * 1024
    kept_seconds: float = 600.0
    kept_bytes: int = 512 * MEGA
    connections: int = 256


@dataclass(frozen=True)
class Listening:
    """Where the server listens, and who may call it.

    Attributes:
        host: address of an interface.
        port: 0 takes a free one.
        names: host names that a request may be for, besides this machine's own and plain addresses; `*` is any.
        origins: of other sites whose pages may call it (CORS).
        stopping: seconds that photographs under way may take after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    stopping: float = 30.0


@dataclass(frozen=True)
class Serving:
    """A whole server.

    Attributes:
        models: a folder of .onnx files, `models:/NAME` for all aliases of a registered model, `models:/NAME@ALIAS` for
            one.
        threads: of the processor, for the tiles of all requests together, and as many for a restoration beside.
        device: auto, cpu, cuda, tensorrt or openvino; what is restored takes the GPU beside tensorrt, and the processor
            beside openvino.
        limits: of requests.
        listening: where.
        polling: seconds between two looks at the folder or the registry.
        project: the folder with params.yaml and models/ that `restore` needs.
    """

    models: str
    threads: int
    device: str = "auto"
    limits: Limits = Limits()
    listening: Listening = Listening()
    polling: float = 1.0
    project: Path = Path()

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise FoundryError(f"threads must be 1 or more, got {self.threads}; leave --threads out for one a core")

"""A step recorded once and replayed is the step itself."""

import pytest
import torch

from srfoundry.blind.dkp.cuda_graph import Replay
from srfoundry.blind.dkp.dkp import estimate_by_dkp
from srfoundry.core.seeds import generator
from tests.blind_cases import kernel, low, observed, run_dkp, tiny


def test_replay_without_a_graph_is_the_step_itself() -> None:
    counter = torch.zeros(())
    replay = Replay(lambda: counter.add_(1), graph=False)
    assert [float(replay()) for _ in range(5)] == [1, 2, 3, 4, 5]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a graph is recorded on a GPU")
def test_replay_takes_one_step_a_call() -> None:
    counter = torch.zeros((), device="cuda")
    replay = Replay(lambda: counter.add_(1), graph=True)
    for _ in range(6):
        replay()
    assert float(counter) == 6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a graph is recorded on a GPU")
def test_a_graph_gives_what_eager_steps_give() -> None:
    image = low(kernel(2.0, 2.0, 0.0)).cuda()
    eager, graph = (
        estimate_by_dkp(observed(image), tiny(iterations=4, image_steps=4, capture=way), rng=generator(1, "graph"))
        for way in ("none", "graph")
    )
    torch.testing.assert_close(graph.kernel, eager.kernel, rtol=1e-2, atol=1e-4)


def test_a_graph_without_a_gpu_is_eager() -> None:
    image = low(kernel(2.0, 2.0, 0.0))
    first, other = (run_dkp(image, capture=way, iterations=1) for way in ("none", "graph"))
    assert torch.equal(first.kernel, other.kernel)

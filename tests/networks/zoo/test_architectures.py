"""The table of networks: every record can be built, and reading it imports none of them."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from srfoundry.cli import torch_model
from srfoundry.config.params import load
from srfoundry.config.sections import Dual
from srfoundry.core.addresses import resolve
from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.sr.network import SRNetwork
from srfoundry.networks.zoo.architectures import ARCHITECTURES, build, names, published
from srfoundry.networks.zoo.published_layout import PublishedLayout
from tests.shipped import SHIPPED

WIDTH = {"primal": 12, "dual": 4}


@pytest.mark.parametrize("name", [*names("primal"), "drn_duals", "straight_dual"])
def test_a_record_builds_its_network(name: str) -> None:
    record = ARCHITECTURES[name]
    depth = record.depth(1) if record.role == "primal" else {}
    net = build({"name": name, "scale": 2, "width": WIDTH[record.role], **depth})
    redraw(net, generator(1, name))
    record.start_at_bicubic(net)
    assert isinstance(net, SRNetwork) == (record.role == "primal")
    assert record.role != "primal" or record.dual in names("dual")


def test_what_does_not_enlarge_by_itself_is_named_for_what_it_does() -> None:
    assert {record.role for record in ARCHITECTURES.values()} == {"primal", *torch_model.OTHERWISE}


@pytest.mark.parametrize("name", [name for name, record in ARCHITECTURES.items() if record.published])
def test_published_weights_have_a_layout(name: str) -> None:
    record = ARCHITECTURES[name]
    assert isinstance(resolve(str(record.published)), PublishedLayout)
    assert record.sizes and all(published()[size] == {"name": name, **record.sizes[size]} for size in record.sizes)


def test_reading_the_table_imports_no_network() -> None:
    code = (
        "import sys, srfoundry.networks.zoo.architectures\n"
        "sys.exit([name for name in sys.modules if name == 'torch' or name.startswith(('srfoundry.networks.sr',"
        " 'srfoundry.networks.nonblind', 'srfoundry.networks.adaptive'))] or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"network": "rcan"}, f"must be one of {', '.join(names('primal'))}, got 'rcan'"),
        ({"network": "drn_duals"}, f"must be one of {', '.join(names('primal'))}, got 'drn_duals'"),
        ({"network": "swinir", "width": 20}, "width must be a multiple of 6 for swinir, got 20"),
    ],
)
def test_the_dual_section_knows_the_primals(changed: dict[str, object], said: str) -> None:
    whole = load(SHIPPED).dual
    with pytest.raises(ValidationError, match=said):
        Dual.model_validate({**dict(whole), **changed})

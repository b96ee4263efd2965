"""The images' recipes: no root, no tag that moves, commands that the program takes, and a health check that tells."""

import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchmarks import _containers
from pipelines.support import deploying
from srfoundry.cli import program
from tests import served
from tests.conftest import REPO, wait_until

STAGES = _containers.read(REPO / "Dockerfile")
COMPOSE: dict[str, Any] = YAML(typ="safe").load((REPO / "compose.yaml").read_text())
CONFINED = ["mlflow", "serve", "postgresql", "prefect", "store"]


@pytest.mark.parametrize("name", ["serve", "mlflow", "prefect"])
def test_an_image_is_confined_and_says_when_it_is_well(name: str) -> None:
    image = STAGES[name]
    assert image.base == "python:3.11.14-slim-trixie" and image.said["USER"] == "10001:10001"
    assert image.command("ENTRYPOINT") and image.command("CMD") and image.said["STOPSIGNAL"] == "SIGTERM"
    check = image.command("HEALTHCHECK")
    assert check[:2] == ["python", "-c"] and f":{image.said['EXPOSE']}/" in check[2]
    assert str(image.said["EXPOSE"]) in image.command("ENTRYPOINT")
    assert "org.opencontainers.image.title=" in image.said["LABEL"]
    assert not any("apt-get" in text or "pip" in text for word, text in image.steps if word == "RUN"), "no build tools"


def test_the_last_stage_is_the_server_and_the_program_takes_its_words() -> None:
    image = STAGES[""]
    assert image is STAGES["serve"]
    entry = image.command("ENTRYPOINT")
    assert entry[0] == "srfoundry"
    for more in (image.command("CMD"), COMPOSE["services"]["serve"]["command"]):
        chosen = program._parser().parse_args([*entry[1:], *more])
        assert chosen.host == "0.0.0.0" and chosen.port == 8000


def test_the_builder_is_sent_what_the_recipes_copy() -> None:
    """And neither data nor the environment."""
    let_in = [line[1:] for line in (REPO / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = {
        source
        for image in STAGES.values()
        for word, text in image.steps
        if word == "COPY" and "--from" not in text
        for source in shlex.split(text)[:-1]
    }
    assert copied <= set(let_in) and all((REPO / path).exists() for path in let_in)
    assert not {"data", ".venv", "models", "exports", ".git", "mlflow.db"} & set(let_in)


def test_training_builds_for_gpus_and_as_nobody_in_particular() -> None:
    image = _containers.read(REPO / "Dockerfile.train")[""]
    assert image.base.startswith("nvidia/cuda:") and not image.base.endswith("latest")
    assert image.said["USER"] == "10001:10001" and image.command("CMD") == ["make", "repro"]
    assert "onnxruntime-gpu==" in (REPO / "requirements.lock").read_text()
    assert any("onnxruntime-gpu" in text and "scripts/setup.sh" in text for word, text in image.steps if word == "RUN")


@pytest.mark.parametrize("name", CONFINED)
def test_services_write_nowhere_and_may_nothing(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["tmpfs"]
    assert service["security_opt"] == ["no-new-privileges:true"] and "privileged" not in service


def test_services_listen_on_this_machine_alone_and_wait_for_each_other() -> None:
    services = COMPOSE["services"]
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", []))
    for name in ("serve", "train", "worker"):
        assert services[name]["depends_on"]["mlflow"]["condition"] == "service_healthy"
        assert services[name]["environment"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert services["serve"]["ports"][0].endswith(f":{STAGES['serve'].said['EXPOSE']}")
    assert services["mlflow"]["ports"][0].endswith(f":{STAGES['mlflow'].said['EXPOSE']}")
    assert services["prefect"]["ports"][0].endswith(f":{STAGES['prefect'].said['EXPOSE']}")
    named = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert {name for name in named if not name.startswith((".", "$"))} == set(COMPOSE["volumes"])


def test_a_team_has_its_services_and_no_password_stands_in_a_file() -> None:
    """What is secret comes from the environment or .env; a worker takes runs of the pool that `make deploy` makes."""
    services = COMPOSE["services"]
    cluster = {name for name, service in services.items() if "cluster" in service.get("profiles", [])}
    assert cluster == {"postgresql", "prefect", "worker", "store"}
    for name in cluster | {"mlflow"}:
        for key, value in services[name]["environment"].items():
            if any(word in key for word in ("PASSWORD", "SECRET", "AUTH", "ACCESS_KEY")):
                assert value.startswith("${"), f"{name}: {key}"
        assert "PASSWORD" not in str(services[name].get("command", ""))
    command = services["worker"]["command"]
    assert command[command.index("--pool") + 1] == deploying.POOL
    assert services["worker"]["environment"]["PREFECT_API_URL"] == "http://prefect:4200/api"


def test_the_health_check_says_whether_the_server_is_ready(tmp_path: Path) -> None:
    """The image's own command lines, at a free port: unwell before the start, well after it, a clean end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    (tmp_path / "bicubic.onnx").write_bytes(served.model())
    image = STAGES["serve"]
    check = [sys.executable, *(part.replace("8000", port) for part in image.command("HEALTHCHECK")[1:])]
    entry = [part.replace("8000", port) for part in image.command("ENTRYPOINT")[1:]]
    command = [sys.executable, "-m", "srfoundry.cli.program", *entry, "--models", str(tmp_path), "--threads", "1"]

    def well() -> bool:
        return subprocess.run(check, capture_output=True, timeout=60).returncode == 0

    assert not well()
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(well, process=server)
    finally:
        server.terminate()
        said, _ = server.communicate(timeout=120)
    assert server.returncode == 0, said


def test_the_bill_of_materials_is_written_with_the_image() -> None:
    steps = [text for word, text in STAGES["build"].steps if word == "RUN"]
    assert any("cyclonedx-bom==" in text and "/opt/srfoundry/sbom.cdx.json" in text for text in steps)

"""Stores of bytes behind the network, for DVC's remote and MLflow's artefacts: a folder behind SSH, or S3.

Amazon's own S3 asks for an account; `moto` (`pip install 'moto[server]' 'srfoundry[s3]'`) speaks its protocol from this
machine's memory.
"""

import importlib
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks._remote_process import Started, answers, connects, free_port

SSHD = "/usr/sbin/sshd"
S3 = {"moto": "moto[server]", "boto3": "srfoundry[s3]", "dvc_s3": "srfoundry[s3]"}  # module: what installs it


@dataclass(frozen=True)
class Store:
    """Where bytes go.

    Args:
        remote: address for `dvc remote add`.
        keys: for `dvc remote modify --local`.
        artefacts: where MLflow's server keeps what it is given.
        environment: of MLflow's server alone.
    """

    remote: str
    keys: Mapping[str, str]
    artefacts: str
    environment: Mapping[str, str] = field(default_factory=dict)


def missing(kind: str) -> list[str]:
    """Commands that install what this kind of store lacks here."""
    if kind == "ssh":
        return [] if Path(SSHD).exists() else ["apt-get install openssh-server"]
    lacks = sorted({source for module, source in S3.items() if importlib.util.find_spec(module) is None})
    return [f"pip install {' '.join(map(repr, lacks))}"] if lacks else []


def open_store(kind: str, programs: Started, environment: Mapping[str, str]) -> Store:
    """Start a store, `ssh` or `s3`, and wait until it answers."""
    return {"ssh": _ssh, "s3": _s3}[kind](programs, environment)


def _ssh(programs: Started, environment: Mapping[str, str]) -> Store:
    """A folder behind an SSH server with a key of its own; MLflow's artefacts lie in another one."""
    folder = programs.folder
    for name in ("host", "client"):
        key = folder / f"{name}_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    shutil.copy(folder / "client_key.pub", folder / "authorized")
    (store := folder / "remote").mkdir()
    port = free_port()
    lines = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host_key",
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": "none",
        "StrictModes": "no",  # the keys lie in a folder of /tmp
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "Subsystem": "sftp internal-sftp",
    }
    (config := folder / "sshd_config").write_text("".join(f"{key} {line}\n" for key, line in lines.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it separates its privileges
    process = programs.start("sshd", [SSHD, "-D", "-e", "-f", str(config)], environment, where=folder)
    programs.until(lambda: connects(port), "sshd", process)
    remote = f"ssh://{pwd.getpwuid(os.geteuid()).pw_name}@127.0.0.1:{port}{store}"
    return Store(remote, {"keyfile": str(folder / "client_key")}, str(folder / "artefacts"))


def _s3(programs: Started, environment: Mapping[str, str]) -> Store:
    """Buckets `dvc` and `mlflow` of an S3 store."""
    boto3 = importlib.import_module("boto3")  # of the extra `s3`, which benchmarks do without otherwise
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = programs.start("s3", command, environment, where=programs.folder)
    address = f"http://127.0.0.1:{port}"
    programs.until(lambda: answers(f"{address}/moto-api/data.json"), "s3", process)
    word = secrets.token_urlsafe(12)
    keys = {"access_key_id": "srfoundry", "secret_access_key": word, "region": "us-east-1"}
    client = boto3.client(
        "s3", endpoint_url=address, aws_access_key_id="srfoundry", aws_secret_access_key=word, region_name="us-east-1"
    )
    for bucket in ("dvc", "mlflow"):
        client.create_bucket(Bucket=bucket)
    of_server = {
        "MLFLOW_S3_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "srfoundry",
        "AWS_SECRET_ACCESS_KEY": word,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    return Store("s3://dvc", keys | {"endpointurl": address}, "s3://mlflow", of_server)

"""A Dockerfile's commands, run where there is no Docker: each stage in a root of its own that lies over this machine's.

As root on Linux. A stage's root is an overlay: what its commands write falls into a folder, and nothing of the
machine is changed. The image is then run as Docker would: root read-only, /tmp in memory, no capabilities, the user,
environment and commands of the Dockerfile, a network of its own. What differs: the base is this machine, with its
Python, instead of the image that FROM names.
"""

import fcntl
import json
import os
import shlex
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from dockerfile_parse import DockerfileParser

from srfoundry.core.errors import FoundryError


@dataclass
class Image:
    """What a stage's instructions say of the image.

    Args:
        base: of FROM.
        steps: RUN, COPY and the like, in order: the word, and its text.
        environment: of ENV.
        said: USER, WORKDIR, ENTRYPOINT, CMD, HEALTHCHECK, STOPSIGNAL and others, the last of each.
    """

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def command(self, word: str) -> list[str]:
        """ENTRYPOINT, CMD or HEALTHCHECK in its exec form."""
        text = self.said.get(word, "[]")
        return json.loads(text[text.index("[") :])


def read(dockerfile: Path) -> dict[str, Image]:
    """The stages of a Dockerfile, by name; the last is also there as the empty name."""
    arguments: dict[str, str] = {}
    stages: dict[str, Image] = {}
    with dockerfile.open("rb") as file:
        opened: Any = file
        structure = DockerfileParser(fileobj=opened).structure
    image = Image("")
    for each in structure:
        word, value = each["instruction"], each["value"]
        if word == "FROM":
            base, _, name = value.partition(" AS ")
            stages[name] = stages[""] = image = Image(Template(base).safe_substitute(arguments))
        elif word == "ARG":
            arguments.setdefault(*value.partition("=")[::2])
        elif word == "ENV":
            known = {"PATH": os.defpath, **image.environment}
            parts = (part.partition("=")[::2] for part in shlex.split(value))
            image.environment |= {name: Template(text).safe_substitute(known) for name, text in parts}
        elif word in ("RUN", "COPY", "WORKDIR"):
            image.steps.append((word, value))
        if word not in ("FROM", "ARG", "ENV", "RUN", "COPY", "COMMENT"):
            image.said[word] = value
    return stages


@contextmanager
def room(folder: Path) -> Iterator[Path]:
    """Mount a stage's root over this machine's; what is written to it is kept in `folder`/upper."""
    upper, work, root = (folder / name for name in ("upper", "work", "root"))
    for each in (upper, work, root):
        each.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir=/,upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)
    try:
        for each in ("dev", "proc"):
            subprocess.run(["mount", "--rbind", f"/{each}", root / each], check=True)
        for parent in Path(sys.base_prefix).parents:  # this machine's Python may lie in a home that is closed
            (root / parent.relative_to("/")).chmod(0o755)
        yield root
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", root], check=False)


def build(stages: dict[str, Image], name: str, context: Path, folder: Path) -> None:
    """Run a stage's RUN and COPY lines, after those of the stages that it copies from.

    Raises:
        FoundryError: a command fails, or this Python, which stands in for the base's, is not called `python`.
    """
    base = Path(sys.base_prefix) / "bin"
    if not (base / "python").exists():
        raise FoundryError(
            f"the images' lines call python, got none of that name in {base}; apt-get install python-is-python3, or "
            "make the environment with a Python that has it"
        )
    image, place = stages[name], ""
    if (folder / name).exists():
        return
    for word, value in image.steps:
        if word == "COPY" and value.startswith("--from="):
            build(stages, value.split()[0].removeprefix("--from="), context, folder)
    with room(folder / name) as root:
        for word, value in image.steps:
            if word == "WORKDIR":
                place = value
                (root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif word == "COPY":
                _copy(value, root, place, context, folder)
            else:
                _run(value, root, place or "/", image)


def _run(value: str, root: Path, place: str, image: Image) -> None:
    inside = {"PATH": f"{Path(sys.base_prefix) / 'bin'}:{os.defpath}:/usr/sbin:/sbin", "HOME": "/root"}
    index = {
        key: text for key, text in os.environ.items() if key.startswith(("PIP_", "SSL_")) or "proxy" in key.lower()
    }
    variables = {**index, **image.environment, **inside}
    command = ["chroot", str(root), "/bin/sh", "-c", f"cd {place} && {value}"]
    done = subprocess.run(command, env=variables, text=True, capture_output=True)
    if done.returncode:
        raise FoundryError(f"RUN {value[:80]} ends with {done.returncode}: {done.stderr[-600:]}")


def _copy(value: str, root: Path, place: str, context: Path, folder: Path) -> None:
    words = [word for word in value.split() if not word.startswith("--")]
    earlier = next((word.removeprefix("--from=") for word in value.split() if word.startswith("--from=")), None)
    start = context if earlier is None else folder / earlier / "upper"
    target = root / os.path.join(place, words[-1]).lstrip("/")
    for source in words[:-1]:
        given = start / source.lstrip("/")
        if given.is_dir():
            shutil.copytree(
                given, target, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(given, target)


def confined(root: Path, image: Image, command: list[str], volumes: dict[str, Path], more: dict[str, str]) -> list[str]:
    """The command line that runs a command in a built image as Docker would with --read-only --cap-drop ALL.

    Args:
        root: of the image, from `room`.
        image: whose user and environment it is.
        command: in the exec form.
        volumes: folders by the path that they are mounted at; those of /tmp are in memory besides.
        more: of the environment.
    """
    lines = [f"mount --bind {root} {root}", f"mount -t tmpfs -o size=1g,mode=1777 tmpfs {root}/tmp"]
    for path, source in volumes.items():
        lines.append(f"mkdir -p {root}{path} && mount --bind {source} {root}{path}")
    lines.append(f"mount -o remount,bind,ro {root}")
    variables = {"PATH": f"{Path(sys.base_prefix) / 'bin'}:{os.defpath}", **image.environment, **more}
    user, _, group = image.said["USER"].partition(":")
    rights = [
        "setpriv",
        f"--reuid={user}",
        f"--regid={group}",
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
    ]
    place = image.said.get("WORKDIR", "/")
    inner = ["env", "-i", *(f"{name}={text}" for name, text in variables.items()), *command]
    start = f'cd {place} && exec "$@"'
    lines.append(f"exec chroot {root} {shlex.join([*rights, 'sh', '-c', start, 'sh', *inner])}")
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", "\n".join(lines)]


def loopback() -> None:
    """Switch on 127.0.0.1 in a network namespace that is new."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = struct.pack("16sh14x", b"lo", 1)  # IFF_UP
        fcntl.ioctl(control, 0x8914, flags)  # SIOCSIFFLAGS

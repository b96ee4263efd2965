"""The command `serve`: what a person says of a server, parsed and handed on."""

import argparse
from pathlib import Path
from typing import Any

from srfoundry.core import cores
from srfoundry.runtime.providers import DEVICES

MEGA = 10**6
SERVE = """Serves the family of models over HTTP, with a page for people at / and a description for programs at /docs.

--models is a folder of .onnx files, or the aliases of a registered model: models:/NAME for all, models:/NAME@ALIAS for
one. It is looked at every second or so: a version that is new there is loaded, tested, and then serves; one that fails
its test is refused, and the old one goes on. Tiles of all requests share the threads.

The server answers for this machine's addresses and name alone (--allow-host NAME for others), and no other site's page
may call it (--cors ORIGIN allows one). It has neither passwords nor TLS: put it behind a proxy that has. On SIGTERM or
Ctrl-C it finishes the photographs that it has taken."""


def options(parser: argparse.ArgumentParser, whole: Any) -> None:
    """Add the command's options.

    Args:
        parser: of the command.
        whole: makes a type of a least and a most whole number.
    """
    add = parser.add_argument
    usable = cores.usable()
    add("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 is all of them (default: %(default)s)")
    add("--port", type=whole(0, 65_535), default=8000, help="0 takes a free one (default: %(default)s)")
    add("--models", default="exports/", help="a folder, models:/NAME or models:/NAME@ALIAS (default: %(default)s)")
    add(
        "--threads",
        type=whole(1, max(64, usable)),
        default=usable,
        help="CPU threads of all tiles together, and of a restoration beside them (default: %(default)s)",
    )
    add("--device", choices=DEVICES, default="auto", help="where to compute (default: auto)")
    add("--queue", type=whole(1, 10_000), default=32, metavar="N", help="photographs that wait (default: %(default)s)")
    add(
        "--largest-megapixels",
        type=whole(1, 10_000),
        default=24,
        metavar="N",
        help="of a photograph that is taken (default: %(default)s)",
    )
    add(
        "--largest-bytes",
        type=whole(1000, 999_999_999),
        default=64 * MEGA,
        metavar="N",
        help="of a request's body (default: %(default)s)",
    )
    add("--seconds", type=whole(1, 86_400), default=300, help="of work on one photograph (default: %(default)s)")
    add("--waiting", type=whole(1, 86_400), default=30, help="seconds for a photograph's turn (default: %(default)s)")
    add("--stopping", type=whole(0, 86_400), default=30, help="seconds to finish at the end (default: %(default)s)")
    add("--allow-host", action="append", default=[], metavar="NAME", help="answer for this host name, too; * is any")
    add(
        "--cors", action="append", default=[], metavar="ORIGIN", help="let pages of this site call the server; * is any"
    )


def serve(options: argparse.Namespace) -> int:
    """Listen until a signal comes."""
    from srfoundry.serving.running import serve as run
    from srfoundry.serving.settings import Limits, Listening, Serving

    limits = Limits(
        queue=options.queue,
        largest=MEGA * options.largest_megapixels,
        largest_bytes=options.largest_bytes,
        seconds=float(options.seconds),
        waiting=float(options.waiting),
    )
    names, origins = tuple(options.allow_host), tuple(options.cors)
    listening = Listening(options.host, options.port, names, origins, float(options.stopping))
    return run(Serving(options.models, options.threads, options.device, limits, listening, project=Path.cwd()))

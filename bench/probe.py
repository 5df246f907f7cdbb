"""Says, as JSON, what the Python it runs in has: ``python -m bench.probe``. The benchmark asks it before it starts."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform

PACKAGES = (
    "trio",
    "h11",
    "uvicorn",
    "uvloop",
    "httptools",
    "granian",
    "hypercorn",
    "websockets",
    "wsproto",
    "trio-websocket",
)


def packages() -> dict[str, str]:
    """The versions of those packages that are installed."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "websockets" in found and importlib.util.find_spec("websockets.speedups") is None:
        found["websockets"] += " without its C"
    return found


def features() -> dict[str, bool]:
    """What this server can do, and what not yet or no longer."""
    import roadrunner_trio

    apps = importlib.util.find_spec("roadrunner_trio.apps")
    return {
        "router": apps is not None and importlib.util.find_spec("roadrunner_trio.apps.router") is not None,
        "tls": callable(getattr(roadrunner_trio, "server_context", None)),
        "websocket": callable(getattr(roadrunner_trio, "websocket", None)),
    }


if __name__ == "__main__":
    from roadrunner_trio import __version__

    versions = {"roadrunner-trio": __version__, **packages()}
    print(json.dumps({"python": platform.python_version(), "packages": versions, "features": features()}))

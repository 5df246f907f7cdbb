"""What is checked before a change lands. ``nox`` runs all of it, ``nox -s lint`` a part, ``nox -l`` lists.

The test requirements are the ``test`` extra of pyproject.toml, since old versions of pip read extras but not
dependency groups; the other tools are dependency groups.
"""

import os
import shutil
from pathlib import Path

import nox
import nox.project

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
FREE_THREADED = ("3.13t", "3.14t")
"""Pythons without the global lock."""
TRIED = ("3.14", *FREE_THREADED)
"""Those that are here run the tests by ``nox -s tried``; that they pass is not promised."""
MEASURED = "3.13"
"""The Python that figures are of, and that the fuzzer has."""

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
# A Python that is not here is skipped, with a line that says so; under CI nox would take it for an error.
nox.options.error_on_missing_interpreters = False

FUZZ_TARGETS = ("head", "chunks", "proxy", "websocket", "http2", "blocks")
PARSER_TESTS = (
    "tests/unit/protocol",
    "tests/unit/words",
    "tests/property",
    "tests/conformance/test_vectors_engine.py",
    "tests/conformance/test_vectors_http2.py",
)


def show_all_pyenv_pythons() -> None:
    """Makes every supported Python that pyenv has installed one that can be run as ``python3.x``.

    pyenv puts a shim on the path for each Python it has, but only those that PYENV_VERSION names answer; the
    others are found and then fail.
    """
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    wanted = [(version.rstrip("t"), version.endswith("t")) for version in (*PYTHONS, *TRIED)]
    found = [
        path
        for version, free in wanted
        for path in root.glob(f"versions/{version}.*")
        if path.name.endswith("t") is free
    ]
    installed = [path.name for path in found if (path / "bin" / "python").exists()]
    if installed:
        os.environ.setdefault("PYENV_VERSION", ":".join(installed))


show_all_pyenv_pythons()


def install(session: nox.Session, *groups: str, editable: bool = True) -> None:
    """Installs the project with its test requirements, and the tools of ``groups``."""
    project = ["-e", ".[test]"] if editable else [".[test]"]
    session.install("-q", *project, *nox.project.dependency_groups(PYPROJECT, *groups))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, import order, complexity, Trio mistakes, spelling."""
    session.install("-q", *nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")


@nox.session
def typing(session: nox.Session) -> None:
    """Two strict type checkers over the package, its examples, and claims about what its users see."""
    install(session, "typing")
    session.run("mypy")
    session.run("pyright")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The whole test suite as a user runs it; arguments after ``--`` go to pytest."""
    install(session)
    session.run("pytest", "-q", *session.posargs)


@nox.session(python=TRIED, default=False)
def tried(session: nox.Session) -> None:
    """The same on Pythons that are not promised, where one is installed: 3.14, and those without the global lock."""
    install(session)
    # A library that does not know of free threads would switch the lock on again, with a warning.
    env = {"PYTHON_GIL": "0"} if session.python in FREE_THREADED else {}
    session.run("pytest", "-q", *session.posargs, env=env)


@nox.session
def frameworks(session: nox.Session) -> None:
    """Applications of Starlette, FastAPI, Quart-Trio, Litestar, BlackSheep and MCP servers, on real sockets."""
    session.install("-q", "-e", ".[test,test-frameworks]")
    session.run(
        "pytest", "-q", "tests/frameworks", "tests/test_docs.py", "-k", "frameworks or asgi or mcp", *session.posargs
    )


@nox.session(default=False)
def thorough(session: nox.Session) -> None:
    """The test suite with the fast reader of heads switched off: everything holds without it."""
    install(session)
    session.run("pytest", "-q", "-p", "without_scanner", "--ignore=tests/hardening", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """The test suite once more, with a report of the lines and branches that no test reached."""
    install(session)
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "report")


@nox.session
def optimised(session: nox.Session) -> None:
    """The parsers' tests under ``python -O``, which drops every ``assert``: no check on input may be one."""
    install(session)
    # pytest rewrites the assertions of test modules, so these still count; what it warns of is elsewhere.
    quiet = ("-W", "ignore::pytest.PytestConfigWarning", "-p", "no:cacheprovider")
    session.run("python", "-O", "-m", "pytest", "-q", *quiet, *(session.posargs or PARSER_TESTS))


@nox.session
def interop(session: nox.Session) -> None:
    """curl, openssl, HAProxy, sslscan, wscat and nginx with the server. Unlike in ``tests``, they have to be there.

    nginx apart, which serves the same files beside it: where it is not, nothing is compared.
    """
    needed = ("curl", "openssl", "haproxy", "sslscan", "npm")
    if missing := [program for program in needed if shutil.which(program) is None]:
        session.error(f"this machine has no {', '.join(missing)}")
    install(session)
    tools = Path(session.create_tmp()).resolve()
    session.run("npm", "install", "--silent", "--prefix", str(tools), "wscat@6", external=True)
    path = os.pathsep.join([str(tools / "node_modules" / ".bin"), *session.bin_paths, os.environ["PATH"]])
    files = [f"tests/e2e/test_{name}.py" for name in ("interop", "interop_http2", "nginx")]
    session.run("pytest", *files, *session.posargs, env={"PATH": path})


@nox.session
def operators(session: nox.Session) -> None:
    """What pages give for nginx, HAProxy, Caddy and systemd, run by those, which have to be there."""
    needed = ("nginx", "haproxy", "caddy", "systemd-analyze", "systemd-socket-activate")
    if missing := [program for program in needed if shutil.which(program) is None]:
        session.error(f"this machine has no {', '.join(missing)}")
    install(session)
    files = ["tests/test_operation_pages.py", *(f"tests/e2e/test_{name}.py" for name in ("proxy_pages", "systemd"))]
    session.run("pytest", "-q", *files, *session.posargs)


@nox.session(default=False)
def browser(session: nox.Session) -> None:
    """The demo in headless Chromium, which has to be there; pictures of it land in .nox/screenshots."""
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        session.error("this machine has no Chromium: install the package chromium, or Chrome")
    install(session, "browser")
    env = {"ROADRUNNER_SCREENSHOTS": str(Path(".nox", "screenshots").resolve())}
    session.run("pytest", "-q", "tests/browser", *session.posargs, env=env)


def find_python_2() -> str | None:
    """Autobahn's suite has never left Python 2."""
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    found = [*root.glob("versions/2.7.*/bin/python2.7")]
    return str(found[-1]) if found else shutil.which("python2.7")


@nox.session(default=False)
def autobahn(session: nox.Session) -> None:
    """Autobahn|Testsuite's 517 WebSocket cases, in ten minutes; ``-- --short`` leaves out compression at length.

    ``-- --asgi`` has an application of ASGI echo.
    """
    python = find_python_2()
    if python is None:
        session.error("this machine has no Python 2.7, which the suite is written for")
    install(session)
    session.install("-q", "virtualenv==20.21.1")  # the last that makes an environment of Python 2
    suite = Path(session.create_tmp()) / "suite"
    if not (suite / "bin" / "wstest").exists():
        session.run("virtualenv", "-q", "-p", python, str(suite))
        session.run(str(suite / "bin" / "pip"), "install", "-q", "autobahntestsuite==25.10.1", external=True)
    session.run("python", "tests/conformance/autobahn.py", str(suite / "bin" / "wstest"), *session.posargs)


@nox.session(default=False)  # the short one is part of the tests
def hardening(session: nox.Session) -> None:
    """Hostile input, with a table of what came of it: every vector and named attack, and some that are generated.

    ``-- long`` generates at least 100,000; ``-- slow`` has slow attackers, 500 of each kind, and slowhttptest.
    """
    wishes = set(session.posargs)
    if wishes - {"long", "slow"}:
        session.error("the arguments are: long, slow")
    install(session)
    if wishes != {"slow"}:
        env = {"ROADRUNNER_HARDENING": "long"} if "long" in wishes else {}
        session.run("pytest", "-q", "tests/hardening", "--timeout=1800", env=env)
    if "slow" in wishes:
        session.run("python", "tests/support/slow_attacks.py")


@nox.session(default=False)  # the short one is part of the tests
def restarts(session: nox.Session) -> None:
    """Restarts every few seconds under load, behind HAProxy and on one port, a minute each: nothing may be lost."""
    install(session)
    session.run("python", "tests/support/rolling_restarts.py", *session.posargs)


@nox.session(default=False)  # the short one is part of the tests
def workers(session: nox.Session) -> None:
    """Workers renewed, upgraded and killed under load: what is lost is counted; ``-- --least 50000 --often 20``."""
    install(session)
    session.run("python", "tests/support/worker_restarts.py", *session.posargs)


@nox.session(default=False)  # the short one is part of the tests
def soak(session: nox.Session) -> None:
    """Half an hour of mixed traffic: memory, descriptors, tasks and slots have to stay flat; ``-- --minutes 3``."""
    install(session)
    session.run("python", "tests/support/soak.py", *session.posargs)


@nox.session(python=MEASURED, default=False)
def fuzz(session: nox.Session) -> None:
    """Coverage-guided fuzzing, see fuzz/README.md: all targets for a minute, or what follows ``--``."""
    install(session, "fuzz")
    runs = [session.posargs] if session.posargs else [[target] for target in FUZZ_TARGETS]
    for arguments in runs:
        session.run("python", "-m", "fuzz", *arguments)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, every warning an error; the pages land in docs/_build/html."""
    install(session, "docs")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session(python=MEASURED, default=False)
def bench(session: nox.Session) -> None:
    """This server beside its peers, see bench/README.md; arguments after ``--`` go to ``python -m bench``."""
    session.install("-q", "-e", ".")
    for peer in nox.project.dependency_groups(PYPROJECT, "bench"):
        session.install("-q", peer, success_codes=[0, 1])
    session.run("python", "-m", "bench", *session.posargs)


@nox.session(python=MEASURED, default=False)
def profile(session: nox.Session) -> None:
    """Where the time of a request goes, by py-spy and perf: ``nox -s profile -- hello``; it lands in build/profile."""
    session.install("-q", "-e", ".", *nox.project.dependency_groups(PYPROJECT, "profile"))
    session.run("python", "-m", "bench", "profile", *(session.posargs or ("hello",)))

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

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
# A Python that is not here is skipped, with a line that says so; under CI nox would take it for an error.
nox.options.error_on_missing_interpreters = False

PARSERS = ("body", "cookies", "encode", "fields", "h11_engine", "head", "scan", "uri")
PARSER_TESTS = (
    *(f"tests/unit/test_{name}.py" for name in PARSERS),
    "tests/property",
    "tests/conformance/test_vectors_engine.py",
)


def show_all_pyenv_pythons() -> None:
    """Makes every supported Python that pyenv has installed one that can be run as ``python3.x``.

    pyenv puts a shim on the path for each Python it has, but only those that PYENV_VERSION names answer; the
    others are found and then fail.
    """
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    found = [path for version in PYTHONS for path in root.glob(f"versions/{version}.*")]
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
    """curl, openssl, HAProxy and sslscan against the server. Unlike in ``tests``, they have to be there."""
    missing = [program for program in ("curl", "openssl", "haproxy", "sslscan") if shutil.which(program) is None]
    if missing:
        session.error(f"this machine has no {', '.join(missing)}")
    install(session)
    session.run("pytest", "tests/e2e/test_interop.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, every warning an error; the pages land in docs/_build/html."""
    install(session, "docs")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session(python=PYTHONS[-1], default=False)
def bench(session: nox.Session) -> None:
    """This server beside its peers, see bench/README.md; arguments after ``--`` go to ``python -m bench``."""
    session.install("-q", "-e", ".")
    for peer in nox.project.dependency_groups(PYPROJECT, "bench"):
        session.install("-q", peer, success_codes=[0, 1])
    session.run("python", "-m", "bench", *session.posargs)

"""The plugin for pytest: there for who asks, and for nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from roadrunner_trio.testing import virtual_time
from roadrunner_trio.testing.nurseries import plain_nursery

ROOT = Path(__file__).parents[3]
APP = """
    from roadrunner_trio import Response

    async def handler(request):
        return Response.text("hello")
    """


def run(folder, *arguments, **files):
    """Runs pytest in a folder of its own, as it runs in somebody else's project."""
    for name, text in files.items():
        ending = ".toml" if name == "pyproject" else ".py"
        (folder / f"{name}{ending}").write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "pytest_roadrunner_trio", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_who_names_an_application_has_its_server_and_a_client(tmp_path):
    done = run(
        tmp_path,
        "-p",
        "pytest_trio.plugin",
        app=APP,
        pyproject='[tool.pytest.ini_options]\ntrio_mode = true\nroadrunner_app = "app:handler"\n',
        test_it="""
            import pytest, trio

            async def test_client(client, server):
                assert (await client.get("/")).text == "hello"
                assert server.listener.info().requests == 1

            async def test_time(client, autojump_clock):
                assert (await client.get("/")).status == 200
                assert await client.stream.receive_some() == b""  # idle for 75 s
                assert trio.current_time() == 75
            """,
        test_other="""
            import pytest

            @pytest.fixture
            def roadrunner_app():
                from roadrunner_trio import Response
                async def other(request):
                    return Response.text("other")
                return other

            async def test_another(client):
                assert (await client.get("/")).text == "other"
            """,
    )
    assert "3 passed" in done.stdout, done.stdout


def test_a_plain_assert_is_shown_as_one(tmp_path):
    done = run(
        tmp_path,
        "-p",
        "pytest_trio.plugin",
        app=APP,
        pyproject='[tool.pytest.ini_options]\ntrio_mode = true\nroadrunner_app = "app:handler"\n',
        test_it="""
            async def test_one(client):
                assert (await client.get("/")).text == "good-bye"

            async def test_two(client):
                raise BaseExceptionGroup("both", [ValueError("a"), KeyError("b")])
            """,
    )
    assert "E       AssertionError: assert 'hello' == 'good-bye'" in done.stdout, done.stdout
    one, two = done.stdout.split("test_two", 1)
    assert "Exception Group" not in one
    assert "ValueError: a" in two
    assert "KeyError: 'b'" in two


def test_without_a_word_it_does_nothing_and_imports_nothing(tmp_path):
    done = run(
        tmp_path,
        test_it="""
            import sys

            def test_nothing_is_imported():
                assert not {"roadrunner_trio", "trio", "h11", "httpx"} & set(sys.modules)

            def test_nobody_has_a_client(request):
                import pytest
                for name in ("client", "server", "roadrunner_app"):
                    with pytest.raises(pytest.FixtureLookupError):
                        request.getfixturevalue(name)
            """,
    )
    assert "2 passed" in done.stdout, done.stdout


def test_a_conftest_can_ask_as_well(tmp_path):
    done = run(
        tmp_path,
        "-p",
        "pytest_trio.plugin",
        "--strict-markers",
        app=APP,
        conftest="""
            import pytest
            pytest_plugins = ["roadrunner_trio.testing.fixtures"]

            @pytest.fixture
            def roadrunner_app():
                from app import handler
                return handler

            @pytest.fixture
            def roadrunner_settings():
                return {"name": "mine"}
            """,
        test_it="""
            import pytest

            @pytest.mark.trio
            async def test_it(client, server):
                assert (await client.get("/")).text == "hello"
                assert server.listener.name == "mine"

            @pytest.mark.trio
            @pytest.mark.roadrunner(name="yours")
            async def test_another(client, server):
                assert server.listener.name == "yours"
            """,
    )
    assert "2 passed" in done.stdout, done.stdout


PROJECT = '[tool.pytest.ini_options]\ntrio_mode = true\nroadrunner_app = "app:handler"\n'
VERSIONS = """
    import pytest

    async def test_client(client):
        print("version", (await client.get("/")).text)

    @pytest.mark.parametrize("n", [1, 2])
    @pytest.mark.roadrunner(http2=True)
    async def test_marked(client, n):
        assert (await client.get("/")).text == "(2, 0)"

    async def test_raw(server):
        assert (await server.client().get("/")).text == "(1, 1)"
    """
TELLING = """
    from roadrunner_trio import Response

    async def handler(request):
        return Response.text(str(request.version))
    """


@pytest.mark.parametrize(
    ("setting", "option", "seen"),
    [
        ("", (), ["(1, 1)"]),
        ("yes", (), ["(2, 0)"]),
        ("both", (), ["(1, 1)", "(2, 0)"]),
        ("", ("--roadrunner-http2=both",), ["(1, 1)", "(2, 0)"]),
        ("yes", ("--roadrunner-http2", "no"), ["(1, 1)"]),
    ],
)
def test_the_client_speaks_the_version_that_is_said(setting, option, seen, tmp_path):
    project = PROJECT + (f'roadrunner_http2 = "{setting}"\n' if setting else "")
    done = run(tmp_path, "-p", "pytest_trio.plugin", "-s", *option, app=TELLING, pyproject=project, test_it=VERSIONS)
    assert f"{3 + len(seen)} passed" in done.stdout, done.stdout
    assert [line.rpartition("version ")[2] for line in done.stdout.splitlines() if "version (" in line] == seen


def test_a_mark_says_what_is_served_and_how(tmp_path):
    done = run(
        tmp_path,
        "-p",
        "pytest_trio.plugin",
        "--strict-markers",
        app=TELLING,
        pyproject=PROJECT,
        test_it="""
            import pytest
            from roadrunner_trio import Response

            async def other(request):
                return Response.text("other")

            async def broken(request):
                raise LookupError("mine")

            pytestmark = pytest.mark.roadrunner(other, name="of the module")

            async def test_module(client, server):
                assert (await client.get("/")).text == "other"
                assert server.listener.name == "of the module"

            @pytest.mark.roadrunner(http2=True, name="of the test")
            async def test_both(client, server):
                response = await client.get("/")
                assert (response.text, server.listener.name) == ("other", "of the test")

            @pytest.mark.roadrunner(broken, raise_app_exceptions=True)
            async def test_raises(client):
                assert (await client.get("/")).status == 200
            """,
    )
    assert "2 passed" in done.stdout, done.stdout
    assert "LookupError: mine" in done.stdout


@pytest.mark.parametrize(
    ("mark", "setting", "said"),
    [
        ("(1, 2)", "no", "has one argument"),
        ("(http2='yes')", "no", "True or False, not 'yes'"),
        ("()", "maybe", "no, yes or both, not 'maybe'"),
    ],
)
def test_what_cannot_be_meant_is_told(mark, setting, said, tmp_path):
    done = run(
        tmp_path,
        "-p",
        "pytest_trio.plugin",
        app=TELLING,
        pyproject=PROJECT + f'roadrunner_http2 = "{setting}"\n',
        test_it=f"import pytest\n\n@pytest.mark.roadrunner{mark}\nasync def test_it(client): pass\n",
    )
    assert done.returncode
    assert said in done.stdout + done.stderr


def test_who_names_nothing_is_told(tmp_path):
    done = run(
        tmp_path,
        "-p",
        "pytest_trio.plugin",
        conftest='pytest_plugins = ["roadrunner_trio.testing.fixtures"]\n',
        test_it="import pytest\n\n@pytest.mark.trio\nasync def test_it(client): pass\n",
    )
    assert "override the fixture `roadrunner_app`" in done.stdout, done.stdout


def test_time_is_virtual_without_a_plugin():
    import trio

    @virtual_time
    async def test(seconds, *, more):
        await trio.sleep(seconds)
        return trio.current_time() + more

    assert test(3600, more=1) == 3601
    assert test.__name__ == "test"


async def test_a_nursery_that_nobody_sees_hides_no_second_failure():
    async def fail():
        raise LookupError

    with pytest.RaisesGroup(LookupError, AssertionError):
        async with plain_nursery() as nursery:
            nursery.start_soon(fail)
            raise AssertionError

"""The tutorial beyond its pages, which ``test_docs.py`` follows, and its steps, which ``unit/tutorial`` has judged."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_port

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "tutorial"
STEPS = ROOT / "examples" / "tutorial"
PATIENCE = 30

sys.path.insert(0, str(ROOT / "docs" / "_ext"))

import rooms_picture  # noqa: E402
import tutorial_pictures  # noqa: E402

sys.path.pop(0)


def test_the_pictures_are_those_of_the_steps():
    """Draw them anew with ``python docs/_ext/tutorial_pictures.py``."""
    for name, text in tutorial_pictures.pictures().items():
        assert (tutorial_pictures.PICTURES / name).read_text("utf-8") == text, name


def test_the_picture_of_the_first_page_is_one_of_the_server():
    assert tutorial_pictures.FIRST_PAGE.read_text("utf-8") == tutorial_pictures.first_page()


def test_the_map_of_the_rooms_is_that_of_the_imports():
    """Draw it anew with ``python docs/_ext/rooms_picture.py``."""
    assert rooms_picture.PICTURE.read_text("utf-8") == rooms_picture.picture()
    rooms = list(rooms_picture.known())
    for room, others in rooms_picture.known().items():
        assert all(rooms.index(other) <= rooms.index(room) for other in others), room


def test_every_picture_is_shown_and_described():
    pages = "\n".join(page.read_text("utf-8") for page in PAGES.glob("*.rst"))
    shown = re.findall(r"^ *\.\. image:: pictures/(\S+)\n +:alt: \S", pages, re.MULTILINE)
    assert sorted(shown) == sorted(tutorial_pictures.pictures()) == sorted(p.name for p in PAGES.glob("pictures/*"))


def test_every_step_shows_its_failure_and_its_cure():
    for number in range(2, 11):
        page = (PAGES / f"step-{number:02}.rst").read_text("utf-8")
        assert f"check {number:02} step_{number:02}.py" in page, "it holds"
        before = (PAGES / f"step-{number - 1:02}.rst").read_text("utf-8")
        assert f"check {number:02} step_{number - 1:02}.py" in before or number == 9, "what breaks"
        assert number == 10 or ".. admonition:: In your words" in page


def connected(port):
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


@pytest.mark.parametrize("number", [7, 8, 9])
def test_ctrl_c_lets_an_answer_finish(tmp_path, number):
    """On real sockets, as the seventh step tells it."""
    port = free_port()
    source = (STEPS / f"step_{number:02}.py").read_text("utf-8")
    assert "trio.sleep(5)" in source
    (tmp_path / "step.py").write_text(source.replace("8000", str(port)).replace("trio.sleep(5)", "trio.sleep(1)"))
    server = subprocess.Popen([sys.executable, tmp_path / "step.py"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == f"Listening on http://127.0.0.1:{port}\n"
        with connected(port) as idle, connected(port) as busy:
            idle.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            assert idle.recv(65536)
            busy.sendall(b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
            idle.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            assert idle.recv(65536)
            server.send_signal(signal.SIGINT)
            assert server.stdout.readline() == "Draining\n"
            assert idle.recv(65536) == b""
            answer = busy.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in answer.lower()
        assert server.wait(PATIENCE) == 0
    finally:
        server.kill()
        server.communicate()

"""Forms over TCP: from curl, and of a size that fits into no memory."""

from __future__ import annotations

import os
import shutil

import pytest
import trio
from process_tools import needs_proc, script
from socket_tools import PATIENCE, Peer, serving

import roadrunner_trio as rr

MEGABYTE = 1024 * 1024

SERVER = """
import logging, trio
from roadrunner_trio import *
from roadrunner_trio.apps.router import Router

router = Router()

@router.post("/form", body="streaming", max_body="1G")
async def form(request):
    form = await request.form()
    return Response.json([form["title"], form.file("film").size, form.file("film").on_disk])

@router.post("/parts", body="streaming", max_body="1G")
async def parts(request):
    async for part in request.parts():
        if part.filename is not None:
            return Response.json(await part.save("film"))

async def main():
    listener = Listener(router, bind="127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        print(listener.port, flush=True)

trio.run(main)
"""

HEAD = (
    b'--XX\r\nContent-Disposition: form-data; name="title"\r\n\r\nlong\r\n'
    b'--XX\r\nContent-Disposition: form-data; name="film"; filename="film.mp4"\r\n\r\n'
)
END = b"\r\n--XX--\r\n"


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("path", ["/form", "/parts"])
async def test_500_megabytes_take_less_than_40_of_memory(tmp_path, path):
    block, size = os.urandom(MEGABYTE), 500 * MEGABYTE
    async with script(SERVER, tmp_path) as server:
        with await Peer.connect(server.port) as peer:
            before = server.memory()
            length = len(HEAD) + size + len(END)
            head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=XX\r\n"
            await peer.send(f"{head}Content-Length: {length}\r\n\r\n".encode() + HEAD)
            most = 0
            for at in range(500):
                await peer.send(block)
                if at % 50 == 0:
                    most = max(most, server.memory())
            await peer.send(END)
            answer = await peer.answer()
        assert answer.status == 200, answer.body
        assert most - before < 40 * MEGABYTE
    if path == "/parts":
        assert (tmp_path / "film").stat().st_size == size


@pytest.mark.skipif(shutil.which("curl") is None, reason="this machine has no curl")
async def test_a_form_from_curl(tmp_path):
    (tmp_path / "naïve file.txt").write_text("content")

    async def handler(request: rr.Request) -> rr.Response:
        form = await request.form()
        files = [[name, file.filename, file.media_type, (await file.read()).decode()] for name, file in form.files]
        return rr.Response.json([form.pairs, files])

    async with serving(handler) as listener:
        url = f"http://127.0.0.1:{listener.port}/"
        for arguments, said in (
            (
                ["-F", "a=1", "-F", "b=é", "-F", f"f=@{tmp_path}/naïve file.txt"],
                '[[["a","1"],["b","é"]],[["f","naïve file.txt","text/plain","content"]]]',
            ),
            (["-d", "a=1", "--data-urlencode", "b=é&="], '[[["a","1"],["b","é&="]],[]]'),
        ):
            with trio.fail_after(PATIENCE):
                done = await trio.run_process(["curl", "-sS", *arguments, url], capture_stdout=True)
            assert done.stdout.decode() == said

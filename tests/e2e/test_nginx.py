"""Some 150 requests for the files of one folder, to us and to nginx: the answers are the same, or there is a reason."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from ports import free_port
from process_tools import PATIENCE
from socket_tools import Answer, Peer, serving

from roadrunner_trio.apps.static import Static

NGINX = shutil.which("nginx")
pytestmark = pytest.mark.skipif(NGINX is None, reason="this machine has no nginx")

OLD = 1_700_000_000
DATE, EARLIER, LATER = (time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(OLD + by)) for by in (0, -86400, 86400))

CONF = """\
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ }}
http {{
  access_log off; gzip_static on; gzip_vary on; charset utf-8; server_tokens off; if_modified_since before;
  charset_types text/css text/plain;
  types {{ text/html html; text/css css; text/plain txt; image/png png; application/wasm wasm; font/woff2 woff2;
    application/gzip gz; }}
  default_type application/octet-stream;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port}; root {public}; absolute_redirect off; disable_symlinks on;
    location ~ /\\. {{ return 404; }}
  }}
}}
"""


class Asked(NamedTuple):
    """A request."""

    method: str
    target: str
    fields: str = ""


FIELDS = [
    "",
    "Range: bytes=0-4\r\n",
    "Range: bytes=5-\r\n",
    "Range: bytes=-5\r\n",
    "Range: bytes=0-99999\r\n",
    "Range: bytes=99999-\r\n",
    "Range: bytes=4-2\r\n",
    "Range: items=0-4\r\n",
    "Range: bytes=0-1,8-9\r\n",
    f"If-Modified-Since: {DATE}\r\n",
    f"If-Modified-Since: {EARLIER}\r\n",
    f"If-Modified-Since: {LATER}\r\n",
    "If-Modified-Since: yesterday\r\n",
    f"If-Unmodified-Since: {DATE}\r\n",
    f"If-Unmodified-Since: {EARLIER}\r\n",
    'If-None-Match: "other"\r\n',
    "If-None-Match: *\r\n",
    'If-Match: "other"\r\n',
    "If-Match: *\r\n",
    f"Range: bytes=0-4\r\nIf-Range: {DATE}\r\n",
    f"Range: bytes=0-4\r\nIf-Range: {EARLIER}\r\n",
    'Range: bytes=0-4\r\nIf-Range: "other"\r\n',
    "Accept-Encoding: gzip\r\n",
    "Accept-Encoding: gzip;q=0\r\n",
    "Accept-Encoding: identity\r\n",
    f"If-None-Match: *\r\nIf-Modified-Since: {EARLIER}\r\n",
]
FILES = ["/", "/index.html", "/style.css"]
TARGETS = [
    "/sub",
    "/sub/",
    "/sub/index.html",
    "/sub/page.txt",
    "/sub/page.txt/",
    "/sub?a=b",
    "/empty.txt",
    "/a%20b.txt",
    "/%61%20b.txt",
    "/no-index/",
    "/no-index",
    "/nothing",
    "/nothing/",
    "/style.css/x",
    "/picture.png",
    "/code.wasm",
    "/letters.woff2",
    "/unknown.xyz",
    "/%C3%A9t%C3%A9.txt",
    "/style.css.gz",
    "/link.txt",
    "/.env",
    "/%2eenv",
    "/.git/config",
    "/STYLE.CSS",
    "/style.css?v=1",
    "/%00",
    "/..%2fsecret",
    "/../secret",
    "/%2e%2e/secret",
    "/..%5csecret",
    "/style.css%20",
    "//style.css",
    "/sub//page.txt",
    "/sub/./page.txt",
    "/sub/../style.css",
    "/sub%2fpage.txt",
]
REQUESTS = [
    *(Asked("GET", target, fields) for target, fields in product(FILES, FIELDS)),
    *(Asked(method, target) for method, target in product(("GET", "HEAD"), TARGETS)),
    *(Asked(method, "/style.css") for method in ("POST", "DELETE", "PUT")),
]

REASONS = {
    r"^/sub/\.\.?/|^//|/sub//|/sub%2f": "404: a path is one name of one file: what was judged is what is served",
    r"^/no-index/ |^/link\.txt": "404, not 403: who may not see it need not know that it is there",
    r"^/%00|^/(\.\.|%2e%2e)(/|%2f)secret": "404, not 400: a way out is a name like another that nothing has",
    r"bytes=4-2": "200, not 416: a range that is none is ignored (RFC 9110 section 14.2)",
    r"If-None-Match: \*\r\nIf-Modified": "304, not 200: beside the one, the other is not looked at (section 13.1.3)",
}


def reason(asked: Asked) -> str:
    """Why we answer otherwise; empty where we do not."""
    said = f"{asked.target} {asked.fields}"
    return next((why for pattern, why in REASONS.items() if re.search(pattern, said)), "")


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    public = tmp_path_factory.mktemp("nginx") / "public"
    content = {
        "index.html": b"<!doctype html><title>index</title>" * 40,
        "style.css": b"body { color: red }\n" * 40,
        "sub/index.html": b"sub",
        "sub/page.txt": b"a page",
        "empty.txt": b"",
        "a b.txt": b"a b",
        "no-index/x.txt": b"x",
        "picture.png": b"\x89PNG",
        "code.wasm": b"\0asm",
        "letters.woff2": b"wOF2",
        "unknown.xyz": b"?",
        "été.txt": b"summer",
        ".env": b"SECRET=1",
        ".git/config": b"[core]",
    }
    content["style.css.gz"] = gzip.compress(content["style.css"], mtime=0)
    for name, octets in content.items():
        path = public / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(octets)
        os.utime(path, (OLD, OLD))
    (public.parent / "secret").write_text("secret")
    (public / "link.txt").symlink_to("../secret")
    return public


@pytest.fixture(scope="module")
def nginx(public: Path) -> Iterator[int]:
    """nginx that serves the folder; its port."""
    port = free_port()
    folder = public.parent
    conf = folder / "nginx.conf"
    conf.write_text(CONF.format(folder=folder, public=public, port=port))
    assert NGINX is not None
    server = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(conf)], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    server.kill()
                    pytest.fail(str(server.communicate()))
                time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.communicate()


async def ask(port: int, asked: Asked) -> Answer:
    with await Peer.connect(port) as peer:
        fields = "Content-Length: 0\r\n" if asked.method in ("POST", "PUT") else asked.fields
        request = f"{asked.method} {asked.target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n"
        await peer.send(request.encode())
        answer = await peer.answer(head=asked.method == "HEAD")
    answer.fields = [(name.lower(), value) for name, value in answer.fields]
    return answer


def seen(answer: Answer, asked: Asked) -> dict[str, object]:
    """What has to be the same: not what errors look like, nor what tags are."""
    kind = (answer.header("content-type") or "").lower()
    partial = kind.startswith("multipart/byteranges")
    said: dict[str, object] = {"status": answer.status}
    if answer.status in (200, 206):
        said["type"] = "multipart" if partial else kind
        said["body"] = len(answer.body) > 0 if partial else answer.body
        said["length"] = None if partial else answer.header("content-length")
        said["modified"] = answer.header("last-modified")
        said["accept-ranges"] = answer.header("accept-ranges") or "bytes"
        said["coding"] = answer.header("content-encoding")
        said["vary"] = (answer.header("vary") or "").lower()
        said["tagged"] = answer.header("etag") is not None
    if answer.status in (206, 416) and not partial:
        said["range"] = answer.header("content-range")
    if answer.status in (301, 302, 307, 308):
        said["status"] = "redirect"
        location = answer.header("location") or ""
        said["location"] = location.replace("./", asked.target.partition("?")[0].rpartition("/")[0] + "/", 1)
    return said


def test_there_are_about_150() -> None:
    assert len(set(REQUESTS)) == len(REQUESTS) >= 150


async def test_the_answers_are_the_same(public: Path, nginx: int) -> None:
    unexplained, needless = [], []
    async with serving(Static(public, cache_control=None)) as listener:
        for asked in REQUESTS:
            with trio.fail_after(PATIENCE):
                ours = seen(await ask(listener.port, asked), asked)
                theirs = seen(await ask(nginx, asked), asked)
            why = reason(asked)
            if ours != theirs and not why:
                unexplained.append(
                    (
                        asked,
                        {
                            key: (ours.get(key), theirs.get(key))
                            for key in {*ours, *theirs}
                            if ours.get(key) != theirs.get(key)
                        },
                    )
                )
            if why and ours == theirs:
                needless.append((asked, why))
    assert not unexplained, "\n".join(map(str, unexplained))
    assert not needless, "\n".join(map(str, needless))

"""The verdict on field sections: what a request has to have, what no message may have, and what is made of the rest."""

from __future__ import annotations

import pytest

from roadrunner_trio.errors import ProtocolError
from roadrunner_trio.protocol.heads import Framing, RequestHead
from roadrunner_trio.protocol.http2 import head
from roadrunner_trio.protocol.http2.failure import ConnectionFailed
from roadrunner_trio.protocol.http2.head import Malformed, Verdict, field, judge, priority, trailers
from roadrunner_trio.protocol.http2.hpack import EXCESS
from roadrunner_trio.protocol.http2.sections import BEYOND, CONTINUATIONS, ENCODED, Block, Sections
from roadrunner_trio.settings import Limits

GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"example.com"), (b":path", b"/p?q")]
LIMITS = Limits()


def verdict(
    *fields: tuple[bytes, bytes], ended: bool = True, extended: bool = False, limits: Limits = LIMITS
) -> Verdict:
    return judge([field(*each) for each in fields], limits, ended=ended, extended=extended)


def request(*fields: tuple[bytes, bytes], **more: bool) -> RequestHead:
    return verdict(*GET, *fields, **more).head  # type: ignore[arg-type]


def changed(**changes: bytes | None) -> list[tuple[bytes, bytes]]:
    """The pseudo-fields of a GET, some changed or left out."""
    pseudo = {**dict(GET), **{b":" + name.encode(): value for name, value in changes.items()}}
    return [(name, value) for name, value in pseudo.items() if value is not None]


def test_a_plain_request():
    assert request((b"accept", b"*/*")) == RequestHead(
        method=b"GET",
        target=b"/p?q",
        path=b"/p?q",
        version=(2, 0),
        fields=((b"host", b"example.com"), (b"accept", b"*/*")),
        host=b"example.com",
        framing=Framing.NONE,
        content_length=0,
        keep_alive=True,
        expects_continue=False,
        raw=b"",
    )


def test_pseudo_fields_in_any_order():
    assert verdict(*reversed(GET), (b"a", b"b")).head == request((b"a", b"b"))


def test_the_host_field_alone_and_beside():
    plain = request()
    assert verdict(*changed(authority=None), (b"host", b"example.com")).head == plain
    assert request((b"host", b"example.com")).fields == plain.fields
    assert request((b"host", b"Example.COM")).host == b"example.com"


@pytest.mark.parametrize(
    ("ended", "fields", "framing", "length"),
    [
        (True, [], Framing.NONE, 0),
        (False, [], Framing.CHUNKED, 0),
        (False, [(b"content-length", b"5")], Framing.LENGTH, 5),
        (True, [(b"content-length", b"0")], Framing.LENGTH, 0),
    ],
)
def test_how_a_body_is_framed(ended, fields, framing, length):
    found = request(*fields, ended=ended)
    assert (found.framing, found.content_length) == (framing, length)


def test_expectations_are_of_requests_with_a_body():
    assert request((b"expect", b"100-Continue"), ended=False).expects_continue
    assert request((b"expect", b"other"), (b"expect", b"100-continue"), ended=False).expects_continue
    assert not request((b"expect", b"100-continue")).expects_continue
    assert not request((b"expect", b"200-ok"), ended=False).expects_continue


def test_crumbs_are_one_cookie():
    fields = [(b"a", b"1"), (b"cookie", b"x=1"), (b"b", b"2"), (b"cookie", b"y=2"), (b"cookie", b"z=3"), (b"c", b"3")]
    assert request(*fields).fields[1:] == ((b"a", b"1"), (b"cookie", b"x=1; y=2; z=3"), (b"b", b"2"), (b"c", b"3"))
    assert request((b"cookie", b"x=1")).fields[1:] == ((b"cookie", b"x=1"),)
    assert request((b"cookie", b""), (b"cookie", b"x=1"), (b"cookie", b"")).fields[1:] == ((b"cookie", b"x=1"),)
    assert request((b"cookie", b""), (b"cookie", b"")).fields[1:] == ((b"cookie", b""),)


@pytest.mark.parametrize("name", [b"accept", b"x"])
def test_other_fields_may_repeat(name):
    assert request((name, b"1"), (name, b"2")).fields[1:] == ((name, b"1"), (name, b"2"))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (changed(method=None), "missing_pseudo_header"),
        (changed(scheme=None), "missing_pseudo_header"),
        (changed(path=None), "missing_pseudo_header"),
        (changed(authority=None), "missing_host"),
        (changed(path=b""), "bad_header"),
        (changed(path=b"p"), "bad_header"),
        (changed(path=b"/a b"), "bad_header"),
        (changed(path=b"/a#b"), "bad_header"),
        (changed(path=b"*"), "bad_target"),
        (changed(path=b"http://example.com/"), "bad_header"),
        (changed(method=b""), "bad_header"),
        (changed(method=b"G T"), "bad_header"),
        (changed(scheme=b"ftp"), "bad_header"),
        (changed(scheme=b"HTTPS"), "bad_header"),
        (changed(authority=b""), "bad_header"),
        (changed(authority=b"a@b"), "bad_header"),
        (changed(authority=b"a b"), "bad_header"),
        (changed(authority=b"[::1"), "bad_header"),
        ([*GET, (b":method", b"GET")], "bad_pseudo_header"),
        ([GET[0], *GET[:3]], "repeated_pseudo_header"),
        ([*GET[:3], (b"a", b"b"), GET[3]], "bad_pseudo_header"),
        ([(b":status", b"200"), *GET], "bad_header"),
        ([*GET, (b":status", b"200")], "bad_header"),
        ([*GET, (b":other", b"x")], "bad_header"),
        ([*GET, (b":protocol", b"websocket")], "bad_pseudo_header"),
        ([*GET[:3], (b":protocol", b"websocket"), GET[3]], "bad_pseudo_header"),
        ([*GET, (b"connection", b"close")], "bad_header"),
        ([*GET, (b"keep-alive", b"1")], "bad_header"),
        ([*GET, (b"proxy-connection", b"close")], "bad_header"),
        ([*GET, (b"transfer-encoding", b"chunked")], "bad_header"),
        ([*GET, (b"upgrade", b"h2c")], "bad_header"),
        ([*GET, (b"te", b"gzip")], "bad_header"),
        ([*GET, (b"host", b"other.example")], "bad_host"),
        ([*GET, (b"host", b"example.com"), (b"host", b"example.com")], "repeated_host"),
        ([*GET, (b"content-length", b"1"), (b"content-length", b"1")], "repeated_content_length"),
        ([*GET, (b"content-length", b"1, 1")], "bad_header"),
        ([*GET, (b"content-length", b"+1")], "bad_header"),
        ([*GET, (b"content-length", b"9" * 30)], "bad_header"),
        ([*GET, (b"content-length", b"1")], "body_too_short"),
        ([*GET, (b"Upper", b"x")], "bad_header"),
        ([*GET, (b"", b"x")], "bad_header"),
        ([*GET, (b"x", b" a")], "bad_header"),
        ([*GET, (b"x", b"a\t")], "bad_header"),
        ([*GET, (b"x", b"a\x00")], "bad_header"),
        ([*GET, (b"x", b"a\r\nb: c")], "bad_header"),
        ([], "missing_pseudo_header"),
    ],
)
def test_malformed(fields, reason):
    with pytest.raises(Malformed) as caught:
        verdict(*fields)
    assert caught.value.reason == reason


def test_options_of_all():
    assert verdict(*changed(method=b"OPTIONS", path=b"*")).head.path == b"*"
    assert verdict(*changed(method=b"OPTIONS")).head.path == b"/p?q"


# -- CONNECT -------------------------------------------------------------------------------------

CONNECT = [(b":method", b"CONNECT"), (b":authority", b"example.com:443")]
EXTENDED = [*changed(method=b"CONNECT"), (b":protocol", b"websocket")]


def test_connect_names_where_to():
    found = verdict(*CONNECT, ended=False).head
    assert (found.method, found.path, found.host) == (b"CONNECT", b"example.com:443", b"example.com:443")
    assert found.framing is Framing.NONE


@pytest.mark.parametrize(
    "fields",
    [
        CONNECT[:1],
        [*CONNECT, (b":path", b"/")],
        [*CONNECT, (b":scheme", b"http")],
        [CONNECT[0], (b":authority", b"example.com")],
        [CONNECT[0], (b":authority", b"example.com:0")],
        [CONNECT[0], (b":authority", b"example.com:65536")],
        [*CONNECT, (b"content-length", b"0")],
        [CONNECT[0], (b"host", b"example.com:443")],
    ],
)
def test_connect_has_no_more_and_no_less(fields):
    with pytest.raises(Malformed):
        verdict(*fields, ended=False)


def test_extended_connect_appears_as_a_get():
    found = verdict(*EXTENDED, (b"sec-websocket-version", b"13"), ended=False, extended=True).head
    assert (found.method, found.path, found.protocol) == (b"GET", b"/p?q", b"websocket")
    assert (found.framing, found.expects_continue) == (Framing.NONE, False)
    assert found.fields == ((b"host", b"example.com"), (b"sec-websocket-version", b"13"))
    pseudo = [EXTENDED[4], *EXTENDED[:4]]
    assert verdict(*pseudo, ended=False, extended=True).head.protocol == b"websocket"


def test_extended_connect_has_to_be_offered_and_be_whole():
    for fields, extended in (
        (EXTENDED, False),
        (EXTENDED[:3] + EXTENDED[4:], True),
        (EXTENDED[:1] + EXTENDED[2:], True),
    ):
        with pytest.raises(Malformed):
            verdict(*fields, ended=False, extended=extended)
    with pytest.raises(ProtocolError) as caught:
        verdict(*EXTENDED[:4], (b":protocol", b"connect-udp"), ended=False, extended=True)
    assert caught.value.status == 501


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "limits", "status", "reason"),
    [
        ([(b"a", b"b")] * 201, {}, 431, "too_many_headers"),
        ([(b"a", b"v" * 16_382)], {}, 431, "header_too_long"),
        ([(b"a", b"v" * 11_000)] * 3, {}, 431, "header_block_too_long"),
        ([(b"a", b"b")] * 3, {"max_fields": 2}, 431, "too_many_headers"),
        ([], {"max_request_line": 16}, 414, "request_line_too_long"),
        ([], {"max_field_line": 16, "max_field_section": 100}, 431, "header_too_long"),
    ],
)
def test_limits(fields, limits, status, reason):
    with pytest.raises(ProtocolError) as caught:
        verdict(*GET, *fields, limits=Limits(**limits))
    assert (caught.value.status, caught.value.reason) == (status, reason)


@pytest.mark.parametrize(
    "fields", [[(b"a", b"b")] * 200, [(b"a", b"v" * 16_381)], [(b"a", b"v" * 16_000), (b"a", b"v" * 16_000)]]
)
def test_within_the_limits(fields):
    assert len(request(*fields).fields) == len(fields) + 1


@pytest.mark.parametrize("front", [[], GET, EXTENDED, [*GET, (b":path", b"/")]], ids=["none", "four", "five", "twice"])
def test_the_verdict_on_too_many_fields_hangs_on_none_that_are_passed_over(front):
    """What is decoded of a section says as much as all of it."""
    limits = Limits(max_fields=3)

    def said(fields: list[tuple[bytes, bytes]]) -> list[str]:
        told = []
        for judged in (lambda: judge(fields, limits, ended=True, extended=True), lambda: trailers(fields, limits)):
            with pytest.raises((ProtocolError, Malformed)) as caught:
                judged()
            told.append(caught.value.reason)
        return told

    for behind in ((b"a", b"v"), (b":path", b"/"), field(b"x", b"a\nb"), (b"a", b"v" * 20_000)):
        whole = [*front, *[(b"a", b"b")] * 4, *[behind] * 9]
        assert said(whole[: limits.max_fields + BEYOND]) == said(whole)


def test_a_section_that_is_known_to_be_small_is_still_counted():
    with pytest.raises(ProtocolError):
        judge([*GET, *[(b"a", b"b")] * 201], LIMITS, ended=True, extended=False, small=True)


# -- trailers ------------------------------------------------------------------------------------


def test_trailers_are_fields():
    assert trailers([field(b"x-sum", b"1"), field(b"x-b", b"")], LIMITS) == ((b"x-sum", b"1"), (b"x-b", b""))


@pytest.mark.parametrize(
    "name", [b":path", b":status", b"connection", b"content-length", b"host", b"cookie", b"X", b"te"]
)
def test_what_no_trailer_may_be(name):
    with pytest.raises(Malformed):
        trailers([field(name, b"trailers" if name == b"te" else b"1")], LIMITS)


def test_trailers_have_limits():
    with pytest.raises(ProtocolError):
        trailers([(b"x", b"y")] * 201, LIMITS)


# -- priority ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"", (3, False)),
        (b"u=0", (0, False)),
        (b"u=7, i", (7, True)),
        (b"i, u=1", (1, True)),
        (b"i=?1", (3, True)),
        (b"i=?0,u=2", (2, False)),
        (b"u=5, u=2", (2, False)),
        (b"u=8", (3, False)),
        (b"u=-1", (3, False)),
        (b"u=1.5", (3, False)),
        (b"u", (3, False)),
        (b"x=y;a=b, u=4;c, i", (4, True)),
        (b"u=4,", (4, False)),
        (b"=,u=4", (3, False)),
        (b"\xff\x00", (3, False)),
        (b"U=1", (3, False)),
    ],
)
def test_priorities(value, found):
    assert priority(value) == found


def test_a_request_says_its_priority():
    assert verdict(*GET, (b"priority", b"u=1"), (b"priority", b"i")).priority == b"u=1, i"
    assert verdict(*GET).priority == b""


# -- sections ------------------------------------------------------------------------------------


def literal(name: bytes, value: bytes, first: int = 0) -> bytes:
    return bytes([first, len(name)]) + name + bytes([len(value)]) + value


WHOLE = b"".join(literal(*each) for each in GET)


def test_a_verdict_is_remembered_while_the_table_stays(monkeypatch):
    sections = Sections(LIMITS, extended=False)
    sections.request(WHOLE, ended=True)
    first = sections.request(WHOLE, ended=True)
    judged: list[object] = []
    monkeypatch.setattr(head, "judge", lambda *args, **more: judged.append(args) or first)
    assert sections.request(WHOLE, ended=True) is first
    assert not judged
    sections.request(WHOLE, ended=False)
    assert len(judged) == 1
    sections.skip(literal(b"x", b"y", 0x40))
    sections.request(WHOLE, ended=True)
    assert len(judged) == 2


def test_a_block_that_changes_the_table_is_not_remembered():
    sections = Sections(LIMITS, extended=False)
    block = WHOLE + literal(b"x", b"y", 0x40)
    verdicts = [sections.request(block, ended=True) for _ in range(3)]
    assert len({id(verdict) for verdict in verdicts}) == 3
    referring = WHOLE + b"\xbe"
    assert sections.request(referring, ended=True) is not sections.request(referring, ended=True)
    assert sections.request(referring, ended=True) is sections.request(referring, ended=True)


def test_few_and_small_blocks_are_remembered():
    sections = Sections(LIMITS, extended=False)
    blocks = [WHOLE + literal(b"n", b"%d" % number) for number in range(17)]
    once = [sections.request(block, ended=True) for block in blocks[:16]]
    first = [sections.request(block, ended=True) for block in blocks[:16]]
    assert not any(one is other for one, other in zip(once, first, strict=True))
    assert [sections.request(block, ended=True) for block in blocks[:16]] == first
    assert all(sections.request(block, ended=True) is known for block, known in zip(blocks, first, strict=False))
    sections.request(blocks[16], ended=True)
    assert sections.request(blocks[0], ended=True) is not first[0]
    large = WHOLE + literal(b"n", b"v" * 126) * 4
    sections.request(large, ended=True)
    assert sections.request(large, ended=True) is not sections.request(large, ended=True)


def test_what_cannot_be_decoded_ends_the_connection():
    sections = Sections(LIMITS, extended=False)
    for call in (lambda: sections.request(b"\x80", ended=True), lambda: sections.trailers(b"\x80")):
        with pytest.raises(ConnectionFailed) as caught:
            call()
        assert caught.value.code == 9


def test_a_block_of_very_many_fields_ends_the_connection():
    sections = Sections(Limits(max_fields=10), extended=False)
    most = EXCESS * (10 + BEYOND)
    for decode in (sections.trailers, lambda block: sections.request(block, ended=True)):
        with pytest.raises(ProtocolError, match="too_many_headers") as caught:
            decode(b"\x90" * most)
        assert caught.value.status == 431
    sections.skip(b"\x90" * most)
    for decode in (sections.trailers, sections.skip, lambda block: sections.request(block, ended=True)):
        with pytest.raises(ConnectionFailed, match="too_many_headers") as failure:
            decode(b"\x90" * (most + 1))
        assert failure.value.code == 11


def test_a_block_may_have_so_many_frames_and_octets():
    block = Block(1, 0, b"", 0)
    for _ in range(CONTINUATIONS - 1):
        block.add(b"x", LIMITS)
    with pytest.raises(ConnectionFailed, match="too_many_continuations"):
        block.add(b"x", LIMITS)
    block = Block(1, 0, b"", 0)
    with pytest.raises(ConnectionFailed, match="header_block_too_long"):
        block.add(b"x" * (ENCODED * LIMITS.max_field_section + 1), LIMITS)

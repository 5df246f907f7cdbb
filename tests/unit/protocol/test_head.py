"""The verdict on lines and heads, check by check."""

from __future__ import annotations

import pytest

from roadrunner_trio.errors import ProtocolError
from roadrunner_trio.protocol.heads import Framing
from roadrunner_trio.protocol.http1 import head as head_module
from roadrunner_trio.protocol.http1.head import (
    FieldSection,
    LineReader,
    field_line,
    http_version,
    is_authority,
    judge,
    request_line,
    target_form,
)
from roadrunner_trio.settings import Limits


def refusal(call, *args):
    with pytest.raises(ProtocolError) as caught:
        call(*args)
    return caught.value.status, caught.value.reason


# Lines


def reader(data=b""):
    buffer = bytearray(data)
    return buffer, LineReader(buffer)


def read(lines, most=10):
    return lines.next(most, 414, "too_long", "malformed")


def test_lines_come_without_their_ends_and_leave_by_drop():
    buffer, lines = reader(b"one\r\n\r\ntwo")
    assert read(lines) == b"one"
    assert read(lines) == b""
    assert read(lines) is None
    assert lines.start == 7
    assert lines.drop() == b"one\r\n\r\n"
    assert buffer == b"two"
    buffer += b"\r\n"
    assert read(lines) == b"two"


def test_a_line_may_end_between_cr_and_lf():
    buffer, lines = reader(b"a\r")
    assert read(lines) is None
    buffer += b"\n"
    assert read(lines) == b"a"


@pytest.mark.parametrize("data", [b"a\nb", b"a\rb", b"\r\r\n", b"\x00", b"a\x0b", b"a\x1f", b"a\x7f", b"\n"])
def test_a_bad_octet_is_refused_before_the_line_is_whole(data):
    assert refusal(read, reader(data)[1]) == (400, "malformed")


def test_tab_and_high_octets_are_left_to_the_grammar():
    assert read(reader(b"\t \x80\xff\r\n")[1]) == b"\t \x80\xff"


def test_a_line_of_the_most_octets_passes_and_one_more_is_refused_at_once():
    assert read(reader(b"x" * 10 + b"\r\n")[1]) == b"x" * 10
    assert read(reader(b"x" * 10)[1]) is None
    assert refusal(read, reader(b"x" * 11)[1]) == (414, "too_long")


def test_length_is_judged_before_the_octet_behind_it():
    # Else a peer that sends octet by octet would get another answer than one that sends all at once.
    assert refusal(read, reader(b"x" * 11 + b"\x00")[1]) == (414, "too_long")
    assert refusal(read, reader(b"x" * 10 + b"\x00")[1]) == (400, "malformed")


def test_every_octet_is_searched_once(monkeypatch):
    searched = 0
    search = head_module._stop

    def counting(buffer, start):
        nonlocal searched
        found = search(buffer, start)
        searched += (found.start() if found else len(buffer)) - start
        return found

    monkeypatch.setattr(head_module, "_stop", counting)
    data = b"".join(b"x" * 500 + b"\r\n" for _ in range(10))
    buffer, lines = reader()
    count = 0
    for octet in data:
        buffer.append(octet)
        while read(lines, 500) is not None:
            count += 1
    assert count == 10
    assert searched <= len(data)


# Field sections


def section(data, **limits):
    fields = FieldSection(Limits(**limits))
    return fields.read(LineReader(bytearray(data))), fields.fields


def test_a_section_ends_with_the_empty_line():
    buffer = bytearray(b"A: 1\r\nb:2\r\n")
    lines, fields = LineReader(buffer), FieldSection(Limits())
    assert not fields.read(lines)
    buffer += b"\r\nrest"
    assert fields.read(lines)
    assert fields.fields == [(b"a", b"1"), (b"b", b"2")]
    assert buffer[lines.start :] == b"rest"


def test_max_fields_may_be_reached_and_not_passed():
    assert section(b"a:1\r\n" * 3 + b"\r\n", max_fields=3)[0]
    assert refusal(lambda: section(b"a:1\r\n" * 3 + b"a", max_fields=3)) == (431, "too_many_headers")


def test_max_field_line_counts_octets_before_the_crlf():
    assert section(b"a:" + b"x" * 18 + b"\r\n\r\n", max_field_line=20)[0]
    assert refusal(lambda: section(b"a:" + b"x" * 19, max_field_line=20)) == (431, "header_too_long")


def test_max_field_section_counts_lines_with_their_ends():
    line = b"a:" + b"x" * 16 + b"\r\n"
    assert section(line * 2 + b"\r\n", max_field_section=40)[0]
    assert refusal(lambda: section(line * 2, max_field_section=39)) == (431, "header_block_too_long")
    # The shortest line that no longer fits is refused with its first octet; an empty line is no field.
    assert refusal(lambda: section(line * 2 + b"a", max_field_section=40)) == (431, "header_block_too_long")


@pytest.mark.parametrize(
    ("room", "reason"), [(17, "header_block_too_long"), (18, "header_too_long"), (19, "header_too_long")]
)
def test_the_limit_met_first_is_the_reason(room, reason):
    # Both are passed by the line as a whole; an octet at a time, one of them comes first.
    long = b"a:" + b"x" * 100
    assert refusal(lambda: section(long, max_field_line=16, max_field_section=room)) == (431, reason)


@pytest.mark.parametrize("limits", [{}, {"max_fields": 1}, {"max_field_line": 16, "max_field_section": 16}])
def test_bad_field_octets_have_their_reason(limits):
    assert refusal(lambda: section(b"a:1\x00", **limits)) == (400, "bad_header")


# Field lines


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"Host: a", (b"host", b"a")),
        (b"a:b", (b"a", b"b")),
        (b"A: \t b c\t ", (b"a", b"b c")),
        (b"a:", (b"a", b"")),
        (b"a: \t ", (b"a", b"")),
        (b"a:b:c", (b"a", b"b:c")),
        (b"!#$%&'*+-.^_`|~09Z: x", (b"!#$%&'*+-.^_`|~09z", b"x")),
        (b"a:\xa0b\x85", (b"a", b"\xa0b\x85")),
    ],
)
def test_field_lines(line, field):
    assert field_line(line) == field


@pytest.mark.parametrize(
    "line",
    [b"a", b":b", b"a :b", b"a\t:b", b" a:b", b"\ta:b", b"a b:c", b"a@:b", b"\x80:b", b"a:b\x00", b"a:\x01", b"a:b\rc"],
)
def test_bad_field_lines(line):
    assert refusal(field_line, line) == (400, "bad_header")


# Request lines


def test_a_request_line_in_origin_form():
    assert request_line(b"GET /a?b HTTP/1.1") == (b"GET", b"/a?b", b"/a?b", None, (1, 1))


@pytest.mark.parametrize("method", [b"get", b"M-SEARCH", b"X", b"!#$%&'*+-.^_`|~"])
def test_any_token_is_a_method(method):
    assert request_line(method + b" / HTTP/1.1").method == method


@pytest.mark.parametrize(
    "line",
    [
        *[b"", b"GET", b"GET /", b"GET / ", b"GET  / HTTP/1.1", b" GET / HTTP/1.1", b"GET /  HTTP/1.1"],
        *[b"GET / HTTP/1.1 ", b"GET /a b HTTP/1.1", b"GET\t/\tHTTP/1.1", b"GE(T / HTTP/1.1"],
        *[b"GET /\xe9 HTTP/1.1", b"GET /\x7f HTTP/1.1", b"SSH-2.0-x"],
    ],
)
def test_bad_request_lines(line):
    assert refusal(request_line, line) == (400, "bad_request_line")


@pytest.mark.parametrize(
    ("version", "spoken"), [(b"HTTP/1.0", (1, 0)), (b"HTTP/1.1", (1, 1)), (b"HTTP/1.2", (1, 1)), (b"HTTP/1.9", (1, 1))]
)
def test_versions(version, spoken):
    assert http_version(version) == spoken


@pytest.mark.parametrize(
    "version", [b"HTTP/1", b"HTTP/1.", b"HTTP/1.10", b"HTTP/01.1", b"http/1.1", b"RTSP/1.0", b"HTTP/\xb9.1"]
)
def test_malformed_versions(version):
    assert refusal(http_version, version) == (400, "bad_version")


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.1"])
def test_other_major_versions(version):
    assert refusal(http_version, version) == (505, "bad_version")


def test_the_version_is_judged_before_the_target():
    assert refusal(request_line, b"PRI * HTTP/2.0") == (505, "bad_version")


# Targets


@pytest.mark.parametrize("target", [b"/", b"//a", b"/a?b", b'/|{}"<>\\^`[]', b"/%", b"/http://x"])
def test_origin_form_is_its_own_path(target):
    assert target_form(b"GET", target) == (target, None)


@pytest.mark.parametrize(
    ("target", "path", "authority"),
    [
        (b"http://h", b"/", b"h"),
        (b"http://h?q", b"/?q", b"h"),
        (b"http://h/", b"/", b"h"),
        (b"HTTPS://H:80/a?b", b"/a?b", b"H:80"),
        (b"http://[::1]:8080/a", b"/a", b"[::1]:8080"),
        (b"http://h:/a", b"/a", b"h:"),
    ],
)
def test_absolute_form_names_path_and_authority(target, path, authority):
    assert target_form(b"GET", target) == (path, authority)


def test_the_asterisk_goes_with_options():
    assert target_form(b"OPTIONS", b"*") == (b"*", None)


@pytest.mark.parametrize("target", [b"h:443", b"[::1]:1", b"1.2.3.4:65535"])
def test_connect_takes_an_authority(target):
    assert target_form(b"CONNECT", target) == (target, None)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"GET", b"*"),
        (b"options", b"*"),
        (b"OPTIONS", b"*/x"),
        (b"GET", b"h:80"),
        (b"GET", b"a/b"),
        (b"GET", b"/a#b"),
        (b"GET", b"http://h/a#b"),
        (b"GET", b"http://h#b"),
        (b"GET", b"http:/h"),
        (b"GET", b"http:///a"),
        (b"GET", b"http://:80/a"),
        (b"GET", b"http://u@h/"),
        (b"GET", b"http://u:p@h/"),
        (b"GET", b"http://[::1/"),
        (b"GET", b"ftp://h/"),
        (b"CONNECT", b"h"),
        (b"CONNECT", b"h:"),
        (b"CONNECT", b"h:0"),
        (b"CONNECT", b"h:65536"),
        (b"CONNECT", b"h:000443"),
        (b"CONNECT", b":443"),
        (b"CONNECT", b"[g::]:443"),
        (b"CONNECT", b"[1::2::3]:443"),
        (b"CONNECT", b"/"),
        (b"CONNECT", b"*"),
        (b"CONNECT", b"http://h:443/"),
    ],
)
def test_other_forms_are_refused(method, target):
    assert refusal(target_form, method, target) == (400, "bad_target")


@pytest.mark.parametrize(
    "text",
    [b"a", b"a:", b"a:80", b"1.2.3.4", b"[::]", b"[::ffff:1.2.3.4]:1", b"[v1.fe:x]", b"%61.com", b"-", b"0.0=5,;"],
)
def test_authorities(text):
    assert is_authority(text)


@pytest.mark.parametrize(
    "text",
    [
        *[b"", b":80", b"a:80:81", b"a:-1", b"a:x", b"a b", b"a/b", b"u@a", b"[::1", b"[::1]x", b"[]"],
        *[b"[g::1]", b"[1::2::3]", b"[fe80::1%25eth0]", b"[v.x]", b"[v1.]", b"%4", b"%zz", b"a%", b"a\\b"],
        *[b"\xe9", b"[::1]]", b"a\t", b"a?", b"a#"],
    ],
)
def test_what_is_no_authority(text):
    assert not is_authority(text)


# Heads


def judged(*fields, line=b"GET / HTTP/1.1", host=True):
    pairs = tuple(field_line(field) for field in ([b"Host: h", *fields] if host else fields))
    return judge(request_line(line), pairs, b"raw")


def test_a_plain_head():
    head = judged(b"X-A: 1", b"x-a: 2")
    assert (head.method, head.target, head.path, head.version) == (b"GET", b"/", b"/", (1, 1))
    assert head.fields == ((b"host", b"h"), (b"x-a", b"1"), (b"x-a", b"2"))
    assert (head.host, head.framing, head.content_length) == (b"h", Framing.NONE, 0)
    assert head.keep_alive
    assert not head.expects_continue
    assert head.raw == b"raw"


def test_host_is_due_on_1_1_and_free_on_1_0():
    assert refusal(lambda: judged(host=False)) == (400, "missing_host")
    assert refusal(lambda: judged(host=False, line=b"GET http://h/ HTTP/1.1")) == (400, "missing_host")
    assert judged(host=False, line=b"GET / HTTP/1.0").host == b""


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"GET / HTTP/1.0"])
@pytest.mark.parametrize("fields", [[b"Host: a", b"Host: a"], [b"Host: a b"], [b"Host: u@a"], [b"host: a", b"HOST:"]])
def test_bad_hosts(line, fields):
    assert refusal(lambda: judged(*fields, line=line, host=False)) == (400, "bad_host")


def test_host_may_be_empty():
    assert judged(b"Host:", host=False).host == b""


def test_the_authority_of_the_target_wins_over_host_which_is_still_judged():
    line = b"GET http://other:80/a HTTP/1.1"
    head = judged(line=line)
    assert (head.host, head.path, head.target) == (b"other:80", b"/a", b"http://other:80/a")
    assert head.fields == ((b"host", b"h"),)
    assert refusal(lambda: judged(b"Host: a/b", line=line, host=False)) == (400, "bad_host")


@pytest.mark.parametrize(("value", "length"), [(b"0", 0), (b"5", 5), (b"005", 5), (b"0" * 19 + b"5", 5)])
def test_content_length(value, length):
    head = judged(b"Content-Length:  " + value + b" ")
    assert (head.framing, head.content_length) == (Framing.LENGTH, length)


def test_a_length_is_not_too_large_to_be_understood():
    assert judged(b"Content-Length: " + b"9" * 19).content_length == 10**19 - 1


@pytest.mark.parametrize(
    "value",
    [
        *[b"", b"+5", b"-5", b"-0", b"5 5", b"5,5", b"5,", b"0x5", b"1_0", b"5.0", b"\xb2", b"5\x85", b"\xa05"],
        b"9" * 20,
        b"0" * 20 + b"5",
    ],
)
def test_bad_content_lengths(value):
    assert refusal(lambda: judged(b"Content-Length: " + value)) == (400, "bad_content_length")


@pytest.mark.parametrize(
    "fields", [{"content-length": b"5"}, {"content-length": b"0"}, {"transfer-encoding": b"chunked"}], ids=str
)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_a_connect_has_no_content(fields, version):
    line = request_line(b"CONNECT h:443 " + version)
    given = ((b"host", b"h"), *((name.encode(), value) for name, value in fields.items()))
    assert refusal(lambda: judge(line, given, b""))[0] == 400
    assert judge(line, given[:1], b"").framing is Framing.NONE
    if version == b"HTTP/1.1":
        assert refusal(lambda: judge(line, given, b"")) == (400, "connect_with_body")
        assert judge(request_line(b"POST / HTTP/1.1"), given, b"").framing is not Framing.NONE


@pytest.mark.parametrize(
    "fields",
    [
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: gzip", b"Content-Length: 5"],
        [b"Transfer-Encoding:", b"Content-Length: x"],
    ],
)
def test_framing_is_said_once(fields):
    assert refusal(lambda: judged(*fields)) == (400, "conflicting_framing")


@pytest.mark.parametrize("value", [b"chunked", b"CHUNKED", b" cHuNkEd\t"])
def test_chunked(value):
    head = judged(b"Transfer-Encoding: " + value)
    assert (head.framing, head.content_length) == (Framing.CHUNKED, 0)


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([b"gzip, chunked"], 501),
        ([b"gzip", b"chunked"], 501),
        ([b"identity;x, chunked"], 501),
        # Without chunked at the end nobody can tell where the body ends.
        ([b"gzip"], 400),
        ([b"chunked, gzip"], 400),
        ([b"chunked", b"identity"], 400),
        ([b"chunked, chunked"], 400),
        ([b"chunked", b"chunked"], 400),
        ([b"chunked, gzip, chunked"], 400),
        ([b""], 400),
        ([b"chunked,"], 400),
        ([b", chunked"], 400),
        ([b"chunked", b""], 400),
        ([b"chunked\xa0"], 400),
        ([b'"chunked"'], 400),
        ([b"chunked;q=1"], 400),
        ([b"xchunked"], 400),
    ],
)
def test_bad_transfer_encodings(values, status):
    fields = [b"Transfer-Encoding: " + value for value in values]
    assert refusal(lambda: judged(*fields)) == (status, "bad_transfer_encoding")


@pytest.mark.parametrize("value", [b"chunked", b"gzip, chunked"])
def test_transfer_encoding_is_refused_from_1_0(value):
    refused = refusal(lambda: judged(b"Transfer-Encoding: " + value, line=b"POST / HTTP/1.0"))
    assert refused == (400, "bad_transfer_encoding")


@pytest.mark.parametrize(
    ("line", "fields", "kept"),
    [
        (b"GET / HTTP/1.1", [], True),
        (b"GET / HTTP/1.1", [b"Connection: close"], False),
        (b"GET / HTTP/1.1", [b"Connection: Close"], False),
        (b"GET / HTTP/1.1", [b"Connection: x, close, y"], False),
        (b"GET / HTTP/1.1", [b"Connection: x", b"connection: close"], False),
        (b"GET / HTTP/1.1", [b"Connection: close", b"connection: x"], False),
        (b"GET / HTTP/1.1", [b"Connection: keep-alive, close"], False),
        (b"GET / HTTP/1.1", [b"Connection: closed"], True),
        (b"GET / HTTP/1.1", [b"Proxy-Connection: close"], True),
        (b"GET / HTTP/1.9", [], True),
        (b"GET / HTTP/1.0", [], False),
        (b"GET / HTTP/1.0", [b"Connection: Keep-Alive"], True),
        (b"GET / HTTP/1.0", [b"Connection: keep-alive, close"], False),
    ],
)
def test_keep_alive(line, fields, kept):
    assert judged(*fields, line=line).keep_alive is kept


@pytest.mark.parametrize(
    ("line", "fields", "expected"),
    [
        (b"POST / HTTP/1.1", [b"Expect: 100-continue", b"Content-Length: 1"], True),
        (b"POST / HTTP/1.1", [b"Expect: 100-Continue", b"Transfer-Encoding: chunked"], True),
        (b"POST / HTTP/1.1", [b"Expect: x", b"Expect: 100-continue", b"Content-Length: 1"], True),
        (b"POST / HTTP/1.1", [b"Expect: 100-continue", b"Content-Length: 0"], False),
        (b"POST / HTTP/1.1", [b"Expect: 100-continue"], False),
        (b"POST / HTTP/1.1", [b"Expect: 200-ok", b"Content-Length: 1"], False),
        (b"POST / HTTP/1.1", [b"Content-Length: 1"], False),
        (b"POST / HTTP/1.0", [b"Expect: 100-continue", b"Content-Length: 1"], False),
    ],
)
def test_expect(line, fields, expected):
    assert judged(*fields, line=line).expects_continue is expected

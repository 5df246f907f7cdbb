"""Observers: everybody is told, in order, and nobody can disturb."""

from __future__ import annotations

import inspect
import logging

import pytest

from roadrunner_trio.drain import Drain
from roadrunner_trio.http1.head import judge, request_line
from roadrunner_trio.observe import AccessLog, Observer, Observers, RequestEnded
from roadrunner_trio.request import Request

HOOKS = [name for name, _ in inspect.getmembers(Observer, inspect.isfunction)]


class Noting(Observer):
    def __init__(self, name, log):
        self.name, self.log = name, log

    def request_start(self, request):
        self.log.append((self.name, request))


class Failing(Observer):
    def __repr__(self):
        return "<the failing one>"

    def request_start(self, request):
        raise KeyError("oops")


def ended(outcome="complete", status=200, peer=("192.0.2.1", 1234)):
    head = judge(request_line(b"GET /%E4?x HTTP/1.1"), ((b"host", b"h"),), b"")
    request = Request(
        head, None, Drain(), peer=peer, scheme="http", request_id="0123456789abcdef", listener_name="main"
    )
    return RequestEnded(request, status, "buffered", 13, 0.00125, outcome)


def test_nobody_is_false_so_that_an_event_costs_one_if():
    assert not Observers()
    assert Observers([Observer()])


@pytest.mark.parametrize("hook", HOOKS)
def test_an_observer_implements_only_the_hooks_it_wants(hook):
    Observers([Observer()]).tell(hook, object())


def test_there_is_a_hook_for_every_event():
    assert set(HOOKS) == {
        "listener_accept",
        "listener_conn_close",
        "listener_conn_rejected",
        "request_start",
        "request_stop",
        "request_exception",
        "request_rejected",
        "drain_acknowledged",
    }


def test_everybody_is_told_in_order():
    log = []
    observers = Observers([Noting("a", log), Noting("b", log)])
    observers.tell("request_start", 1)
    observers.tell("request_start", 2)
    assert log == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def test_one_that_raises_is_switched_off_with_one_line(caplog):
    log = []
    observers = Observers([Noting("a", log), Failing(), Noting("b", log)])
    observers.tell("request_start", 1)
    observers.tell("request_start", 2)
    assert log == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert [record.name for record in caplog.records] == ["roadrunner_trio"]
    assert "<the failing one> raised in request_start and is switched off" in caplog.text
    assert "KeyError: 'oops'" in caplog.text


def test_when_the_last_one_is_off_there_is_nobody(caplog):
    observers = Observers([Failing(), Failing()])
    observers.tell("request_start", 1)
    assert not observers
    assert len(caplog.records) == 2


def test_the_list_that_was_given_is_not_touched(caplog):
    given = [Failing()]
    Observers(given).tell("request_start", 1)
    assert len(given) == 1


@pytest.mark.parametrize(
    ("hook", "event", "line"),
    [
        ("request_stop", ended(), '192.0.2.1:1234 "GET /%E4?x" 200 13 1.2ms 0123456789abcdef'),
        ("request_stop", ended(peer=("::1", 80)), '[::1]:80 "GET /%E4?x" 200 13 1.2ms 0123456789abcdef'),
        ("request_stop", ended(peer="unix"), 'unix "GET /%E4?x" 200 13 1.2ms 0123456789abcdef'),
        ("request_exception", ended("error", 500), '192.0.2.1:1234 "GET /%E4?x" 500 13 1.2ms 0123456789abcdef'),
        ("request_exception", ended("gone", 200), '192.0.2.1:1234 "GET /%E4?x" 499 13 1.2ms 0123456789abcdef'),
        ("request_exception", ended("gone", None), '192.0.2.1:1234 "GET /%E4?x" 499 13 1.2ms 0123456789abcdef'),
        ("request_exception", ended("timeout", None), '192.0.2.1:1234 "GET /%E4?x" - 13 1.2ms 0123456789abcdef'),
    ],
)
def test_the_access_log_writes_one_line_a_request(caplog, hook, event, line):
    with caplog.at_level(logging.INFO, "roadrunner_trio.access"):
        Observers([AccessLog()]).tell(hook, event)
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("roadrunner_trio.access", "INFO", line)
    ]

"""Observers that fail, and logs whose filters do: nobody but themselves is the worse for it."""

from __future__ import annotations

import logging

import pytest
from failing_tools import NAMES, WRONG
from log_tools import an_end
from story_tools import GET, open_house

import roadrunner_trio as rr
from roadrunner_trio.server.listener import insides
from roadrunner_trio.telemetry.observe import HOOKS, Observers


class Failing(rr.Observer):
    """Raises at the start of requests."""

    def __init__(self, wrong):
        self.wrong = wrong

    def request_start(self, event):
        raise self.wrong


@pytest.mark.parametrize("wrong", WRONG, ids=NAMES)
async def test_whatever_an_observer_raises_it_is_switched_off_and_the_request_goes_on(wrong, autojump_clock, caplog):
    """A cancellation of another task's, too: passed on, it would be the end of all connections."""
    async with open_house(observers=[Failing(wrong)]) as house:
        for _ in range(2):
            peer = house.peer()
            await peer.say(GET)
            assert peer.heard.startswith(b"HTTP/1.1 200 ")
            await peer.close()
        assert house.listener.info().failed == 0
    assert len(caplog.records) == 1
    assert "raised in request_start and is switched off" in caplog.text
    assert caplog.records[0].exc_info[1] is wrong


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_guarded(hook, caplog):
    def fail(event):
        raise GeneratorExit

    failing = rr.Observer()
    setattr(failing, hook, fail)
    observers = Observers([failing])
    observers.tell(getattr(observers, hook), None)
    assert getattr(observers, hook) == ()
    assert len(caplog.records) == 1


async def test_an_observer_may_come_and_go_while_the_listener_serves(autojump_clock):
    class Once(rr.Observer):
        def __init__(self):
            self.seen = []

        def request_start(self, event):
            self.seen.append(event.path)

        def request_stop(self, event):
            observers.part(self)  # while it is told

    guest, host = Once(), Failing(ValueError())
    async with open_house(observers=[host]) as house:
        observers = insides(house.listener)[1]
        observers.part(guest)  # it is not there: that is no mistake
        for number in range(5):
            if number in (1, 3):
                observers.join(guest)
                observers.join(guest)
            peer = house.peer()
            await peer.say(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number)
            assert peer.heard.startswith(b"HTTP/1.1 200 ")
            await peer.close()
    assert guest.seen == ["/1", "/3"]


class NowAndThen(logging.Filter):
    """Fails at every second record."""

    def __init__(self, wrong):
        super().__init__()
        self.wrong, self.seen = wrong, 0

    def filter(self, record):
        self.seen += 1
        if self.seen % 2:
            raise self.wrong
        return True


@pytest.fixture
def logger():
    """A logger whose filters and lines are its own."""
    logger = logging.Logger("a test", logging.DEBUG)
    logger.lines = []  # type: ignore[attr-defined]
    handler = logging.Handler()
    handler.emit = lambda record: logger.lines.append(record.getMessage())  # type: ignore[attr-defined, method-assign]
    logger.addHandler(handler)
    return logger


@pytest.mark.parametrize("wrong", WRONG, ids=NAMES)
async def test_case_43_a_filter_that_raises_costs_a_line_and_not_the_access_log(logger, wrong, autojump_clock, caplog):
    """What makes it fail may be what a peer sent: who could switch the log off could do the rest unseen."""
    logger.addFilter(NowAndThen(wrong))
    async with open_house(observers=[rr.AccessLog("{target} {status}", logger=logger)]) as house:
        for n in range(4):
            peer = house.peer()
            await peer.say(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % n)
            assert peer.heard.startswith(b"HTTP/1.1 200 ")
            await peer.close()
    assert logger.lines == ["/1 200", "/3 200"]
    assert not caplog.records


@pytest.mark.parametrize("wrong", WRONG, ids=NAMES)
async def test_case_43_a_filter_that_raises_costs_a_line_and_not_the_error_log(logger, wrong, autojump_clock, caplog):
    async def crash(request):
        raise ValueError

    logger.addFilter(NowAndThen(wrong))
    async with open_house(crash, observers=[rr.ErrorLog(logger=logger)]) as house:
        for said in (b"nonsense\r\n", GET, GET, b"nonsense\r\n"):
            peer = house.peer()
            await peer.say(said)
            assert peer.heard.startswith((b"HTTP/1.1 500 ", b"HTTP/1.1 400 "))
            await peer.close()
    assert [line.split()[0] for line in logger.lines] == ["the", "refused"]
    assert not caplog.records


def test_case_43_a_record_factory_that_raises_costs_a_line_too(logger):
    def fail(*args, **more):
        raise ValueError

    before = logging.getLogRecordFactory()
    access = rr.AccessLog(logger=logger)
    logging.setLogRecordFactory(fail)
    try:
        access.request_stop(an_end())
    finally:
        logging.setLogRecordFactory(before)
    access.request_stop(an_end())
    assert len(logger.lines) == 1


def test_ctrl_c_in_a_filter_passes(logger):
    logger.addFilter(NowAndThen(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        rr.AccessLog(logger=logger).request_stop(an_end())

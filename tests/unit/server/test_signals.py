"""Signals are heard by a thread, whatever the main thread does, and the process gets its handlers back."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

from roadrunner_trio.server import signals
from roadrunner_trio.server.signals import EARS, HEARD, end_at_once, not_yet, prepare

PATIENCE = 30.0


class Hearer:
    """Keeps what it hears, and by whom it was told."""

    def __init__(self) -> None:
        self.until = math.inf
        self.numbers: list[int] = []
        self.threads: set[str] = set()
        self.came = threading.Event()

    def heard(self, number: int, now: float) -> None:
        assert now <= time.monotonic()
        self.numbers.append(number)
        self.threads.add(threading.current_thread().name)
        self.came.set()

    def late(self, now: float) -> None:
        assert now >= self.until
        self.until = math.inf
        self.came.set()


@contextmanager
def hearing(hearer: Hearer) -> Iterator[Hearer]:
    before: dict[int, Any] = {number: signal.getsignal(number) for number in HEARD}
    EARS.open(hearer, before)
    try:
        yield hearer
    finally:
        EARS.close(hearer)
    assert {number: signal.getsignal(number) for number in HEARD} == before


def wait_in_c(event: threading.Event) -> None:
    """As a lock does that is not looked at by any handler; bounded."""
    assert event.wait(PATIENCE)


async def test_what_comes_is_heard_by_the_thread_or_by_the_handler() -> None:
    with hearing(Hearer()) as hearer:
        for number in HEARD:
            hearer.came.clear()
            os.kill(os.getpid(), number)
            wait_in_c(hearer.came)
        assert hearer.numbers == list(HEARD)
        assert hearer.threads <= {"signals", "MainThread"}


async def test_trio_goes_on_to_hear_of_signals_of_its_own() -> None:
    with hearing(Hearer()) as hearer, trio.open_signal_receiver(signal.SIGUSR1) as received:
        os.kill(os.getpid(), signal.SIGUSR1)
        with trio.fail_after(PATIENCE):
            assert await anext(received) == signal.SIGUSR1
    assert hearer.numbers == []


async def test_trios_descriptor_is_put_back() -> None:
    found = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(found, warn_on_full_buffer=False)
    with hearing(Hearer()):
        ours = signal.set_wakeup_fd(found, warn_on_full_buffer=False)
        assert ours not in (-1, found)
        signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
    assert signal.set_wakeup_fd(found, warn_on_full_buffer=False) == found


async def test_several_hear_the_same_and_the_last_to_go_puts_the_light_out() -> None:
    first, second = Hearer(), Hearer()
    with hearing(second):
        EARS.open(first, {})
        try:
            signal.raise_signal(signal.SIGTERM)
            wait_in_c(second.came)
            wait_in_c(first.came)
        finally:
            EARS.close(first)
        second.came.clear()
        signal.raise_signal(signal.SIGINT)
        wait_in_c(second.came)
    assert (first.numbers, second.numbers) == ([signal.SIGTERM], [signal.SIGTERM, signal.SIGINT])
    assert not [each for each in threading.enumerate() if each.name == "signals"]


async def test_it_wakes_whoever_wants_to_be_woken() -> None:
    with hearing(Hearer()) as hearer:
        hearer.until = time.monotonic() + 0.05
        EARS.look_again()
        wait_in_c(hearer.came)
        assert hearer.until == math.inf


async def test_the_handler_wakes_it_too_for_what_it_has_read_the_thread_has_not() -> None:
    with hearing(Hearer()) as hearer:
        hearer.until = time.monotonic() + 0.05
        EARS._handle(signal.SIGTERM, None)
        wait_in_c(hearer.came)
        assert hearer.until == math.inf


def test_the_handler_waits_for_a_thread_that_waits_for_the_interpreter() -> None:
    ears, hearer = signals.Ears(), Hearer()
    ears._hearers.append(hearer)
    ears._before, ears._ends = {signal.SIGTERM: signal.SIG_DFL}, os.pipe()
    held = threading.Event()

    def hold() -> None:
        with ears._reading:
            held.set()
            time.sleep(0.01)

    thread = threading.Thread(target=hold)
    try:
        os.write(ears._ends[1], bytes([signal.SIGTERM]))
        thread.start()
        wait_in_c(held)
        ears._handle(signal.SIGTERM, None)
        assert hearer.numbers == [signal.SIGTERM]
    finally:
        thread.join()
        for end in ears._ends:
            os.close(end)


async def test_what_the_process_handles_or_ignores_is_left_to_it() -> None:
    def reload(number: int, frame: object) -> None:
        reloads.append(number)

    reloads: list[int] = []
    before = [signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.signal(signal.SIGUSR2, reload)]
    try:
        with hearing(Hearer()) as hearer:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGUSR2)
            signal.raise_signal(signal.SIGTERM)
            wait_in_c(hearer.came)
        assert (hearer.numbers, reloads) == ([signal.SIGTERM], [signal.SIGUSR2])
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGUSR2, before[1])


async def test_a_handler_that_somebody_has_set_meanwhile_stays() -> None:
    before: dict[int, Any] = {number: signal.getsignal(number) for number in HEARD}
    hearer = Hearer()
    EARS.open(hearer, before)
    try:
        signal.signal(signal.SIGTERM, not_yet)
    finally:
        EARS.close(hearer)
    assert signal.signal(signal.SIGTERM, before[signal.SIGTERM]) is not_yet


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
async def test_a_forked_child_has_signals_of_its_own() -> None:
    """Else one that is terminated would go on, and its parent would begin to drain."""
    with hearing(Hearer()) as hearer:
        child = os.fork()
        if not child:
            try:
                time.sleep(PATIENCE)  # noqa: ASYNC251
            finally:
                os._exit(0)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)  # noqa: ASYNC222
        assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
        signal.raise_signal(signal.SIGINT)
        wait_in_c(hearer.came)
    assert hearer.numbers == [signal.SIGINT]


def test_outside_of_the_main_thread_there_are_none() -> None:
    complaints: list[ValueError] = []
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)  # whatever a test before has left

    def try_it() -> None:
        try:
            EARS.open(Hearer(), {})
        except ValueError as exc:
            complaints.append(exc)
        prepare(signal.SIGUSR1)  # says nothing

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    assert len(complaints) == 1
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_process_1_is_ended_before_there_is_a_server_and_nobody_by_what_only_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {number: signal.getsignal(number) for number in (*HEARD, signal.SIGUSR1)}
    try:
        prepare(signal.SIGUSR1, signal.SIGUSR2)
        assert signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]
        assert signal.getsignal(signal.SIGUSR1) == signal.getsignal(signal.SIGUSR2) == not_yet
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        monkeypatch.setattr(signals.os, "getpid", lambda: 1)
        prepare()
        assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGHUP) == end_at_once
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Whether what an application gives to be called can be awaited, told when it is given."""

from __future__ import annotations

import functools
import gc
from unittest.mock import AsyncMock

import pytest
import trio

import roadrunner_trio as rr


async def right(*args):
    """What is asked for."""


async def generator(*args):
    yield b""


def plain(*args):
    """Returns nothing."""


def old_generator(*args):
    yield b""


class Callable:
    async def __call__(self, *args):
        """As good as a function."""

    async def method(self, *args):
        """As good as a function, too."""

    def plain(self, *args):
        """No."""

    async def generator(self, *args):
        yield b""


class CallableGenerator:
    async def __call__(self, *args):
        yield b""


@functools.wraps(right)
def wrapped(*args):
    return right(*args)


GOOD = [
    right, Callable(), Callable().method, functools.partial(right, 1), functools.partial(functools.partial(right), 2),
    lambda *args: right(*args), wrapped, AsyncMock(), functools.partial(lambda *args: right(*args)),
]  # fmt: skip

GENERATORS = [
    generator, old_generator, Callable().generator, CallableGenerator(), functools.partial(generator), generator(),
    lambda: (yield),
]  # fmt: skip
PLAIN = [plain, Callable().plain, Callable, functools.wraps(plain)(lambda: None), None, "module:produce", [b"a"], 5]


def stream(given):
    return rr.StreamResponse(given)


def loop(given):
    return rr.LoopResponse(trio.open_memory_channel(1)[1], given)


def handoff(given):
    return rr.Handoff(given)


NEEDY = {
    stream: "a StreamResponse needs an async function that is given `send`; write `async def produce",
    loop: "a LoopResponse needs an async function; write `async def on_message",
    handoff: "a Handoff needs an async function; write `async def run",
}


@pytest.mark.parametrize("make", NEEDY)
@pytest.mark.parametrize("given", GOOD)
def test_what_can_be_awaited_is_taken(make, given):
    make(given)


@pytest.mark.parametrize("make", NEEDY)
@pytest.mark.parametrize("given", GENERATORS)
def test_generators_are_told_what_to_write(make, given):
    with pytest.raises(TypeError, match=NEEDY[make]) as caught:
        make(given)
    assert "not a generator" in str(caught.value)
    assert ("`await send(piece)`" in str(caught.value)) is (make is stream)


@pytest.mark.parametrize("make", NEEDY)
@pytest.mark.parametrize("given", PLAIN, ids=repr)
def test_plain_functions_and_what_is_none_are_told_so_too(make, given):
    with pytest.raises(TypeError, match=NEEDY[make]):
        make(given)


@pytest.mark.parametrize("make", NEEDY)
def test_what_was_called_already_is_not_what_was_asked_for(make):
    with pytest.raises(TypeError, match="give the function itself, not what calling it returns"):
        make(right())
    gc.collect()  # and nothing warns of a coroutine that was never awaited

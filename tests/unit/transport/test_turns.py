"""Costly work of many: one step in each turn of Trio's loop."""

from __future__ import annotations

import trio

from roadrunner_trio.transport.turns import Turns

TOGETHER = 2
"""Trio shuffles the tasks of a turn: the last of one and the first of the next may stand together."""


async def turn() -> None:
    await trio.lowlevel.checkpoint()


async def test_one_step_a_turn_in_the_order_in_which_they_came():
    turns, done = Turns(), []
    for name in "abc":
        turns.later(lambda name=name: done.append(name))
    assert done == [], "not at once"
    seen = []
    while len(done) < 3:
        await turn()
        seen.append(len(done))
    assert done == ["a", "b", "c"]
    assert max(later - earlier for earlier, later in zip([0, *seen], seen, strict=False)) <= TOGETHER


async def test_a_step_that_asks_again_waits_for_the_others():
    turns, done = Turns(), []

    def step(name: str, left: int) -> None:
        done.append(name)
        if left:
            turns.later(lambda: step(name, left - 1))

    for name in "ab":
        step(name, 2)
    done.clear()
    while len(done) < 4:
        await turn()
    assert done == ["a", "b", "a", "b"]


async def test_neighbours_run_between_two_steps():
    turns, order = Turns(), []
    for name in range(50):
        turns.later(lambda name=name: order.append(name))
    while 49 not in order:
        order.append("neighbour")
        await turn()
    for name in range(50 - TOGETHER):
        between = order[order.index(name) : order.index(name + TOGETHER)]
        assert "neighbour" in between


async def test_it_can_be_used_again_when_it_was_empty():
    turns, done = Turns(), []
    for _ in range(3):
        turns.later(lambda: done.append(1))
        before = len(done)
        for _ in range(5):
            await turn()
        assert len(done) == before + 1


def test_what_waits_when_the_run_ends_is_let_go():
    turns, done = Turns(), []

    async def main():
        for name in range(3 * TOGETHER):
            turns.later(lambda name=name: done.append(name))

    trio.run(main)  # which calls what it has been given, and takes no more
    assert done == list(range(len(done)))

    async def again():
        turns.later(lambda: done.append("again"))
        await turn()
        await turn()

    done.clear()
    trio.run(again)
    assert done == ["again"]

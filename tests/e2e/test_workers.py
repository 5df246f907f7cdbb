"""Several processes as one server: begun, lost, renewed, told to go; on real sockets, by the command line."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest
import trio
from process_tools import command_line, needs_proc, running
from socket_tools import PATIENCE, Cut, Peer
from worker_tools import APP, Load, answering, ask, children, descriptors, gone, until, workers

pytestmark = [needs_proc]

QUIET = ("--no-access-log", "--grace", "5s")


async def test_all_of_them_serve_and_go(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "3", *QUIET) as server:
        assert len(workers(server)) == 3
        assert await answering(server.port) == set(workers(server))
        server.terminate()
        assert await server.end() == 0
        assert re.search(r"Serving app:handler on http://127.0.0.1:\d+ by 3 workers", await server.said())


async def test_started_in_the_background_of_a_script_they_go_by_sigint_as_one_does(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    serve = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "--port", "0", "-w", "1", *QUIET]
    async with running(["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *serve], tmp_path) as server:
        assert await answering(server.port) == set(workers(server))
        server.process.send_signal(signal.SIGINT)
        assert await server.end() == 0


async def test_who_is_in_the_middle_of_something_finishes(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", *QUIET) as server, trio.open_nursery() as nursery:
        answers: list[str] = []

        async def slow() -> None:
            answers.append(await ask(server.port, "/wait?for=1"))

        for _ in range(6):
            nursery.start_soon(slow)
        await trio.sleep(0.5)
        server.terminate()
        assert await server.end() == 0
        await until(lambda: len(answers) == 6)


@pytest.mark.parametrize("how", [(), ("--preload",)])
async def test_ctrl_c_which_a_terminal_says_to_all_of_them_lets_finish(tmp_path: Path, how: tuple[str, ...]) -> None:
    async with command_line(APP, tmp_path, "-w", "2", *how, *QUIET) as server, trio.open_nursery() as nursery:
        answers: list[str] = []

        async def slow() -> None:
            answers.append(await ask(server.port, "/wait?for=1.5"))

        for _ in range(4):
            nursery.start_soon(slow)
        await trio.sleep(0.5)
        supervisor = server.process.pid
        below = children(supervisor)
        for pid in (*(each for one in below for each in children(one)), *below, supervisor):
            os.kill(pid, signal.SIGINT)
        assert await server.end() == 0
        await until(lambda: len(answers) == 4)
        assert "Traceback" not in server.log()


async def test_one_whose_supervisor_is_killed_while_it_finishes_does_so(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "1", *QUIET) as server, trio.open_nursery() as nursery:
        answers: list[str] = []

        async def slow() -> None:
            answers.append(await ask(server.port, "/wait?for=2"))

        nursery.start_soon(slow)
        await trio.sleep(0.5)
        server.terminate()
        await trio.sleep(0.5)
        server.process.kill()
        await until(lambda: len(answers) == 1)


async def test_one_that_is_killed_is_replaced_and_costs_its_own_connections_only(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", *QUIET) as server:
        peers = [await Peer.connect(server.port) for _ in range(10)]
        owners = [int((await peer.get("/")).body) for peer in peers]
        victim = owners[0]
        os.kill(victim, signal.SIGKILL)
        await until(lambda: gone(victim) and len(workers(server)) == 2)
        for peer, owner in zip(peers, owners, strict=True):
            if owner == victim:
                with pytest.raises(Cut):
                    await peer.get("/")
            else:
                assert int((await peer.get("/")).body) == owner
            peer.socket.close()
        await until(lambda: "was killed by SIGKILL" in server.log())
        server.terminate()
        assert await server.end() == 0


async def test_a_roll_renews_all_and_leaks_nothing(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", *QUIET) as server:
        opened = None
        for generation in range(2, 5):
            before = set(workers(server))
            server.process.send_signal(signal.SIGHUP)
            said = f"all workers are renewed: generation {generation}"
            await until(lambda said=said: said in server.log())
            await until(lambda: len(workers(server)) == 2)
            assert not before & set(workers(server))
            if opened is None:
                await trio.sleep(1)
                opened = descriptors(server.process.pid)
            await until(lambda opened=opened: descriptors(server.process.pid) == opened)
        server.terminate()
        assert await server.end() == 0


async def test_a_roll_into_what_cannot_start_leaves_all_as_it_was_and_the_next_one_goes(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", *QUIET) as server:
        before = workers(server)
        (tmp_path / "app.py").write_text("def handler(:\n")
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: "not renewed, for worker 3 could not start" in server.log())
        assert "SyntaxError" in server.log()
        assert workers(server) == before
        assert await answering(server.port) == set(before)
        (tmp_path / "app.py").write_text(APP)
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: "all workers are renewed: generation 3" in server.log())
        server.terminate()
        assert await server.end() == 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "importing 'app' failed: ZeroDivisionError"),
        ("handler = 3", "app:handler is an object of type int, which cannot be called"),
        ("import os\nos._exit(7)", "has ended with status 7 before it served"),
    ],
)
async def test_what_cannot_start_says_so_once_and_ends_with_3(tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "app.py").write_text(source)
    command = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "--port", "0", "-w", "3"]
    with pytest.raises(AssertionError, match="did not start"):
        async with running(command, tmp_path):
            pass
    log = (tmp_path / "stderr").read_text()
    assert words in log
    if "7" not in source:
        assert log.count(words) == 1


async def test_an_address_that_is_in_use_is_told_before_any_worker_begins(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, *QUIET) as other:
        command = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "--port", str(other.port)]
        folder = tmp_path / "second"
        folder.mkdir()
        process = await trio.run_process(
            [*command, "-w", "2", "--app-dir", str(tmp_path)], capture_stderr=True, check=False, cwd=folder
        )
        assert process.returncode == 3
        assert b"is in use: stop what listens there, or choose another port" in process.stderr


async def test_workers_that_are_told_by_others_finish_and_are_replaced(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", *QUIET) as server:
        first = workers(server)[0]
        os.kill(first, signal.SIGTERM)
        await until(lambda: gone(first) and len(workers(server)) == 2)
        assert server.log().count("drained") == 1
        with trio.fail_after(PATIENCE):
            while len(await answering(server.port)) < 2:
                pass
        server.terminate()
        assert await server.end() == 0


async def test_without_a_supervisor_there_is_nobody_after_the_grace(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", "--no-access-log", "--grace", "2s") as server:
        left = workers(server)
        with await Peer.connect(server.port) as peer:
            await peer.send(b"GET /wait?for=1 HTTP/1.1\r\nHost: test\r\n\r\n")
            await trio.sleep(0.3)
            server.process.kill()
            assert (await peer.answer()).status == 200
        await until(lambda: all(map(gone, left)))
        assert server.log().count("the supervisor has gone") == 2


async def test_one_more_and_one_less(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "1", *QUIET) as server:
        for _ in range(2):
            server.process.send_signal(signal.SIGTTIN)
            await trio.sleep(0.1)
        await until(lambda: len(workers(server)) == 3)
        await trio.sleep(1)
        for _ in range(3):
            server.process.send_signal(signal.SIGTTOU)
            await trio.sleep(0.1)
        await until(lambda: len(workers(server)) == 1)
        assert await answering(server.port) == set(workers(server))
        server.terminate()
        assert await server.end() == 0


async def test_nothing_is_lost_while_there_are_more_and_fewer(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "1", *QUIET) as server:
        loads = [Load(server.port, kept) for kept in (True, False) * 4]
        async with trio.open_nursery() as nursery:
            for load in loads:
                nursery.start_soon(load.run)
            for count in (2, 3, 2, 1, 2, 1):
                server.process.send_signal(signal.SIGTTIN if count > len(workers(server)) else signal.SIGTTOU)
                await until(lambda count=count: len(workers(server)) == count)
                with trio.fail_after(PATIENCE):
                    while len(await answering(server.port)) != count:
                        pass
            nursery.cancel_scope.cancel(reason="enough")
        assert [lost for load in loads for lost in load.lost] == []
        assert await answering(server.port) == set(workers(server))
        server.terminate()
        assert await server.end() == 0


async def test_one_that_has_answered_enough_is_replaced(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "1", "--max-requests", "10", *QUIET) as server:
        (first,) = workers(server)
        for _ in range(10):
            assert int(await ask(server.port)) == first
        await until(lambda: gone(first))
        assert "is replaced: it has answered 10 requests" in server.log()
        assert int(await ask(server.port)) != first
        server.terminate()
        assert await server.end() == 0


@pytest.mark.slow
async def test_one_whose_loop_is_silent_is_killed_when_that_is_asked_for_and_says_where_it_was(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", "--worker-timeout", "4s", *QUIET) as server:
        with await Peer.connect(server.port) as peer:
            await peer.send(b"GET /block?for=600 HTTP/1.1\r\nHost: test\r\n\r\n")
            await until(lambda: re.search(r"has been silent for \d+ s, and is killed", server.log()) is not None)
            with pytest.raises(Cut):
                await peer.answer()
        log = server.log()
        assert re.search(
            r'worker \d+ \(process \d+\) has been silent for \d s: .*File ".*app.py", line 7 in handler', log
        )
        assert "Fatal Python error: Aborted" in log
        await until(lambda: len(workers(server)) == 2)
        server.terminate()
        assert await server.end() == 0


@pytest.mark.slow
async def test_one_whose_loop_is_silent_at_the_end_says_where_it_was(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", "--no-access-log", "--grace", "1s") as server:
        with await Peer.connect(server.port) as peer:
            await peer.send(b"GET /block?for=600 HTTP/1.1\r\nHost: test\r\n\r\n")
            await trio.sleep(0.5)
            server.terminate()
            assert await server.end(3 * PATIENCE) == 1
        assert "does not end, and is killed" in server.log()
        assert re.search(r'File ".*app.py", line 7 in handler', server.log())


@pytest.mark.slow
async def test_one_that_is_stopped_is_told_and_left_alone_and_others_serve(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", *QUIET) as server:
        victim, other = workers(server)
        os.kill(victim, signal.SIGSTOP)
        await until(lambda: "it is stopped" in server.log())
        for _ in range(20):
            assert int(await ask(server.port)) == other
        os.kill(victim, signal.SIGCONT)
        await until(lambda: "answers again" in server.log())
        assert workers(server) == sorted([victim, other])
        server.terminate()
        assert await server.end() == 0


@pytest.mark.slow
async def test_a_slow_import_is_waited_for(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "1", *QUIET) as server:
        (tmp_path / "app.py").write_text("import time\ntime.sleep(20)\n" + APP)
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: "all workers are renewed" in server.log(), 60)
        assert "killed" not in server.log()
        server.terminate()
        assert await server.end() == 0


@pytest.mark.slow
async def test_those_that_crash_all_the_time_do_not_take_the_machine(tmp_path: Path) -> None:
    crashing = APP + "\nimport threading\nthreading.Timer(0.2, lambda: os._exit(9)).start()\n"
    async with command_line(APP, tmp_path, "-w", "1", *QUIET) as server:
        (tmp_path / "app.py").write_text(crashing)
        os.kill(workers(server)[0], signal.SIGKILL)
        await trio.sleep(6)
        assert server.log().count("has ended with status 9") <= 5
        server.terminate()
        assert await server.end() in (0, 1)


async def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", "--no-access-log", "--grace", "1h") as server:
        with await Peer.connect(server.port) as peer:
            await peer.send(b"GET /wait?for=600 HTTP/1.1\r\nHost: test\r\n\r\n")
            await trio.sleep(0.5)
            before = children(server.process.pid)
            server.terminate()
            await trio.sleep(0.5)
            server.terminate()
            assert await server.end() == 128 + signal.SIGTERM
        assert all(map(gone, before))


@pytest.mark.parametrize("kept", [True, False])
async def test_nothing_is_lost_while_workers_are_renewed(tmp_path: Path, kept: bool) -> None:
    async with command_line(APP, tmp_path, "-w", "2", *QUIET) as server:
        loads = [Load(server.port, kept) for _ in range(8)]
        async with trio.open_nursery() as nursery:
            for load in loads:
                nursery.start_soon(load.run)
            for generation in range(2, 5):
                server.process.send_signal(signal.SIGHUP)
                said = f"generation {generation}\n"
                await until(lambda said=said: said in server.log())
            nursery.cancel_scope.cancel(reason="enough")
        assert [lost for load in loads for lost in load.lost] == []
        assert sum(load.answered for load in loads) > 100
        server.terminate()
        assert await server.end() == 0


@pytest.mark.slow
async def test_an_upgrade_is_the_same_process_with_the_same_sockets_and_loses_nothing(tmp_path: Path) -> None:
    bind = f"unix:{tmp_path}/app.sock"
    async with command_line(APP, tmp_path, "-w", "2", "-b", bind, *QUIET) as server:
        loads = [Load(server.port, kept) for kept in (True, False) * 4]
        opened = None
        async with trio.open_nursery() as nursery:
            for load in loads:
                nursery.start_soon(load.run)
            for generation in range(2, 5):
                before = set(workers(server))
                server.process.send_signal(signal.SIGUSR2)
                said = f"all workers are renewed: generation {generation}\n"
                await until(lambda said=said: said in server.log())
                await until(lambda: len(workers(server)) == 2)
                assert not before & set(workers(server))
                if opened is None:
                    await trio.sleep(1)
                    opened = descriptors(server.process.pid)
                await until(lambda opened=opened: descriptors(server.process.pid) == opened)
            nursery.cancel_scope.cancel(reason="enough")
        assert [lost for load in loads for lost in load.lost] == []
        assert (tmp_path / "app.sock").is_socket()
        server.terminate()
        assert await server.end() == 0
        assert not (tmp_path / "app.sock").exists()


async def test_what_would_not_start_is_no_upgrade(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", *QUIET) as server:
        before = workers(server)
        (tmp_path / "app.py").write_text("1 / 0")
        server.process.send_signal(signal.SIGUSR2)
        await until(lambda: "not upgraded, for it would not start" in server.log())
        assert "ZeroDivisionError" in server.log()
        assert workers(server) == before
        server.terminate()
        assert await server.end() == 0


@pytest.mark.parametrize("count", [2, 4])
async def test_connections_are_spread_evenly(tmp_path: Path, count: int) -> None:
    """A worker that the machine lets stand for a while has fewer, and rightly: so the best of some crowds counts."""
    async with command_line(APP, tmp_path, "-w", str(count), *QUIET) as server:
        spread: list[list[int]] = []
        while len(spread) < 4 and not any(min(counts) >= 40 and max(counts) <= 60 for counts in spread):
            peers: list[Peer] = []

            async def connect(peers: list[Peer]) -> None:
                peers.append(await Peer.connect(server.port))

            async with trio.open_nursery() as nursery:
                for _ in range(50 * count):
                    nursery.start_soon(connect, peers)
            owners = [int((await peer.get("/")).body) for peer in peers]
            for peer in peers:
                peer.socket.close()
            spread.append([owners.count(worker) for worker in workers(server)])
            assert sum(spread[-1]) == 50 * count
        assert min(spread[-1]) >= 40, spread
        assert max(spread[-1]) <= 60, spread
        server.terminate()
        assert await server.end(PATIENCE) == 0

"""What can be done to one of several processes: rows of :class:`threats.Threat`, with what bounds it and its tests."""

from __future__ import annotations

WORKERS = "tests/e2e/test_workers.py"

ROWS = (
    (
        "Makes the application end its process, again and again",
        ("processes.slots:FORGOTTEN",),
        "the answers of other workers; its own connections are cut",
        (
            f"{WORKERS}::test_one_that_is_killed_is_replaced_and_costs_its_own_connections_only",
            f"{WORKERS}::test_those_that_crash_all_the_time_do_not_take_the_machine",
        ),
    ),
    (
        "Makes the application block the loop of a worker",
        ("processes.slots:SILENCE", "processes.board:PATIENT"),
        "the answers of other workers; the log says where it is, and `--worker-timeout` ends it",
        (
            f"{WORKERS}::test_one_whose_loop_is_silent_is_killed_when_that_is_asked_for_and_says_where_it_was",
            f"{WORKERS}::test_one_that_is_stopped_is_told_and_left_alone_and_others_serve",
        ),
    ),
    (
        "Opens many connections at once, so that one worker has them all",
        ("processes.board:TOLERANCE",),
        "nothing: they are spread",
        (
            f"{WORKERS}::test_connections_are_spread_evenly",
            "tests/unit/processes/test_board.py::test_whoever_wakes_nobody_has_many_more_than_another",
        ),
    ),
    (
        "Makes the application write without end to what its worker has open, such as the talk with the supervisor",
        ("processes.control:WORDS", "processes.control:LONGEST_WORD"),
        "the last lines are kept, and cut",
        ("tests/unit/processes/test_supervisor.py::test_of_lines_without_end_the_last_are_kept",),
    ),
    (
        "Asks for so much that who remembers the last requests, while the window is open, would have a lot to remember",
        ("watching.recent:BUDGET", "watching.recent:LAST", "watching.recent:MOST", "watching.workers:READERS"),
        "the first requests of each second are remembered",
        (
            "tests/unit/watching/test_recent.py::test_beyond_the_budget_listeners_are_left_alone_until_the_next_look",
            "tests/unit/watching/test_recent.py::test_of_a_connection_the_last_are_kept",
            "tests/unit/watching/test_workers.py::test_there_are_not_more_readers_than_may_be",
        ),
    ),
)

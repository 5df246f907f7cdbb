"""Words on the command line that are none of ours: each is one sentence, and says what may have been meant."""

from __future__ import annotations

import pytest

from roadrunner_trio.command.cli import main


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["serve", "app:app", "--relod"], "serve: error: --relod is not known here: did you mean --reload?"),
        (
            ["serve", "app:app", "--tls-certificate=x"],
            "--tls-certificate=x is not known here: did you mean --tls-cert?",
        ),
        (["check", "app:app", "--nobind"], "check: error: --nobind is not known here: did you mean --no-bind?"),
        (["serve", "app:app", "--xyzzy", "3"], "serve: error: --xyzzy is not known here\n"),
        (["serve", "app:app", "other:app"], "serve: error: other:app is not known here\n"),
        (["app:app"], "'app:app' is no command; there are serve, check, routes: write roadrunner-trio serve app:app\n"),
        (["app.py"], "write roadrunner-trio serve app.py\n"),
        (["serv"], "'serv' is no command; there are serve, check, routes\n"),
        ([], "the following arguments are required: {serve,check,routes}"),
    ],
)
def test_what_nobody_knows_is_told_so(argv, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_a_folder_without_a_command(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert f"write roadrunner-trio serve {tmp_path}\n" in capsys.readouterr().err


def test_the_help_has_a_word_for_every_value(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    out = capsys.readouterr().out
    assert "[BOOL]" in out
    assert "[WS_" not in out

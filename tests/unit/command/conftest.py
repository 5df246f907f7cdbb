"""What several of these tests need."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """``prepare`` sets up logging for the process, which is not the tests' own."""
    loggers = [logging.getLogger(), logging.getLogger("roadrunner_trio")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers

"""The command line in this process, which has torch at hand."""

import sys
from collections.abc import Callable

import pytest

from onestep.cli import main

Command = Callable[..., None]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `onestep guarantees ..`; each argument is one word or more."""

    def run(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["onestep", "guarantees", *" ".join(map(str, words)).split()])
        main()

    return run

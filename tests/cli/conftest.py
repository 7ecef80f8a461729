"""Running the command in this process, where a subprocess would only cost time."""

import contextlib
import io
import signal
import sys
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    def refused(self, *words):
        """Assert exit code 2 and one line on stderr that holds `words`."""
        assert self.code == 2, self
        assert self.err.startswith("genogate: "), self.err
        assert self.err.count("\n") == 1, self.err
        assert self.err.endswith("\n"), self.err
        assert len(self.err) < 500, self.err
        assert self.out == "", self.out
        for word in words:
            assert word in self.err


@pytest.fixture
def genogate(monkeypatch, tmp_path):
    """Call the command as a shell would; the current folder is empty."""
    from genogate.cli import main

    monkeypatch.chdir(tmp_path)
    handlers = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["genogate", *map(str, arguments)])
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            with pytest.raises(SystemExit) as stop:
                main()
        return Outcome(stop.value.code, out.getvalue(), err.getvalue())

    yield call
    for sign, handler in handlers.items():
        signal.signal(sign, handler)

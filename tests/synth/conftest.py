import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Every test starts with an empty cache, and with the Yosys of this environment."""
    monkeypatch.setenv("GENOGATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("YOSYS", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def program(tmp_path):
    """Make an executable that stands in for Yosys; answers ``-V``, else runs `body`."""

    def make(body: str, version: str = "Yosys 0.70 (git sha1 0123456, made up)") -> str:
        path = tmp_path / "some-yosys"
        path.write_text(f'#!/bin/sh\nif [ "$1" = -V ]; then echo "{version}"; exit; fi\n{body}\n')
        path.chmod(0o755)
        return str(path)

    return make

import pytest


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    """One folder for all tests that do not ask for an empty one: what one has measured the next
    need not measure again."""
    return tmp_path_factory.mktemp("measured")


@pytest.fixture(autouse=True)
def this_yosys_and_a_cache(shared_cache, monkeypatch):
    """Every test has the Yosys of this environment, and nothing from a cache outside."""
    monkeypatch.setenv("GENOGATE_CACHE", str(shared_cache))
    monkeypatch.delenv("YOSYS", raising=False)


@pytest.fixture
def own_cache(this_yosys_and_a_cache, tmp_path, monkeypatch):
    """The test starts with an empty cache."""
    monkeypatch.setenv("GENOGATE_CACHE", str(tmp_path / "cache"))
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

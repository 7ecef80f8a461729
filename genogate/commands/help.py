"""Help pages of commands: options in groups, and examples that can be typed as they stand."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

#: Group of an option that is in no other.
OTHER = "Other options"
#: Options that refuse an empty value themselves, and say which values there are.
NAMES = ("genome", "task", "checkpoint", "lanes")


def together(*options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """Several options as one decorator, in their order."""

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def group(title: str, *options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """Several options as one decorator, which stand under `title` in the help."""

    def decorate(command: Decorated) -> Decorated:
        def parameters() -> list[Any]:
            return getattr(command, "__click_params__", [])

        before = len(parameters())
        command = together(*options)(command)
        for option in parameters()[before:]:
            # An outer group may hold groups of its own.
            option.help_group = getattr(option, "help_group", title)
        return command

    return decorate


class Command(click.Command):
    """A command with examples and groups of options.

    examples : command lines, shown at the end of the description
    """

    def __init__(self, *arguments: Any, examples: tuple[str, ...] = (), **settings: Any) -> None:
        self.examples = examples
        if examples:
            # \b keeps the lines as they are; four spaces make them code on the documentation site.
            lines = "\n".join(f"    {example}" for example in examples)
            word = "Example" if len(examples) == 1 else "Examples"
            text = inspect.cleandoc(settings.get("help") or "")
            settings["help"] = f"{text}\n\n{word}:\n\n\b\n{lines}"
        super().__init__(*arguments, **settings)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raises :class:`click.UsageError` for an option that is given empty, and for ``--`` with
        nothing behind it, as by a variable of the shell that is not set: taking it for one that
        was left out would go unnoticed."""
        nothing = args[-1:] == ["--"] and args.count("--") == 1
        rest = super().parse_args(ctx, args)
        for option in self.get_params(ctx):
            name = option.name or ""
            given = ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE
            if name in NAMES or not given or not isinstance(option, click.Option):
                continue
            value = ctx.params.get(name)
            if value == "" or (isinstance(value, tuple) and "" in value):
                hint = "empty: give a value, or leave the option out"
                raise click.BadParameter(hint, ctx, option)
            # An option may have taken it as its value.
            nothing = nothing and value != "--"
        if nothing:
            raise click.UsageError("nothing stands behind --: give a value, or leave it out", ctx)
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group, in the order of their declaration."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(option, "help_group", OTHER), []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


def summary(command: click.Command) -> str:
    """The first sentence of a command's description, whole."""
    return " ".join((command.help or "").split("\n\n")[0].split())


class Group(click.Group):
    """A group that lists its commands by section, with summaries that are never cut off."""

    def sections(self, ctx: click.Context) -> dict[str, dict[str, str]]:
        """Commands and their summaries by section."""
        names = self.list_commands(ctx)
        commands = {name: self.get_command(ctx, name) for name in names}
        return {"Commands": {n: summary(command) for n, command in commands.items() if command}}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, section by section."""
        width = max(map(len, self.list_commands(ctx)))
        for title, commands in self.sections(ctx).items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{width}}", text) for name, text in commands.items()])

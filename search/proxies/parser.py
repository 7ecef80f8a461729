"""The text of a formula, read: function notation, what is used more than once named first."""

import re
from typing import NoReturn

from ...model.errors import InputError, shown
from .inputs import LEAVES, SYMBOLS
from .nodes import MAX_NODES, Builder, Node
from .primitives import PRIMITIVES

MAX_TEXT = 20_000


class Parser:
    """Recursive descent over the text."""

    TOKEN = re.compile(r"\s*(?:(bits\s*\*\s*[a-z_]+)|([A-Za-z_][A-Za-z_0-9]*)|([(),;=])|(\S))")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise InputError(f"proxy {shown(text)}: a text is needed")
        if len(text) > MAX_TEXT:
            raise InputError(f"proxy: {len(text)} characters, {MAX_TEXT} are the most")
        self.text, self.at, self.builder = text, 0, Builder()
        self.tokens = [
            (
                re.sub(r"\s", "", next(filter(None, match.groups()))),
                match.start() + len(match.group()) - len(match.group().lstrip()),
            )
            for match in self.TOKEN.finditer(text)
        ]
        self.names: dict[str, int] = {}

    def fail(self, fault: str, remedy: str, at: int | None = None) -> NoReturn:
        at = self.at if at is None else at
        position = self.tokens[at][1] if at < len(self.tokens) else len(self.text)
        near = self.text[position : position + 20].strip() or "the end"
        raise InputError(f"proxy, character {position + 1} ({near}): {fault}; {remedy}")

    def peek(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self.tokens[at][0] if at < len(self.tokens) else ""

    def expect(self, token: str, remedy: str) -> None:
        if self.peek() != token:
            self.fail(f"{token} is missing", remedy)
        self.at += 1

    def nodes(self) -> tuple[Node, ...]:
        if not self.tokens:
            self.fail("nothing there", "write a formula such as negate(mean(square(error)))")
        while self.peek(1) == "=":
            name = self.peek()
            if name in LEAVES or name in PRIMITIVES or name in self.names or not name[0].isalpha():
                self.fail(f"{name} cannot be a name here", "use x1, x2, ..., each once")
            self.at += 2
            self.names[name] = self.expression(0)
            self.expect(";", "definitions end with a semicolon: x1 = abs(weight); mean(x1)")
        last = self.expression(0)
        if self.at < len(self.tokens):
            self.fail("the formula has ended before", "remove what follows, or a bracket")
        return tuple(self.builder.nodes[: last + 1])

    def expression(self, depth: int) -> int:
        token = self.peek()
        if depth > MAX_NODES:
            self.fail("too deep", f"{MAX_NODES} levels are the most")
        if not token or token in "(),;=":
            self.fail("an input or a primitive is missing", "e.g. mean(error)")
        if self.peek(1) != "(":
            if token in self.names:
                self.at += 1
                return self.names[token]
            if token in LEAVES:
                self.at += 1
                return self.builder.add(token)
            if token in PRIMITIVES:
                self.fail(f"{token} without arguments", f"write {token}(...)")
            inputs = ", ".join(SYMBOLS)
            self.fail(f"no input {shown(token)}", f"inputs are {inputs}, and bits*weight and so on")
        if token not in PRIMITIVES:
            import difflib

            near = difflib.get_close_matches(token, PRIMITIVES, 3, 0.4)
            self.fail(
                f"no primitive {shown(token)}",
                f"did you mean {' or '.join(near)}"
                if near
                else "`genogate proxy show` without a proxy lists them",
            )
        start, arity = self.at, PRIMITIVES[token].arity
        self.at += 2
        arguments = [self.expression(depth + 1)]
        while self.peek() == ",":
            self.at += 1
            arguments.append(self.expression(depth + 1))
        self.expect(")", f"close the bracket of {token}")
        if len(arguments) != arity:
            self.fail(f"{token} with {len(arguments)} arguments", f"it takes {arity}", start)
        return self.builder.add(token, *arguments)

"""Read, print and evaluate a tiny Lisp.

The reader turns text into nested Python lists, symbols, numbers and strings and
reports the line of each mistake.  The evaluator knows six special forms and has
lexical scope.  Calls in tail position do not grow the Python stack: ``evaluate``
loops instead of recursing when the value of the call is its own value.
"""

from __future__ import annotations

import math
import operator
import re
from collections import ChainMap
from collections.abc import Iterator
from typing import Any

_LEXEME = re.compile(r'\s+|;[^\n]*|(?P<token>[()\']|"(?:\\.|[^"\\])*"|[^\s()\'";]+)')


class Symbol(str):
    """A name, as opposed to a string literal."""


class LispError(Exception):
    """Anything that is wrong with a program or with its text."""


class Procedure:
    """A function written in Lisp, together with the scope that it was made in."""

    def __init__(self, names: list[Symbol], body: Any, scope: ChainMap[str, Any]) -> None:
        self.names, self.body, self.scope = names, body, scope

    def bind(self, values: list[Any]) -> ChainMap[str, Any]:
        if len(values) != len(self.names):
            raise LispError(f"expected {len(self.names)} argument(s), got {len(values)}")
        return self.scope.new_child(dict(zip(self.names, values)))


def tokens(source: str) -> Iterator[tuple[str, int]]:
    """Yield each token with its line number; comments and spaces are dropped."""
    position, line = 0, 1
    while position < len(source):
        match = _LEXEME.match(source, position)
        if match is None:
            raise LispError(f"line {line}: string without an end")
        if token := match["token"]:
            yield token, line
        line += match.group().count("\n")
        position = match.end()


def read_all(source: str) -> list[Any]:
    """Read every expression of a program.

    >>> read_all("(a 1.5 'b) 7")
    [['a', 1.5, ['quote', 'b']], 7]
    """
    stack: list[tuple[list[Any], int]] = [([], 0)]
    quoted: list[int] = []  # depths at which the next expression has a quote mark

    def emit(value: Any) -> None:
        while quoted and quoted[-1] == len(stack):
            quoted.pop()
            value = [Symbol("quote"), value]
        stack[-1][0].append(value)

    for token, line in tokens(source):
        if token == "(":
            stack.append(([], line))
        elif token == ")":
            if len(stack) == 1:
                raise LispError(f"line {line}: ')' without '('")
            emit(stack.pop()[0])
        elif token == "'":
            quoted.append(len(stack))
        else:
            emit(atom(token))
    if len(stack) > 1:
        raise LispError(f"line {stack[-1][1]}: '(' is never closed")
    return stack[0][0]


def atom(token: str) -> Any:
    if token.startswith('"'):
        return re.sub(r"\\(.)", r"\1", token[1:-1])
    for convert in (int, float):
        try:
            return convert(token)
        except ValueError:
            pass
    return Symbol(token)


def evaluate(form: Any, scope: ChainMap[str, Any]) -> Any:
    while True:
        if isinstance(form, Symbol):
            if form not in scope:
                raise LispError(f"unknown name {form}")
            return scope[form]
        if not isinstance(form, list):
            return form
        match form:
            case []:
                raise LispError("cannot call an empty list")
            case ["quote", value]:
                return value
            case ["define", Symbol() as name, value]:
                scope[name] = evaluate(value, scope)
                return None
            case ["lambda", [*names], body]:
                return Procedure(names, body, scope)
            case ["if", condition, yes, no]:
                form = yes if evaluate(condition, scope) else no
            case ["begin", *steps, last]:
                for step in steps:
                    evaluate(step, scope)
                form = last
            case [head, *rest]:
                function = evaluate(head, scope)
                values = [evaluate(part, scope) for part in rest]
                if not isinstance(function, Procedure):
                    return function(*values)
                form, scope = function.body, function.bind(values)


def globals_scope() -> ChainMap[str, Any]:
    return ChainMap({}, {
        "+": lambda *xs: sum(xs), "*": lambda *xs: math.prod(xs), "-": operator.sub,
        "<": operator.lt, "=": operator.eq, "list": lambda *xs: list(xs),
        "first": lambda xs: xs[0], "rest": lambda xs: xs[1:], "empty?": lambda xs: not xs,
    })


def run(source: str) -> Any:
    scope, value = globals_scope(), None
    for form in read_all(source):
        value = evaluate(form, scope)
    return value


if __name__ == "__main__":
    assert run("((lambda (x) (* x x)) 12)") == 144
    assert run("(define adder (lambda (n) (lambda (x) (+ x n)))) ((adder 3) 4)") == 7
    assert run("(first (rest '(a \"b c\" d)))") == "b c"
    counter = """
        ; five thousand tail calls, far beyond Python's recursion limit
        (define loop (lambda (n total) (if (= n 0) total (loop (- n 1) (+ total n)))))
        (loop 5000 0)"""
    print("sum:", run(counter))
    assert run(counter) == 5000 * 5001 // 2
    for wrong in ("(+ 1", "(f))", "(nosuch 1)", "()", '"open', "((lambda (x) x))"):
        try:
            run(wrong)
        except LispError as error:
            print(f"{wrong!r}: {error}")
        else:
            raise AssertionError(wrong)

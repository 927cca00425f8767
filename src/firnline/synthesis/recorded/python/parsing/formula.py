"""Parse and evaluate spreadsheet-like formulas with a Pratt parser.

Every operator has a binding power.  ``parse(minimum)`` reads one operand and then
keeps absorbing operators whose left binding power is at least ``minimum``; an
operator that binds more weakly is left for the caller.  A right-associative
operator such as ``^`` simply asks for its right operand with a lower minimum
than its own power.  This takes a fraction of the code of one function per
precedence level, and adding an operator is one more row in a table.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

Number = float
Evaluator = Callable[[Mapping[str, Number]], Number]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<symbol><>|[-+*/^(),<>=%]))"
)


class FormulaError(ValueError):
    """A formula that cannot be read, with the offset of the problem."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} at offset {offset}")


class Token(NamedTuple):
    kind: str
    text: str
    offset: int


def tokenize(source: str) -> Iterator[Token]:
    """Cut a formula into tokens; the last one has the kind "end"."""
    position, stripped = 0, source.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            bad = stripped[position:].lstrip()[0]
            raise FormulaError(f"unexpected character {bad!r}", position)
        kind = str(match.lastgroup)
        yield Token(kind, match.group(kind), match.start(kind))
        position = match.end()
    yield Token("end", "", len(stripped))


# symbol: (left power, right power, function)
BINARY: dict[str, tuple[int, int, Callable[[Number, Number], Number]]] = {
    "=": (10, 11, operator.eq), "<>": (10, 11, operator.ne),
    "<": (10, 11, operator.lt), ">": (10, 11, operator.gt),
    "+": (20, 21, operator.add), "-": (20, 21, operator.sub),
    "*": (30, 31, operator.mul), "/": (30, 31, operator.truediv),
    "^": (51, 50, operator.pow),
}
NEGATION_POWER = 40
FUNCTIONS: dict[str, Callable[..., Number]] = {
    "sqrt": math.sqrt, "min": min, "max": max,
    "if": lambda condition, yes, no: yes if condition else no,
}


class Parser:
    """Turns one formula into a function of its variables."""

    def __init__(self, source: str) -> None:
        self._tokens = list(tokenize(source))
        self._index = 0

    @property
    def _current(self) -> Token:
        return self._tokens[self._index]

    def _advance(self) -> Token:
        self._index += 1
        return self._tokens[self._index - 1]

    def _expect(self, symbol: str) -> None:
        if self._current.text != symbol:
            raise FormulaError(f"expected {symbol!r}", self._current.offset)
        self._advance()

    def compile(self) -> Evaluator:
        result = self._parse(0)
        if self._current.kind != "end":
            raise FormulaError(f"unexpected {self._current.text!r}", self._current.offset)
        return result

    def _parse(self, minimum: int) -> Evaluator:
        left = self._operand()
        while True:
            symbol = self._current.text
            if symbol == "%":  # postfix: binds tighter than any binary operator
                self._advance()
                left = self._apply(lambda value: value / 100, left)
                continue
            if symbol not in BINARY or BINARY[symbol][0] < minimum:
                return left
            self._advance()
            _, right_power, function = BINARY[symbol]
            left = self._apply(function, left, self._parse(right_power))

    @staticmethod
    def _apply(function: Callable[..., Number], *operands: Evaluator) -> Evaluator:
        return lambda env: function(*(operand(env) for operand in operands))

    def _operand(self) -> Evaluator:
        token = self._advance()
        if token.kind == "number":
            value = float(token.text)
            return lambda env: value
        if token.kind == "name" and self._current.text == "(":
            return self._call(token)
        if token.kind == "name":
            return lambda env: env[token.text]
        if token.text == "-":
            return self._apply(operator.neg, self._parse(NEGATION_POWER))
        if token.text == "(":
            inner = self._parse(0)
            self._expect(")")
            return inner
        raise FormulaError("expected a value", token.offset)

    def _call(self, name: Token) -> Evaluator:
        if name.text not in FUNCTIONS:
            raise FormulaError(f"unknown function {name.text!r}", name.offset)
        self._advance()  # the opening bracket
        arguments = [self._parse(0)]
        while self._current.text == ",":
            self._advance()
            arguments.append(self._parse(0))
        self._expect(")")
        return self._apply(FUNCTIONS[name.text], *arguments)


if __name__ == "__main__":
    cells = {"price": 80.0, "amount": 3.0}
    cases = {
        "2 + 3 * 4": 14, "2 ^ 3 ^ 2": 512, "-2 ^ 2": -4, "8 - 3 - 2": 3, "-(1 - 4)": 3,
        "price * amount * 20%": 48, "if(amount > 2, price / 2, price)": 40,
        "max(1, 2, sqrt(16)) = 4": True, "2 ^ -1": 0.5,
    }
    for formula, expected in cases.items():
        value = Parser(formula).compile()(cells)
        assert math.isclose(value, expected), (formula, value)
    print(f"{len(cases)} formulas agree")
    for wrong in ("1 +", "(2", "nosuch(1)", "3 4", "1 ? 2", ""):
        try:
            Parser(wrong).compile()
        except FormulaError as error:
            print(f"{wrong!r:12} {error}")
        else:
            raise AssertionError(wrong)

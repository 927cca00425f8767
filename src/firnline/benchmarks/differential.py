"""Tests that compare a candidate's outputs with the reference solution's on many inputs.

EvalPlus and EvoEval give inputs and a reference instead of assertions. Values are compared as
EvalPlus does (Liu et al. 2023, and its release): equal, or, where a tolerance is set or the
expected value is a float or a flat list of floats (then 1e-6), of the same type and close.
Not a number equals itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

FLOAT_TOLERANCE = 1e-6
RELATIVE_TOLERANCE = 1e-7


def differential_tests(
    reference: str,
    entry_point: str,
    inputs: Sequence[str],
    *,
    decode: Literal["json", "python"],
    tolerance: float = 0.0,
    zero_of: str = "",
) -> str:
    """Program text that raises AssertionError unless candidate and reference agree.

    `reference` is a whole program that defines `entry_point`. Each of `inputs` is one call's
    arguments: a JSON list, or Python expressions with commas between them. `zero_of` names a
    function f of the reference program: then an output y passes if |f(*arguments, y)| is within
    the tolerance, whatever the reference's output is.
    """
    return _TEMPLATE.format(
        reference=reference,
        entry_point=entry_point,
        candidate=entry_point,
        inputs=list(inputs),
        decode=decode,
        tolerance=tolerance,
        zero_of=zero_of,
        float_tolerance=FLOAT_TOLERANCE,
        relative_tolerance=RELATIVE_TOLERANCE,
    )


# Everything is inside one function, so that a candidate's own names stay as they are; inputs are
# decoded anew for each call, because solutions may change their arguments.
_TEMPLATE = """
def _check_against_reference(candidate):
    import json

    def arguments_of(text):
        if {decode!r} == "json":
            return json.loads(text)
        return eval("[" + text + "]", dict(reference))

    def floats(value):
        if isinstance(value, (list, tuple)) and value:
            return all(isinstance(item, float) for item in value)
        return isinstance(value, float)

    def close(actual, expected, tolerance):
        if isinstance(expected, (list, tuple)):
            return (
                type(actual) is type(expected)
                and len(actual) == len(expected)
                and all(close(a, e, tolerance) for a, e in zip(actual, expected))
            )
        if isinstance(expected, (int, float)) and isinstance(actual, (int, float)):
            if actual == expected or (actual != actual and expected != expected):
                return True
            allowed = tolerance + {relative_tolerance!r} * abs(expected)
            return tolerance > 0 and abs(actual - expected) <= allowed
        return actual == expected

    reference = {{}}
    exec({reference!r}, reference)
    tolerance = {tolerance!r}
    for text in {inputs!r}:
        actual = candidate(*arguments_of(text))
        if {zero_of!r}:
            residual = reference[{zero_of!r}](*arguments_of(text), actual)
            assert abs(residual) <= tolerance, f"{{text[:200]}} gives {{actual!r:.200}}"
            continue
        expected = reference[{entry_point!r}](*arguments_of(text))
        if actual == expected:
            continue
        allowed = tolerance or ({float_tolerance!r} if floats(expected) else 0)
        same = type(actual) is type(expected) and close(actual, expected, allowed)
        assert same, f"{{text[:200]}} gives {{actual!r:.200}}, not {{expected!r:.200}}"


_check_against_reference({candidate})
""".strip()

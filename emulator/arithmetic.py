"""A formula of numbers alone has a value here; every other formula is kept as text and its value is refused.

There is no formula engine (reference: sheets, 8.1): `=3/2` is 1.5, `=SUM(A1:A3)` is stored, and reading its value answers 501.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from functools import lru_cache

from emulator.errors import not_emulated

Number = int | float

_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


@lru_cache(maxsize=4096)
def value_of(formula: str) -> Number | str:
    """The value of a formula of numbers, `+ - * / ^` and parentheses; a division by zero is Google's error text."""
    try:
        tree = ast.parse(formula[1:].strip().replace("^", "**"), mode="eval")
        value = _evaluate(tree.body)
    except ZeroDivisionError:
        return "#DIV/0!"
    except (SyntaxError, TypeError, ValueError, OverflowError):
        raise not_emulated(f"the value of the formula {formula[:80]}") from None
    return plain(value)


def plain(value: Number) -> Number:
    """JSON shows a whole number without a point, as Google does."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value


def _evaluate(node: ast.expr) -> Number:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value  # type: ignore[return-value]  # narrowed by the line above
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_evaluate(node.left), _evaluate(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand)
    raise ValueError

"""The search for the operation that a refusal does not name: from the left, with the rest held back.

1. A refused part had no effect, so its operations may go again, in their order, in parts of any size.
2. Up to the middle of the suspects goes first. What lies behind is held back in one part, whatever is found: it costs one call.
3. Behind a dead letter the rest goes as a whole. Refused again, its first operation is tried alone, and while that is refused
   as well the next one: a batch that is bad as a whole costs a call for each dead letter. After good ones steps double again.
4. Nothing is given up without a refusal of its own.

One bad operation among n takes log2(n) calls, one for itself and one for the rest. Source: reference/sheets.md section 2.2.
"""

from __future__ import annotations

from collections.abc import Collection

from headgate.parts import Part, Piece

#: Behind dead letters in a row, steps double up to this size; then the rest goes as a whole.
LONGEST_STRIDE = 16


def narrowed(part: Part, first: int, last: int, held: Part | None) -> list[Piece]:
    """What goes on when some of the members at `first` .. `last` - 1 of a refused part are at fault."""
    cut = first + 1 if part.wary else first + (last - first) // 2
    behind = part.members[cut:] + (held.members if held else ())
    return [
        Piece(part.members[:cut], stride=1 if part.wary or part.stride else 0),
        Piece(behind, suspects=last - cut, held=True),
    ]


def without(part: Part, dead: Collection[int], held: Part | None) -> list[Piece]:
    """What goes on when the dead letters of a refused part are known."""
    rest = tuple(member for member in part.members if member not in dead) + (held.members if held else ())
    if part.stride:
        return [Piece(rest[:1], stride=1), Piece(rest[1:], held=True)]
    return [Piece(rest, wary=True)]


def released(done: Part, held: Part) -> list[Piece]:
    """What goes next of the part that was held back behind one that took effect."""
    step = 2 * done.stride
    near = 0 < held.suspects <= LONGEST_STRIDE
    if 0 < step <= LONGEST_STRIDE and not near:
        cut, stride = step, step
    elif held.suspects:
        cut, stride = max(1, held.suspects // 2), 1 if done.stride and near else 0
    else:
        cut, stride = len(held.members), 0
    if cut >= len(held.members):
        return [Piece(held.members)]
    behind = Piece(held.members[cut:], suspects=max(0, held.suspects - cut), held=True)
    return [Piece(held.members[:cut], stride=stride), behind]

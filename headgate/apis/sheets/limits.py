"""How large what a line says may be.

Source: reference/sheets.md section 1.4; LONGEST_LINE and LONGEST_ID are our own.
"""

from __future__ import annotations

LONGEST_LINE = 9_000_000
LONGEST_CELL = 50_000
LONGEST_ID = 200
LONGEST_RANGE = 500
LARGEST_CALL = 10_000_000
#: A line of fewer bytes becomes no call beyond `LARGEST_CALL`, however much it inflates.
INFLATES = 300_000
#: Whole numbers up to here are exact as a double.
EXACT = 2**53
#: How deep a raw request may be nested.
DEEPEST = 40

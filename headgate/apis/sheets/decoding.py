"""A line of JSON as an object: strictly, with a sentence for whatever is wrong, or fast, where nothing can be.

1. `decode` refuses what JSON leaves open and Sheets would take amiss: a key named twice, NaN, half a surrogate.
2. `decode_fast` gives what `decode` gives, or None where that is not certain without a closer look. A key named twice
   shows by the number of texts in the line, which `texts_in` counts and the caller, who sees every value, compares.
"""

from __future__ import annotations

import json

import orjson

from headgate.apis.sheets.limits import LONGEST_LINE
from headgate.errors import InvalidOperation


def decode(text: str | bytes) -> dict[str, object]:
    """The object that the line holds. Raises InvalidOperation with one sentence."""
    if len(text) > LONGEST_LINE:
        raise InvalidOperation(f"The line is longer than {LONGEST_LINE:,} bytes; split it into several operations.")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        fields = _DECODER.decode(text.removeprefix("\ufeff"))
        if "\\u" in text or not text.isascii():
            json.dumps(fields, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        raise InvalidOperation("The line is not valid UTF-8; save the file as UTF-8.") from None
    except UnicodeEncodeError:
        raise InvalidOperation(
            "The line holds half a character (an escape such as \\ud83d alone), which is not valid UTF-8; complete it."
        ) from None
    except json.JSONDecodeError as error:
        raise InvalidOperation(f"The line is not JSON: {error.msg} at character {error.pos + 1}; correct it.") from None
    except RecursionError:
        raise InvalidOperation("The line is nested too deeply; make it flatter.") from None
    except ValueError as error:
        raise InvalidOperation(closed(str(error)) if str(error).startswith("the line") else _TOO_LONG) from None
    if not isinstance(fields, dict):
        raise InvalidOperation('The line must be a JSON object, such as {"op": "read", "spreadsheet": "...", ...}.')
    return fields


def decode_fast(text: str | bytes) -> dict[str, object] | None:
    """The object that the line holds, but for keys named twice; None for a line that is no object or needs `decode`."""
    try:
        fields = orjson.loads(text)
    except ValueError:
        return None
    return fields if type(fields) is dict else None


def texts_in(text: str | bytes) -> int:
    """How many texts, keys among them, stand in a line that is JSON: outside of escapes a quote begins or ends one."""
    if isinstance(text, str):
        text = text.encode()
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return text.count(b'"') // 2


def closed(sentence: str) -> str:
    """The sentence with its full stop, and a capital where it begins with "the"."""
    return sentence[:1].upper() + sentence[1:] + "." if sentence.startswith("the ") else sentence + "."


_TOO_LONG = "The line holds a number with too many digits; write it as text."


def _no_constant(name: str) -> None:
    raise ValueError(f"the line holds {name}, which is no JSON number; write it as text")


def _object_without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the line names {name[:40]!r} twice in one object; remove one")
    return fields


_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_object_without_repeats)

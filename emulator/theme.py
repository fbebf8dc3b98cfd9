"""A new spreadsheet has Google's default format and theme (reference: sheets, 8.1).

Colours are stored as bytes and shown as 32-bit floats: 0.5 becomes 127/255, shown as 0.49803922; a channel of 0 is left out.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

from emulator.errors import Json

WHITE: Json = {"red": 1, "green": 1, "blue": 1}

DEFAULT_FORMAT: Json = {
    "backgroundColor": WHITE,
    "padding": {"top": 2, "right": 3, "bottom": 2, "left": 3},
    "verticalAlignment": "BOTTOM",
    "wrapStrategy": "OVERFLOW_CELL",
    "textFormat": {
        "foregroundColor": {},
        "fontFamily": "arial,sans,sans-serif",
        "fontSize": 10,
        "bold": False,
        "italic": False,
        "strikethrough": False,
        "underline": False,
        "foregroundColorStyle": {"rgbColor": {}},
    },
    "backgroundColorStyle": {"rgbColor": WHITE},
}


@lru_cache(maxsize=4096)
def shown_channel(value: float) -> float | int:
    """One channel of a colour as it comes back."""
    return shortest(int(max(0.0, min(1.0, value)) * 255) / 255)


def shortest(value: float) -> float | int:
    """The shortest decimal that is the same 32-bit float."""
    exact = struct.unpack("f", struct.pack("f", value))[0]
    for digits in range(1, 10):
        text = f"{exact:.{digits}g}"
        if struct.unpack("f", struct.pack("f", float(text)))[0] == exact:
            number = float(text)
            return int(number) if number.is_integer() else number
    return value


def colour(given: Json) -> Json:
    channels = {name: shown_channel(float(given.get(name) or 0)) for name in ("red", "green", "blue")}
    shown: Json = {name: value for name, value in channels.items() if value}
    if given.get("alpha") is not None:
        shown["alpha"] = given["alpha"]
    return shown


def paired(given: Json) -> Json:
    """Every colour is given in both forms that Google shows: `xColor` and `xColorStyle`."""
    shown: Json = {}
    for name, value in given.items():
        shown[name] = _paired_value(name, value)
    for name in [name for name in shown if name.endswith("Color")]:
        shown.setdefault(f"{name}Style", {"rgbColor": shown[name]})
    for name in [name for name in shown if name.endswith("ColorStyle")]:
        if "rgbColor" in shown[name]:
            shown[name.removesuffix("Style")] = shown[name]["rgbColor"]
    return shown


def _paired_value(name: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if name.endswith("ColorStyle"):
        rgb = value.get("rgbColor")
        return {"rgbColor": colour(rgb)} if rgb is not None else value
    if name.endswith("Color"):
        return colour(value)
    return paired(value)


def _rgb(red: int, green: int, blue: int) -> Json:
    channels = {"red": red, "green": green, "blue": blue}
    return {"rgbColor": {name: shortest(value / 255) for name, value in channels.items() if value}}


DEFAULT_THEME: Json = {
    "primaryFontFamily": "Arial",
    "themeColors": [
        {"colorType": kind, "color": _rgb(*channels)}
        for kind, channels in (
            ("TEXT", (0, 0, 0)),
            ("BACKGROUND", (255, 255, 255)),
            ("ACCENT1", (66, 133, 244)),
            ("ACCENT2", (234, 67, 53)),
            ("ACCENT3", (251, 188, 4)),
            ("ACCENT4", (52, 168, 83)),
            ("ACCENT5", (255, 109, 1)),
            ("ACCENT6", (70, 189, 198)),
            ("LINK", (17, 85, 204)),
        )
    ],
}

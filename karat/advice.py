"""What to write instead of a value of another type, as people write it: `"54"`, `5%`, `0,005`, `yes`."""

import math
import re

_LONGEST = 40  # characters of a text that advice repeats
_LARGEST = 1e15  # number that is written out


def advice_on(value: object, hint: type) -> str:
    """What to write instead of a value that is no whole number, number or truth value; often nothing.

    Args:
        value: as it was read.
        hint: int, float, bool or str; other types get no advice.
    """
    if hint is bool:
        words = {"yes": "true", "on": "true", "no": "false", "off": "false"}
        word = words.get(str(value).lower()) or {"0": "false", "1": "true"}.get(str(value))
        return f"write {word or str(value).lower()}" if word or _is_truth(value) else ""
    if hint is str and isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return f"write {value[0]}"
    if hint not in (int, float):
        return ""
    if isinstance(value, list):
        return "write one number, not a list"
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST:
        return f"write {int(value)}"
    return _advice_on_text(value, hint) if isinstance(value, str) else ""


def in_brackets(value: object, item: object = str) -> str:
    """The advice to write a list, for the text or number that is its only value, or `a, b`; often nothing.

    Args:
        value: as it was read.
        item: the type of the list's values; for int and float only numbers get advice.
    """
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    text = str(value).strip()
    if len(text) > _LONGEST:
        return ""
    is_quoted = text.startswith("[") and text.endswith("]")
    inner = text[1:-1] if is_quoted else text
    if item in (int, float) and not all(_number_in(part, item) for part in inner.split(",")):
        return ""
    return f"; write {text} without quotes" if is_quoted else f"; write [{text}]"


def _advice_on_text(text: str, hint: type) -> str:
    text = text.strip()
    if len(text) > _LONGEST:
        return ""
    if (number := _number_in(text, hint)) is not None:
        return f"write {number} without quotes"
    if text.endswith("%") and (share := _number_in(text[:-1], float)) is not None:
        return f"{text} are {float(share) / 100:g}"
    if re.fullmatch(r"-?\d+,\d+", text) and hint is float:
        return f"write {text.replace(',', '.')}"
    if re.fullmatch(r"-?[\d.]+ ?[A-Za-z]+", text):
        return "write the number without a unit"
    return ""


def _number_in(text: str, hint: type) -> str | None:
    """A text that is a finite number of the type, without underscores; None if it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    is_whole = number.is_integer() and abs(number) < _LARGEST
    if not math.isfinite(number) or (hint is int and not is_whole):
        return None
    return str(int(number)) if hint is int else text.replace("_", "")


def _is_truth(value: object) -> bool:
    return isinstance(value, str) and value.lower() in ("true", "false")

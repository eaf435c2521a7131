"""Seeds derived from names, so that they do not depend on the order in which trials run."""

import hashlib


def derive(*parts: object) -> int:
    """A 31-bit seed from any parts that have a stable `str`: the same parts give the same seed."""
    # The separator (ASCII unit separator) keeps ("ab", "c") apart from ("a", "bc").
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

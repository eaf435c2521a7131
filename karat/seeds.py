"""Seeds that follow from names, so that nothing depends on the order in which things happen."""

import hashlib


def derive(*parts: object) -> int:
    """A 31-bit seed from any parts that have a stable `str`: the same parts give the same seed."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

"""What simulated studies cannot have: weights, and answers on images."""

from pathlib import Path

from karat.study.audit import audit


def findings(folder: Path) -> list[str]:
    """What an audit finds in a simulated study beside that."""
    found = map(str, audit(folder, tracking=False))
    return [each for each in found if "checkpoint" not in each and "image by image" not in each]

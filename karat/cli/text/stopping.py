"""What a launch says of its early stopping beside the plan."""

from karat.schedulers import ignored_by
from karat.space.space import Space


def stopping_notes(space: Space) -> list[str]:
    """What the user may not expect of the section `early_stopping`: what has no effect, or takes the rule's away."""
    if ignored := ignored_by(space.early_stopping):
        return [f"early_stopping.scheduler: none has no use for {_and(ignored)}"]
    share = space.audit_share
    if share == 1:
        return [
            "early_stopping.audit_share: 1 finishes every trial that the rule would stop: it shows what stopping "
            "would cost, and saves nothing"
        ]
    if share:
        text = f"finishes {100 * share:g} % of the trials that the rule would stop"
        return [f"early_stopping.audit_share: {share:g} {text}, to show what stopping costs"]
    return []


def _and(names: tuple[str, ...]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last

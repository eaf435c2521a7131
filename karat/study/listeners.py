"""Who is told of a study's events, after they are on disk: progress, the MLflow view, tests."""

import logging
from collections.abc import Callable

from karat.journal.journal import Event
from karat.journal.state import StudyState

Listener = Callable[[Event, StudyState], None]
log = logging.getLogger(__name__)


class Listeners(list[Listener]):
    """Listeners in the order in which they are told. One that fails is removed; the study goes on."""

    def tell(self, event: Event, state: StudyState) -> None:
        """Tell all listeners of an event."""
        for listener in list(self):
            try:
                listener(event, state)
            except Exception:  # a view of the study must not end it
                log.exception("%r failed at event %d, and is told no more", listener, event.seq)
                self.remove(listener)

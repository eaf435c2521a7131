"""`karat watch`: follows a study from another terminal. It reads the journal and changes nothing."""

import argparse
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from karat.cli.command import Command
from karat.cli.exit_status import OK
from karat.cli.studies.json_output import add_json, print_json
from karat.cli.studies.named import activity_of, add_study, study_of
from karat.cli.studies.watching.decisions import decision_text
from karat.cli.studies.watching.view import Moment, document, lines_of, short_line
from karat.cli.text.layout import say
from karat.cli.text.next_steps import after, next_lines
from karat.errors import JournalError
from karat.journal.journal import Event, Follower
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.terminal import lost_output, make_console

_SHOWN = 8  # decisions
_POLL_S = 0.5
_LINE_EVERY_S = 10.0
_NEWS = frozenset(
    {
        *("trial_ended", "segment_ended", "launched", "interrupted", "search_cut", "study_ended"),
        "trial_ruled_out",
        *("shortlist_planned", "confirmation_planned", "seeds_added", "study_extended"),
    }
)


class Watched:
    """A study's state, kept up to date from its journal, and the last events that say something.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._begin()

    def _begin(self) -> None:
        self._follower = Follower(self.folder / JOURNAL)
        self.state = StudyState()
        self._events: deque[Event] = deque(maxlen=_SHOWN)

    def read(self) -> list[Event]:
        """Read the new events; returns those that say something.

        Raises:
            JournalError: the journal is damaged, or of a later version.
        """
        if self._follower.is_replaced():  # by another study of this name
            self._begin()
        news = []
        for event in self._follower.read():
            self.state.apply(event)
            if event.kind in _NEWS and decision_text(event, self.state):
                news.append(event)
                self._events.append(event)
        return news

    def moment(self) -> Moment:
        """The study now.

        Raises:
            JournalError: it has not begun.
        """
        if not self.state.created:
            raise JournalError(f"{self.folder}: the study has not begun; its journal is empty")
        activity = activity_of(self.folder, self.state.status)
        return Moment(
            state=self.state, activity=activity, events=tuple(self._events), now=time.time()
        )


def _add(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    parser.add_argument("--once", action="store_true", help="print it once and end")
    add_json(parser)


def _watch(options: argparse.Namespace) -> int:
    watched = Watched(study_of(options))
    watched.read()
    moment = watched.moment()
    if options.json:
        print_json("watch", document(moment))
        return OK
    try:
        if not options.once and moment.activity in ("running", "unknown"):
            if make_console().is_terminal:
                _on_screen(watched)
            else:
                _in_lines(watched)
            moment = watched.moment()
    except KeyboardInterrupt:
        say(["", "the watch has ended; the study goes on"])
        return OK
    say(lines_of(moment))
    say(next_lines(watched.folder, *after("watch", moment.activity)))
    return OK


def _moments(watched: Watched) -> Iterator[tuple[Moment, list[Event]]]:
    """The study again and again, with what is new, until it has ended or nobody can see it."""
    news: list[Event] = []
    while True:
        moment = watched.moment()
        yield moment, news
        if moment.activity not in ("running", "unknown") or lost_output():
            return
        time.sleep(_POLL_S)
        news = watched.read()


def _on_screen(watched: Watched) -> None:
    """Fill the terminal; what was on it before comes back at the end."""
    from rich.live import Live
    from rich.text import Text

    console = make_console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for moment, _ in _moments(watched):
            lines = lines_of(moment, console.height - 2)
            text = Text("\n".join([*lines, "", "Ctrl-C ends the watch, not the study"]))
            text.no_wrap, text.overflow = True, "ellipsis"
            live.update(text, refresh=True)


def _in_lines(watched: Watched) -> None:
    """Print each decision when it is taken, and every ten seconds where the study is."""
    shown = 0.0
    for moment, news in _moments(watched):
        say(decision_text(event, moment.state) for event in news)
        if time.monotonic() - shown >= _LINE_EVERY_S:
            shown = time.monotonic()
            say([short_line(moment)])


WATCH = Command(_add, _watch)

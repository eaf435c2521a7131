"""Every sampler in a study with the fake engine, which is killed and replayed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.planning.replay import replay
from karat.samplers import SAMPLERS
from karat.space.reader import load_space
from tests.conftest import SMALL
from tests.study.test_study import decisions, open_study, run

WriteSpace = Callable[..., Path]
RANGES = SMALL.replace("tuned:", "tuned:\n  training.weight_decay: {low: 0.0, high: 0.1}")


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"grid"}))
def test_a_study_killed_at_any_step_gets_the_same_proposals_from_every_sampler(
    write_space: WriteSpace, tmp_path: Path, name: str
) -> None:
    # All arms have completed trials from which each sampler models, and stopped ones.
    sampler = ("{sampler: tpe, trials: 6}", f"{{sampler: {name}, trials: 36}}")
    space = load_space(write_space(sampler, text=RANGES))
    found = []
    for stops in ((), (31, 60)):
        folder = tmp_path / str(len(stops))
        for steps in (*stops, 10**6):
            study, journal = open_study(space, folder)
            with journal:
                run(study, steps=steps, slots=1)
        events = list(read_events(folder / JOURNAL))
        assert list(replay(space, events)) == []
        found.append(decisions(StudyState.of(events)))
    assert found[0] == found[1]

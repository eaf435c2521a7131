"""Every combination of the tuned values, in every arm."""

from collections.abc import Sequence

import optuna

from karat.errors import SettingError
from karat.parameters import Tuned
from karat.samplers import Sampler, SearchConfig, Turn


class Grid(Sampler):
    """The whole grid, in the order of the file; the tuned parameters must be lists of values."""

    learns = False

    @classmethod
    def check(cls, search: SearchConfig, tuned: Sequence[Tuned]) -> None:
        cls.check_warm_start(search)
        for parameter in tuned:
            if parameter.values is None:
                raise SettingError(parameter.name, "must be a list of values for sampler grid")
        if search.trials is not None:
            raise SettingError(
                "search.trials", "must not be set for sampler grid, which runs the whole grid"
            )
        if search.allocation != "equal":
            raise SettingError("search.allocation", "must be equal for sampler grid")

    @classmethod
    def make(cls, turn: Turn) -> optuna.samplers.BaseSampler:
        raise AssertionError("the plan goes through the grid without an Optuna sampler")

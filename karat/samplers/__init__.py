"""Optuna samplers by name: one file each, found by `SAMPLERS`."""

import abc
from collections.abc import Sequence

import optuna

from karat.catalog import Catalog
from karat.errors import SettingError
from karat.space import SearchConfig, Tuned


class Sampler(abc.ABC):
    """How the next values are proposed.

    A fresh Optuna sampler is made for every proposal, with a seed that follows from the
    proposal's number: so a proposal depends on the trials told so far and on nothing else,
    and a resumed study proposes what an unbroken one would have.
    """

    @classmethod
    def check(cls, search: SearchConfig, tuned: Sequence[Tuned]) -> None:
        """Refuse a search that this sampler cannot do.

        Raises:
            SettingError: which setting, and why.
        """
        if search.trials is None:
            raise SettingError("search.trials", f"is missing; sampler {search.sampler} needs it")

    @classmethod
    @abc.abstractmethod
    def make(cls, seed: int, trials: int) -> optuna.samplers.BaseSampler:
        """The sampler for one proposal.

        Args:
            seed: of this proposal.
            trials: that the study it samples for will have in all.
        """


SAMPLERS = Catalog(Sampler, "search.sampler")  # type: ignore[type-abstract]

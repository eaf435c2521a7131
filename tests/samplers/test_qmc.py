"""The Sobol' sequence."""

import optuna
from optuna.distributions import FloatDistribution

from karat.samplers import Turn
from karat.samplers.qmc import QMC


def test_every_part_of_the_ranges_has_its_share_of_the_points() -> None:
    space = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)}
    study, cells = optuna.create_study(), []
    for index in range(16):
        study.sampler = QMC.make(
            Turn(seed=index, series=7, index=index, trials=16, parameters=space)
        )
        params = study.ask(space).params
        cells.append((int(params["x"] * 4), int(params["y"] * 4)))
    assert len(set(cells)) == 16

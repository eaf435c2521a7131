"""`karat noise`: how much runs of the reference arm differ by chance, and what that asks of a study."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from karat.cli.command import Command, as_typed
from karat.cli.exit_status import OK
from karat.cli.run import add_space, start
from karat.cli.studies.json_output import add_json, print_json
from karat.cli.studies.named import add_storage
from karat.errors import InputError
from karat.space.overrides import read_question
from karat.system.process.signals import Interruption
from karat.terminal import make_console

if TYPE_CHECKING:
    from rich.console import Console

    from karat.forecast.noise import Noise
    from karat.space.space import Space


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_space(
        parser,
        "override a value of the file, or fix a tuned parameter; otherwise those are fixed at the middle "
        "of their range",
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="seeds of each of the two arms (as confirm.seeds)"
    )
    parser.add_argument(
        "--difference",
        type=float,
        metavar="D",
        help="difference to be seen, in points of accuracy, or of the loss (as confirm.smallest_difference)",
    )
    parser.add_argument("--fresh", action="store_true", help="measure again from scratch")
    add_storage(parser)
    add_json(parser)


def _noise(options: argparse.Namespace) -> int:
    from karat.forecast.matching import Estimating
    from karat.forecast.noise import difference_of, fixed_tuning, noise_of, noise_source
    from karat.space.reader import load_space, space_of

    document, overrides = read_question(options.space, options.set, None)
    tuned = document.data.get("tuned") or {}
    given = {key: _number(overrides.pop(key), key) for key in list(overrides) if key in tuned}
    interruption = Interruption()
    interruption.install()
    space = load_space(options.space, overrides, None, document, measuring=Estimating())
    difference = difference_of(options.difference, space)
    seeds = space.confirm.seeds if options.seeds is None else options.seeds
    tuning = fixed_tuning(space, given)
    source = noise_source(space, seeds, tuning)
    own = space_of(source, source["study"], str(options.space))
    console = make_console(stderr=options.json)
    told = ", ".join(f"{key} {value}" for key, value in tuning.items() if key not in given)
    if told:
        console.print(
            f"fixed at the middle of their ranges: {told}; --set gives another value",
            soft_wrap=True,
        )
    status = start(
        own,
        options.storage,
        fresh=options.fresh,
        command=as_typed(sys.argv),
        console=console,
        interruption=interruption,
    )
    if status != OK:
        return status
    from karat.cli.studies.named import state_of
    from karat.report.facts.summary import summarise

    found = noise_of(summarise(state_of(options.storage / own.name)), space, difference)
    if options.json:
        print_json("noise", noise_json(found, space, own.name, tuning))
    else:
        show_noise(found, space, console)
    return OK


def noise_json(
    found: "Noise", space: "Space", study: str, tuning: Mapping[str, Any]
) -> dict[str, Any]:
    """What `--json` prints; values in the metric's unit, accuracies from 0 to 1."""
    from karat.statistics.metric import Metric
    from karat.statistics.power import POWER

    pair, metric = found.compared, Metric(name=space.search.metric, mode=space.search.mode)
    return {
        "study": study,
        "arm": space.reference_arms[0],
        "tuned": dict(tuning),
        "metric": metric.test,
        "runs": found.runs,
        "sd": {"value": found.sd, "low": found.sd_low, "high": found.sd_high},
        "pairs": {"n": pair.n, "sd": pair.spread},
        "aa": {
            "difference": pair.difference,
            "low": pair.low,
            "high": pair.high,
            "p": pair.p,
            "verdict": pair.verdict,
        },
        "needed": {
            "difference": found.difference,
            "power": POWER,
            "alpha": space.confirm.alpha,
            "arms": found.arms,
            "seeds": found.seeds,
            "low": found.seeds_low,
            "high": found.seeds_high,
            "seeds_equivalent": found.seeds_equivalent,
        },
    }


def show_noise(found: "Noise", space: "Space", console: "Console") -> None:
    """Print what was found, in words."""
    console.print()
    for line in noise_lines(found, space):
        console.print(line, soft_wrap=True)


def noise_lines(found: "Noise", space: "Space") -> Sequence[str]:
    """What was found, in words."""
    from karat.report.formatting import Units, percent, raw_p_text
    from karat.statistics.metric import Metric
    from karat.statistics.power import POWER

    units = Units(Metric(name=space.search.metric, mode=space.search.mode))
    pair, share = found.compared, f"{100 * (1 - space.confirm.alpha):g} %"

    def text(value: float | None, sign: str = "") -> str:
        return units.number(value, sign)

    lines = [
        f"noise of {space.reference_arms[0]}, in test {units.metric.noun}{f' ({units.step.strip()})' if units.step else ''}:",
        f"    between seeds     standard deviation {text(found.sd)} ({share} interval {text(found.sd_low)} to "
        f"{text(found.sd_high)}; {found.runs} runs)",
        f"    between pairs     standard deviation {text(pair.spread)} ({pair.n} pairs that share no random numbers)",
    ]
    if pair.low is not None:
        lines.append(
            f"    A/A difference    {text(pair.difference, '+')} ({share} interval {text(pair.low, '+')} to "
            f"{text(pair.high, '+')}), p {raw_p_text(pair.p)}: {_judged(pair.p, space.confirm.alpha)}"
        )
    holm = f", the first of {found.arms} arms in Holm's correction" if found.arms > 1 else ""
    at = f"{text(found.difference)}{units.step}"
    lines += [
        f"    seeds needed      {_seeds(found.seeds)} of each arm to call a true difference of {at} in {percent(POWER)} of "
        f"studies (alpha {space.confirm.alpha:g}{holm}); {_seeds(found.seeds_low)} to {_seeds(found.seeds_high)} over the "
        "interval of the standard deviation",
        f"                      {_seeds(found.seeds_equivalent)} to call equal arms equivalent within {at} as often",
        "These numbers are of pairs without shared random numbers. Arms of a study share their seeds; its report says by "
        "how much that cuts the variance. Other arms may vary more or less than the reference.",
    ]
    return lines


def _judged(p: float | None, alpha: float) -> str:
    if p is not None and p < alpha:
        return f"below {alpha:g}, as in {100 * alpha:g} % of such studies by chance"
    return "as two identical arms should look"


def _seeds(count: int | None) -> str:
    from karat.forecast.noise import MOST_SEEDS

    return f"more than {MOST_SEEDS:,}" if count is None else f"{count:,}"


def _number(text: str, key: str) -> Any:
    """The value of a tuned parameter that `--set` fixes.

    Raises:
        InputError: it is no single value.
    """
    from karat.space.overrides import place_of
    from karat.space.yaml_reader import parse_scalar

    value = parse_scalar(text, place_of(key, text))
    if not isinstance(value, str | int | float | bool):
        raise InputError(f"{place_of(key, text)}: must be one value")
    return value


NOISE = Command(_add_arguments, _noise)

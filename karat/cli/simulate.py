"""`python -m karat simulate`: wall time, utilisation, decisions and driver load, without training."""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from jobs.site import check_site
from karat.cli.command import Command
from karat.cli.exit_status import OK
from karat.cli.studies.named import state_of
from karat.constraints import MEMORY
from karat.errors import InputError
from karat.execution.preload import PRELOAD
from karat.forecast.curves import Curves, ModelledCurves, RecordedCurves
from karat.forecast.matching import Estimating
from karat.forecast.plan import arm_plans
from karat.forecast.simulator import Simulated, not_simulated, simulate
from karat.forecast.speed.times import Times
from karat.journal.state import StudyState
from karat.journal.trial import PHASES
from karat.journal.wording import study_text
from karat.report.formatting import duration
from karat.space.overrides import read_question, space_path
from karat.space.reader import load_space
from karat.space.space import Space

MOST_WORKERS = 10_000


def print_simulation(options: argparse.Namespace, recorded: StudyState | None) -> None:
    """Simulate a study and print the result.

    Args:
        options: parsed flags of the command.
        recorded: finished study whose learning curves are used; None models the curves.

    Raises:
        InputError: a number is out of range, or the search space is wrong.
    """
    for name, low, high in (("workers", 1, MOST_WORKERS), ("epoch_s", 1e-3, 1e9)):
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag} {value:g}: must be from {low:g} to {high:g}")
    if not 0 <= options.driver_ms < 1e9:
        raise InputError(f"--driver-ms {options.driver_ms:g}: must be at least 0")
    document, overrides = read_question(options.space, options.set, None)
    space = load_space(options.space, overrides, None, document, measuring=Estimating())
    check_site(space.cluster)
    curves, assumed = _curves_of(space, options, recorded)
    with tempfile.TemporaryDirectory() as folder:
        found = simulate(
            space, Path(folder) / space.name, options.workers, curves, options.driver_ms / 1e3
        )
    left_out = [str(each) for each in not_simulated(space, curves)]
    left_out += [str(goal) for goal in space.search.goals if goal.metric == MEMORY]
    data = data_of(space, found) | {"assumed": assumed, "not_simulated": left_out}
    data["warm_start_not_simulated"] = space.search.warm_start
    print(json.dumps(data, indent=1) if options.json else text_of(data))


def _curves_of(
    space: Space, options: argparse.Namespace, recorded: StudyState | None
) -> tuple[Curves, str]:
    """The learning curves of the trials, and what is assumed of the seconds of an epoch, in words."""
    if recorded is not None:
        return RecordedCurves(recorded), f"epochs as long as in {options.curves}"
    if options.epoch_s is not None:
        epoch_s = dict.fromkeys(space.arms, options.epoch_s)
        assumed = f"an epoch of {duration(options.epoch_s)} in every arm (--epoch-s)"
        return ModelledCurves(options.seed, epoch_s, space.search.mode), assumed
    times = Times(space.resources, options.storage, PRELOAD)
    plans = arm_plans(space, times)
    epoch_s = {label: plan.epoch_s for label, plan in plans.items()}
    test_s = {label: plan.test_s for label, plan in plans.items()}
    ends = " to ".join(dict.fromkeys(map(duration, (min(epoch_s.values()), max(epoch_s.values())))))
    is_measured = all(plan.is_probed for plan in plans.values())
    source = "measured" if is_measured else "a rough forecast; --epoch-s sets another"
    assumed = f"epochs of {ends} by arm, as `--dry-run` plans them here ({source})"
    curves = ModelledCurves(
        options.seed, epoch_s, space.search.mode, trial_s=times.trial_s, test_s=test_s
    )
    return curves, assumed


def data_of(space: Space, found: Simulated) -> dict[str, Any]:
    """Return what `--json` prints."""
    state = found.state
    spent = state.usage.until()
    return {
        "study": space.name,
        "workers": found.workers,
        "status": state.status,
        "reason": study_text(state),
        "trials": {
            phase: {
                status: sum(trial.status == status for trial in state.of_phase(phase))
                for status in ("completed", "stopped", "waiting")
            }
            for phase in PHASES
            if phase != "shortlist" or state.shortlists.planned
        },
        "epochs": len(found.report_s),
        "wall_hours": spent.wall_hours,
        "gpu_hours": spent.gpu_hours,
        "cpu_hours": spent.cpu_hours,
        "usd": spent.usd,
        "utilisation": found.utilisation,
        "driver": {
            "report_ms": 1e3 * statistics.fmean(found.report_s),
            "p99_report_ms": 1e3 * float(np.quantile(found.report_s, 0.99)),
            "slowest_report_ms": 1e3 * max(found.report_s),
            "ask_ms": 1e3 * statistics.fmean(found.ask_s),
            "slowest_ask_ms": 1e3 * max(found.ask_s),
            "load": found.driver_load,
        },
        "confirmed": [cell["arm"] for cell in (state.confirmation or {}).get("cells", ())],
    }


def text_of(data: dict[str, Any]) -> str:
    """Return what is printed without `--json`."""
    driver = data["driver"]
    trials = (
        f"{phase}: {counts['completed']} completed, {counts['stopped']} stopped"
        for phase, counts in data["trials"].items()
    )
    reason = f" ({data['reason']})" if data["reason"] else ""
    left_out = "; ".join(data.get("not_simulated", ()))
    lacking = [f"not simulated what no curve has: {left_out}"]
    return "\n".join(
        [
            f"{data['study']} on {data['workers']} workers, simulated with {data['assumed']}: "
            f"{data['status']}{reason}",
            f"trials        {'; '.join(trials)}",
            *(lacking if left_out else ()),
            *(
                [f"warm start    not simulated: {older} has real values, and no modelled ones"]
                if (older := data.get("warm_start_not_simulated"))
                else ()
            ),
            f"epochs        {data['epochs']}",
            f"wall time     {data['wall_hours']:.2f} h; workers trained {100 * data['utilisation']:.1f} % of it",
            f"resources     {data['gpu_hours']:.2f} GPU-hours, {data['cpu_hours']:.2f} CPU-hours",
            f"confirmed     {', '.join(data['confirmed']) or 'nothing'}",
            f"driver        {driver['report_ms']:.2f} ms a report (p99 {driver['p99_report_ms']:.1f}, "
            f"slowest {driver['slowest_report_ms']:.0f}), {driver['ask_ms']:.1f} ms for a new segment "
            f"(slowest {driver['slowest_ask_ms']:.0f}): busy {100 * driver['load']:.2f} % of the time",
        ]
    )


def _add_simulation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--space", type=space_path, required=True, help="search space, a YAML file")
    parser.add_argument("--workers", type=int, default=2, help="trials at a time (2), to 10,000")
    parser.add_argument(
        "--curves", type=Path, help="use the learning curves of this finished study (studies/NAME)"
    )
    parser.add_argument(
        "--epoch-s",
        type=float,
        help="seconds of an epoch of modelled curves (those that --dry-run plans for each arm)",
    )
    parser.add_argument(
        "--storage",
        type=Path,
        default=Path("studies"),
        help="folder of all studies, with what `launch --dry-run --measure` has measured (studies/)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of modelled curves (0)")
    parser.add_argument(
        "--driver-ms",
        type=float,
        default=0,
        help="milliseconds that the driver needs for a report (0)",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a value of the file; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _simulate(options: argparse.Namespace) -> int:
    print_simulation(options, state_of(options.curves) if options.curves else None)
    return OK


SIMULATE = Command(_add_simulation, _simulate)

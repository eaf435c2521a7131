"""`--dry-run`: the plan of a study and what it will cost, without Ray and without training."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from karat.cli.text.contents import contents_lines
from karat.cli.text.design import design_lines
from karat.cli.text.matching import match_lines
from karat.cli.text.stopping import stopping_notes
from karat.cli.text.training import training_notes
from karat.errors import JournalError
from karat.execution.preload import PRELOAD
from karat.forecast.plan import (
    ArmPlan,
    arm_plans,
    disk_bytes,
    forecast,
    slots_by_place,
    snapshot_bytes,
)
from karat.forecast.schedule import arms_in_order
from karat.forecast.sight import rule_text, sight_lines
from karat.forecast.speed import decoding
from karat.forecast.speed.times import EFFICIENCY, GPU_MULTIPLY_ADDS_PER_S, MEASURED, Times
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.journal.wording import warm_start_text
from karat.parameters import label_of
from karat.planning.plans.confirmation import levels_of
from karat.report.formatting import duration, percent
from karat.schedulers import NONE, make_scheduler
from karat.space.arms import trial_config
from karat.space.published import about_no_arm, published_in
from karat.space.site import Machines
from karat.space.space import Space
from karat.space.stopping import why_chosen
from karat.study.initial.same_arm import AwaitedStudyError
from karat.study.initial.weights import starts_of
from karat.study.limits import limit_lines, never_trained
from karat.study.warm_start import warm_start_of

_SHOWN_ARMS, _SHOWN_CELLS = 60, 20


def print_plan(
    space: Space, console: Console, storage: Path, machines: Mapping[str, Machines]
) -> None:
    """Print arms, trials, parameters of each arm, excluded arms with the reason, and the costs.

    Args:
        space: the validated search space.
        console: the terminal.
        storage: folder of all studies and of the file of probes.
        machines: cluster name to the machines that the study would get there.

    Raises:
        DataError: the data set cannot be used.
        InputError: a trial fits neither on this machine nor on those of any cluster, or the weights that it starts
            from are missing or do not fit.
    """
    slots = slots_by_place(space.resources, machines)
    times = Times(space.resources, storage, PRELOAD)
    plans = arm_plans(space, times)
    untrained = never_trained(space)
    schedule = [arm for arm in arms_in_order(space, space.seed) if arm not in untrained]
    counts = Counter(schedule)
    is_drawn = space.search.allocation == "free"
    console.print(Text.assemble((space.name, "bold"), f": {space.question}\n"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", no_wrap=True)
    for name in ("parameters", "search trials", "s per epoch", "memory"):
        table.add_column(name, justify="right", min_width=max(map(len, name.split())))
    for label in list(space.arms)[:_SHOWN_ARMS]:
        table.add_row(
            f"{label} (reference)" if label in space.reference_arms else label,
            f"{plans[label].parameters:,}",
            f"{'about ' if is_drawn else ''}{counts[label]}",
            f"{_seconds(plans[label].epoch_s)}{'*' * plans[label].is_probed}",
            plans[label].memory,
        )
    console.print(table)
    console.print(_measured_text(plans))
    if len(plans) > _SHOWN_ARMS:
        console.print(f"... and {len(plans) - _SHOWN_ARMS} more arms\n")
    for line in (
        *_data(space),
        *_facts(space, counts),
        *(f"not trained   {line}" for line in limit_lines(untrained)),
        *_weights(space, storage),
        *_warm_start(space, storage),
        *_power(space, storage),
        *_price(space, plans, schedule, slots, times),
    ):
        console.print(line)


def _data(space: Space) -> Iterator[str]:
    """What the data set holds; nothing is downloaded for a plan."""
    data = trial_config(space, next(iter(space.arms.values()))).data
    if data.awaits_download():
        yield "data          not here yet: the launch downloads it (data.download)"
    else:
        yield from contents_lines(data.contents())


def _facts(space: Space, counts: Counter[str]) -> Iterator[str]:
    yield from design_lines(space)
    for each in space.tuned.values():
        scale = ", logarithmic" if each.log else ""
        if each.values is not None:
            span = ", ".join(map(str, each.values))
        else:
            span = f"{each.low:g} to {each.high:g}{scale}"
        yield f"tuned         {each.name}: {span}"
    yield (
        f"search        {counts.total()} trials ({space.search.sampler}) for "
        f"{space.search.metric}; early stopping: {why_chosen(space)}"
    )
    rule = make_scheduler(space.early_stopping, space.search.mode, space.sizes)
    words = () if space.early_stopping["scheduler"] == NONE else (rule.in_words(),)
    for place, line in enumerate((*words, *stopping_notes(space))):
        yield f"{'' if place else 'stopping':14}{line}"
    if space.search.goals:
        yield f"goals         {' and '.join(map(str, space.search.goals))}; verdicts and winners are about {space.search.metric}"
    yield from _constraints(space)
    cells, confirm = levels_of(space), space.confirm
    labels = [f"{'the best of ' if len(cell.arms) > 1 else ''}{cell.label}" for cell in cells]
    lengths = ""
    if len(confirm.budgets) > 1:
        lengths = f" x {_joined(confirm.budgets)} times the epochs"
        if len(epochs := {size.epochs for size in space.sizes.values()}) == 1:
            lengths += f" ({_joined(budget * min(epochs) for budget in confirm.budgets)})"
    tunings = f" x {confirm.tunings} tunings" if confirm.tunings > 1 else ""
    if confirm.shortlist > 1:
        contests = len(cells) * confirm.tunings
        yield (
            f"shortlist     {contests * confirm.shortlist_runs} trials: the best {confirm.shortlist} cells of each "
            f"of {contests} searches x {confirm.fresh_seeds} fresh seeds; the best mean is confirmed"
        )
    most = len(cells) * confirm.tunings * confirm.most_each * len(confirm.budgets)
    seeds, at_most = f"{confirm.seeds_each} fresh seeds", ""
    if confirm.top_up is not None:
        at_most = "at most "
        seeds = f"{confirm.seeds} to {confirm.most_each} fresh seeds (more only for arms without a verdict)"
    yield (
        f"confirmation  {at_most}{most} trials: {len(cells)} cells "
        f"({_first_of(labels)}){tunings} x {seeds}{lengths}; the weights of the "
        f"{confirm.weights} epoch are tested"
    )
    if names := space.data.get("corruptions"):
        yield (
            f"shifted       each of these is tested on {5 * len(names)} corrupted copies of the test images too: "
            f"{', '.join(names)}, in five strengths"
        )
    if confirm.top_up is not None:
        yield "              what it takes, below, is with all seeds that there may be"
    yield f"rule          {rule_text(space)}"
    for place, line in enumerate(match_lines(space)):
        yield f"{'' if place else 'match':14}{line}"
    yield from _published(space)
    for place, note in enumerate(training_notes(space)):
        yield f"{'' if place else 'training':14}{note}"
    for excluded in space.excluded[:_SHOWN_ARMS]:
        yield f"excluded      {excluded.label}: {excluded.rule}"
    if (more := len(space.excluded) - _SHOWN_ARMS) > 0:
        yield f"              and {more:,} more"
    if not space.excluded:
        yield "excluded      nothing"


def _constraints(space: Space) -> Iterator[str]:
    """What a trial of the search must meet."""
    limits = space.search.limits
    if seen := [str(each) for each in space.search.conditions if each not in limits]:
        yield (
            f"constraints   {' and '.join(seen)}: a trial of the search that breaks one is stopped, and not confirmed; "
            "not counted in the forecast"
        )
    if limits:
        yield (
            f"constraints   {' and '.join(map(str, limits))}: known before training; what breaks one is not trained, and the "
            "sampler proposes something else"
        )


def _first_of(labels: Sequence[str]) -> str:
    """As many as are worth reading."""
    more = len(labels) - _SHOWN_CELLS
    return ", ".join(labels[:_SHOWN_CELLS]) + (f", and {more:,} more" if more > 0 else "")


def _joined(numbers: Iterable[int]) -> str:
    return " and ".join(map(str, numbers))


def _published(space: Space) -> Iterator[str]:
    """How many published results the report will show, and which are about no arm."""
    published = published_in(space.source)
    if published is None:
        return
    missing = about_no_arm(published, (arm.factors for arm in space.arms.values()))
    known = len(published.results) - len(missing)
    yield f"paper         {known} of {len(published.results)} published results are about arms of this space: {published.source}"
    if missing:
        names = "; ".join(label_of(each.levels) for each in missing[:_SHOWN_ARMS])
        yield f"              about no arm: {names}{'; ...' * (len(missing) > _SHOWN_ARMS)}"


def _weights(space: Space, storage: Path) -> Iterator[str]:
    """What arms start from, where it is not drawn."""
    try:
        for line in starts_of(space, storage / space.name, storage).lines():
            yield f"weights       {line}"
    except AwaitedStudyError as error:
        yield f"weights       not here yet, and a launch needs them: {error}"


def _warm_start(space: Space, storage: Path) -> Iterator[str]:
    """What the search begins with; whether the data is the same is seen by the launch."""
    found = warm_start_of(space, storage / space.name, storage)
    if found is not None:
        yield f"warm start    {warm_start_text(found, list(space.arms))}"


def _power(space: Space, storage: Path) -> Iterator[str]:
    """What the confirmation can see; of a study that has begun, by its own runs."""
    state, journal = None, storage / space.name / JOURNAL
    if journal.is_file():
        try:
            state = StudyState.of(read_events(journal))
        except JournalError as error:
            yield f"power         the study's own runs are left out: {error}"
    for place, line in enumerate(sight_lines(space, state)):
        yield f"{'' if place else 'power':14}{line}"


def _price(
    space: Space,
    plans: Mapping[str, ArmPlan],
    schedule: list[str],
    places: Mapping[str, int],
    times: Times,
) -> Iterator[str]:
    by_place = {
        place: forecast(space, plans, schedule, n, times) for place, n in places.items() if n
    }
    (_, slots), runs = next(iter(places.items())), next(iter(by_place.values()))
    full = sum(plans[arm].epochs for arm in schedule)
    share = np.median([run.search_epochs for run in runs]) / full
    stopping = (
        f"; early stopping leaves about {percent(share)} of the search's" if share < 1 else ""
    )
    low, middle, high = quantiles([run.epochs for run in runs])
    if low == high:
        yield f"epochs        {middle:.0f}{stopping}"
    else:
        yield (
            f"epochs        {middle:.0f} (p10 {low:.0f}, p90 {high:.0f}), in runs of the plan over "
            f"modelled curves{stopping}"
        )
    spent = [space.terms.price(run.slot_s, run.wall_s) for run in runs]
    for place, each in by_place.items():
        shown = _spread([run.wall_s for run in each], duration)
        yield f"time          {shown} {place}, {places[place]} trials at a time"
    for place in places.keys() - by_place.keys():
        yield f"time          none {place}: no machine there holds a trial"
    beside = f"{duration(times.start_s)} to start and {duration(times.end_s)} for the report"
    yield f"              with about {beside} and MLflow"
    yield from _decoding(space, times)
    if space.data.get("corruptions"):
        tests = [plan.test_s for plan in plans.values()]
        ends = " to ".join(dict.fromkeys(map(duration, (min(tests), max(tests)))))
        yield f"              and {ends} for the tests of a confirmed trial, on corrupted copies too"
    yield f"              {_source_text(plans, times)}"
    if space.resources.gpus:
        yield f"GPU-hours     {_spread([each.gpu_hours for each in spent], '{:.3g}'.format)}"
    if space.resources.gpus == "auto":
        yield "              at most: with a whole GPU for each trial; a launch may put several on one"
    yield f"CPU-hours     {_spread([each.cpu_hours for each in spent], '{:.3g}'.format)}"
    size = disk_bytes(plans, runs, slots, space.confirm.weights)
    yield f"disk          about {size / 1e6:,.0f} MB of checkpoints"
    if kept := snapshot_bytes(space, plans, runs):
        yield (
            f"              and {kept / 1e6:,.0f} MB of weights that confirmation runs keep of epochs "
            "(training.keep_checkpoints)"
        )
    key = "usd_per_gpu_hour" if space.resources.gpus else "usd_per_cpu_hour"
    price = getattr(space.cluster, key)
    if price is None:
        yield f"money         no price (cluster.{key})"
    else:
        dollars = _spread([each.usd for each in spent], "{:.2f}".format)
        yield f"money         US dollars {dollars} at {price:g} an hour ({key})"
    for limit, value in space.budget.limits.items():
        need = quantiles([getattr(each, limit) for each in spent])[2]
        verdict = (
            "enough" if need <= value else "not enough: the study will stop when it is used up"
        )
        yield f"budget        {limit} {value:g}: {verdict} (p90 {need:.3g})"


def _decoding(space: Space, times: Times) -> Iterator[str]:
    """What decoding image files takes, where that is worth a line."""
    config = trial_config(space, next(iter(space.arms.values())))
    image = f"{1e3 * decoding.image_s(config.data):.2g} ms an image"
    if (once_s := times.decoded_once_s(config)) >= 1:
        yield (
            f"              and {duration(once_s)} to decode all images once per node ({image}), unless that "
            "was done before"
        )
    if decoding.decodes_each_epoch(config.data):
        yield f"              images are decoded in every epoch ({image}, measured on a few)"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2f}"


def _measured_text(plans: Mapping[str, ArmPlan]) -> str:
    """What the columns of time and memory hold."""
    probed = sum(plan.is_probed for plan in plans.values())
    if probed == len(plans):
        return "* measured    by short probes on this machine; memory is the peak of one process"
    if probed:
        return "* measured    by short probes on this machine; memory is the peak of one process, and - not known"
    return "memory        not known: --measure measures it, the peak of one process, and the time"


def _source_text(plans: Mapping[str, ArmPlan], times: Times) -> str:
    """Where the seconds of an epoch are from, and how good they are."""
    unknown = sum(not plan.is_probed for plan in plans.values())
    if not unknown:
        return f"from steps measured on this machine: good to about {percent(MEASURED.factor - 1)}"
    which = "" if unknown == len(plans) else f" for {unknown} of {len(plans)} arms"
    if times.is_guessed:
        source = f"{EFFICIENCY * GPU_MULTIPLY_ADDS_PER_S:.2g} multiply-adds a second of a GPU"
    else:
        source = "a table of what steps took on another machine, scaled by the speed of this one"
    factor = f"a factor of {times.spread.factor:.2g} either way"
    return f"rough, {factor}: from {source}{which}; --measure times steps here"


def quantiles(values: list[float] | list[int]) -> tuple[float, float, float]:
    """Return the 10 % quantile, the median and the 90 % quantile."""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return float(low), float(middle), float(high)


def _spread(values: list[float], shown: Callable[[float], str]) -> str:
    low, middle, high = map(shown, quantiles(values))
    return f"{middle} (p10 {low}, p90 {high})"

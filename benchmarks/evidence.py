"""Whether karat's verdicts keep what they promise: whole studies, simulated with a known truth.

    python -m benchmarks.evidence                           # all tables
    python -m benchmarks.evidence --out docs/evidence.md    # and writes them into the page
    python -m benchmarks.evidence --table different --landscape crossing --arms 2 --studies 3000

Each study goes through the real plan, search, early stopping, choice of cells, confirmation and verdicts
(`karat.forecast.simulator`, `karat.report`); only training is replaced by curves whose truth is known
(`benchmarks.evidence_curves`). The table `top_up` has no search (`benchmarks.evidence_top_up`) and takes seconds,
also with thousands of studies. docs/evidence.md says what each figure means. The figures depend on `--studies`
and `--seed` alone, not on the machine or the number of processes.
"""

import argparse
import multiprocessing
import os
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.evidence_curves import FLAT, LANDSCAPES, STEEP
from benchmarks.evidence_studies import TUNINGS, Question, run
from benchmarks.evidence_table import TABLES, Row, line, table, table_of
from benchmarks.evidence_top_up import TITLE
from benchmarks.evidence_top_up import table as top_up_table
from benchmarks.measuring import machine

STUDIES = 200
TITLES = {**TABLES, "top_up": TITLE}
FEW_TRIALS = 6  # for each arm, in the table of shortlists


def questions(tables: Sequence[str]) -> list[Question]:
    """The rows of these tables, those of one table after each other."""
    equal = [
        Question(landscape=land, others=others, tunings=tunings)
        for land in LANDSCAPES
        for others in (1, 8)
        for tunings in (1, TUNINGS)
    ]
    better = [replace(each, difference=1.0) for each in equal if each.tunings > 1]
    failing = [
        replace(each, failing=0.2)
        for each in equal
        if each.others == 1 and (each.tunings > 1 or each.landscape is FLAT)
    ]
    listed = [
        Question(landscape=land, others=1, tunings=1, trials=trials, shortlist=shortlist)
        for land in (FLAT, STEEP)
        # The last one costs as much as the second.
        for trials, shortlist in ((FEW_TRIALS, 1), (FEW_TRIALS, 3), (2 * FEW_TRIALS, 1))
    ]
    return [each for each in (*equal, *better, *failing, *listed) if table_of(each) in tables]


def simulated(rows: Iterable[Question], studies: int, seed: int, processes: int) -> Iterator[Row]:
    """The rows with their outcomes; the same for any number of processes."""
    if processes == 1:
        for question in rows:
            yield Row(question, [run(question, number, seed) for number in range(studies)])
        return
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(processes, context) as pool:
        for question in rows:
            one = partial(run, question, seed=seed)
            yield Row(question, list(pool.map(one, range(studies), chunksize=5)))


def markers(name: str) -> tuple[str, str]:
    """The lines of a page between which a table stands."""
    return f"<!-- evidence, {name}: begin -->", f"<!-- evidence, {name}: end -->"


def written(content: str, name: str, text: str | None = None) -> str:
    """The content of a page with this text between the markers of a table; None leaves it as it is.

    Raises:
        ValueError: the page does not have both markers, once each and in this order.
    """
    first, last = markers(name)
    before, begin, rest = content.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end or first in rest or last in before + after:
        raise ValueError(f"must have a line {first} and below it a line {last}, once each")
    return content if text is None else f"{before}{first}\n{text}\n{last}{after}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=STUDIES, help=f"of each row ({STUDIES})")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (0)")
    parser.add_argument(
        "--processes", type=int, default=len(os.sched_getaffinity(0)), help="(one for each core)"
    )
    parser.add_argument("--table", nargs="+", choices=TITLES, default=list(TITLES), help="(all)")
    names = [each.name for each in LANDSCAPES]
    parser.add_argument("--landscape", choices=names, help="only rows of this landscape")
    parser.add_argument("--arms", type=int, choices=(2, 9), help="only rows with so many arms")
    parser.add_argument("--out", type=Path, help="page in which these tables are replaced")
    options = parser.parse_args()
    if options.out is not None and (options.landscape or options.arms):
        parser.error("--out: takes whole tables; does not go with --landscape or --arms")
    for name in ("studies", "processes"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(options, name)}")
    if options.out is not None:
        try:  # before many minutes of work
            for name in options.table:
                written(options.out.read_text(), name)
        except (OSError, ValueError) as error:
            parser.error(f"--out {options.out}: {error}")
    return options


def _computed(name: str, options: argparse.Namespace, started: float) -> str:
    """A table in Markdown; each row is printed as soon as it is there."""
    if name == "top_up":  # in this process, whatever their number
        return top_up_table(options.studies, options.seed)
    asked = [
        each
        for each in questions([name])
        if options.landscape in (None, each.landscape.name)
        and options.arms in (None, 1 + each.others)
    ]
    rows = []
    for each in simulated(asked, options.studies, options.seed, options.processes):
        rows.append(each)
        print(f"{time.perf_counter() - started:.0f} s: {line(each)}", file=sys.stderr, flush=True)
    return table(rows)


def _chosen(options: argparse.Namespace) -> str:
    """The flags that choose rows, as they were typed."""
    landscape = f" --landscape {shlex.quote(options.landscape)}" if options.landscape else ""
    return f"{landscape} --arms {options.arms}" if options.arms else landscape


def main() -> None:
    options = _options()
    for name in options.table:
        started = time.perf_counter()
        found = _computed(name, options, started)
        minutes = (time.perf_counter() - started) / 60
        text = (
            f"{found}\n\n`python -m benchmarks.evidence --table {name}{_chosen(options)} "
            f"--studies {options.studies} --seed {options.seed}` on {machine()}; "
            f"processes: {options.processes}, minutes: {minutes:.0f}."
        )
        print(f"\n{TITLES[name]}\n\n{text}")
        if options.out is not None:
            options.out.write_text(written(options.out.read_text(), name, text))


if __name__ == "__main__":
    main()

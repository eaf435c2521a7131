"""Whether karat's verdicts keep what they promise: whole studies, simulated with a known truth.

    python -m benchmarks.evidence                           # 13 minutes on 2 cores
    python -m benchmarks.evidence --out docs/evidence.md    # and writes the table into the page

Each study goes through the real plan, search, early stopping, choice of cells, confirmation and verdicts
(`karat.forecast.simulator`, `karat.report`); only training is replaced by curves whose truth is known
(`benchmarks.evidence_curves`). docs/evidence.md says what each figure means. The figures depend on `--studies`
and `--seed` alone, not on the machine or the number of processes.
"""

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.evidence_curves import FLAT, LANDSCAPES
from benchmarks.evidence_studies import TUNINGS, Outcome, Question, run
from benchmarks.evidence_table import Row, line, tables
from benchmarks.measuring import machine

BEGIN, END = "<!-- evidence: begin -->", "<!-- evidence: end -->"


def questions() -> list[tuple[Question, int]]:
    """The rows, each with what its number of studies is multiplied by.

    Coverage is twice as many: its range is narrower than that of false calls, and the arm of the answer has one
    interval in each study.
    """
    equal = [
        Question(landscape=land, others=others, tunings=tunings)
        for land in LANDSCAPES
        for others in (1, 8)
        for tunings in (1, TUNINGS)
    ]
    better = [
        Question(landscape=land, others=others, tunings=TUNINGS, difference=1.0)
        for land in LANDSCAPES
        for others in (1, 8)
    ]
    failing = [Question(landscape=FLAT, others=1, tunings=1, failing=0.2)]
    failing += [
        Question(landscape=land, others=1, tunings=TUNINGS, failing=0.2) for land in LANDSCAPES
    ]
    return [*((each, 1) for each in equal), *((each, 2) for each in better)] + [
        (each, 1) for each in failing
    ]


def simulated(
    rows: Sequence[tuple[Question, int]], studies: int, seed: int, processes: int
) -> Iterator[tuple[Question, list[Outcome]]]:
    """The outcomes of each question; the same for any number of processes."""
    if processes == 1:
        yield from _in_turn(rows, studies, lambda question: partial(run, question, seed=seed), map)
        return
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(processes, context, _prepare) as pool:
        mapped = partial(pool.map, chunksize=5)
        yield from _in_turn(rows, studies, lambda question: partial(run, question, seed=seed), mapped)  # fmt: skip


def _in_turn(
    rows: Sequence[tuple[Question, int]],
    studies: int,
    runner: Callable[[Question], Callable[[int], Outcome]],
    mapped: Callable[..., Iterator[Outcome]],
) -> Iterator[tuple[Question, list[Outcome]]]:
    for question, times in rows:
        yield question, list(mapped(runner(question), range(times * studies)))


def _prepare() -> None:
    """Take what is loaded out of garbage collection: statsmodels collects at every correction."""
    gc.collect()
    gc.freeze()


def write(page: Path, text: str) -> None:
    """Put text between the markers of a page.

    Raises:
        SystemExit: the page does not have both markers, once each and in this order.
    """
    content = page.read_text()
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        sys.exit(f"{page}: must have a line {BEGIN} and below it a line {END}, once each")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--studies",
        type=int,
        default=200,
        help="of each row; of those on coverage twice as many (200)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (0)")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, help="page whose table is replaced")
    options = parser.parse_args()
    for name in ("studies", "processes"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(options, name)}")
    if options.out is not None:
        write(options.out, options.out.read_text().partition(BEGIN)[2].partition(END)[0].strip())
    started = time.perf_counter()
    _prepare()
    rows = []
    for question, outcomes in simulated(
        questions(), options.studies, options.seed, options.processes
    ):
        rows.append(Row(question, outcomes))
        print(
            f"{time.perf_counter() - started:.0f} s: {line(rows[-1])}", file=sys.stderr, flush=True
        )
    minutes = (time.perf_counter() - started) / 60
    many = "es" * (options.processes > 1)
    text = (
        f"{tables(rows)}\n\n"
        f"`python -m benchmarks.evidence --studies {options.studies} --seed {options.seed}` on "
        f"{machine()}; {options.processes} process{many}, {minutes:.0f} minutes."
    )
    print(text)
    if options.out is not None:
        write(options.out, text)


if __name__ == "__main__":
    main()

"""What the commands cost that train nothing: refusals, and the plan of a thousand arms.

    python -m benchmarks.commands

Processor time of whole processes, the best of a few, beside the bound that each is held to; and
what one report costs the driver of a simulated study with 64 trials at once. That nothing heavy is
loaded, and no more functions are called, is held by the tests on every machine.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import machine
from karat.forecast.curves import ModelledCurves
from karat.forecast.simulator import simulate
from karat.space.reader import load_space

ROOT = Path(__file__).parent.parent
SPACE = ROOT / "search_spaces" / "fourier_grid.yaml"
MANY_ARMS = """\
study: many
question: Which of a thousand?
data: {name: digits}
model: {name: vit_micro, patch_size: 4, depth: 1, num_heads: 2}
attention: {rank: 4}
training: {recipe: quick, epochs: 4, batch_size: 128}
reference: {training.weight_decay: 0.01, model.embed_dim: 12, attention.basis: softmax}
factors:
  attention.basis: [softmax, fourier]
  training.weight_decay: {values: [0.01, 0.02, 0.03, 0.04, 0.05]}
  model.embed_dim: [12, 24, 36, 48]
  attention.grid_size: {values: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], when: {attention.basis: fourier}}
  attention.block_sharing: {values: [blockwise, universal], when: {attention.basis: fourier}}
  attention.init: {values: [fan_in, paper], when: {attention.basis: fourier}}
tuned:
  training.learning_rate: {low: 1e-3, high: 1e-2, log: true}
search: {sampler: tpe, trials: 1000}
early_stopping: {scheduler: asha, grace_epochs: 1, reduction_factor: 3}
confirm: {by: attention.grid_size, seeds: 2}
"""
BOMB = "a0: &a0 [x, x]\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 30))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one command: seconds of the processor, and those that it may take."""

    name: str
    seconds: float
    most_s: float

    @property
    def row(self) -> str:
        """Of the table."""
        kept = "kept" if self.seconds < self.most_s else "BROKEN"
        return f"| {self.name} | {self.seconds:.3f} | {self.most_s:g}: {kept} |"


def cost_of(name: str, words: Sequence[str], status: int, most_s: float, rounds: int) -> Cost:
    """Run a command a few times; the best counts, since the machine may do other things too."""
    command = [sys.executable, str(ROOT / "launch.py"), *words]
    best_s = float("inf")
    for _ in range(rounds):
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, ended, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(ended)
        assert process.returncode == status, f"{command} ended with {process.returncode}"
        best_s = min(best_s, used.ru_utime + used.ru_stime)
    return Cost(name=name, seconds=best_s, most_s=most_s)


def costs(folder: Path, rounds: int) -> Iterator[Cost]:
    """Of every command."""
    bomb, many = folder / "bomb.yaml", folder / "many.yaml"
    bomb.write_text(BOMB)
    many.write_text(MANY_ARMS)
    yield cost_of("a hostile file is refused", ["--space", str(bomb)], 2, 0.2, rounds)
    absent = ["--space", str(SPACE), "--storage", str(folder / "s"), "--set", "resources.cpus=9999"]
    yield cost_of("cores that are not there are refused", absent, 2, 10.0, rounds)
    plan = ["--space", str(many), "--dry-run"]
    yield cost_of("a plan of 980 arms", plan, 0, 2.0, rounds)


def report_ms(folder: Path, workers: int = 64) -> float:
    """What a report costs the driver of a simulated study, in the median."""
    space = load_space(SPACE, {"search.trials": "180"})
    curves = ModelledCurves(0, dict.fromkeys(space.arms, 60.0), space.search.mode)
    return 1e3 * statistics.median(simulate(space, folder, workers, curves).report_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.commands",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each command (5)")
    options = parser.parse_args(arguments)
    print(machine())
    print("\n| command | CPU s | bound |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        for cost in costs(Path(place), options.rounds):
            print(cost.row)
        print(
            f"\na report with 64 trials at once: {report_ms(Path(place) / 'study'):.2f} ms (median; "
            "bound 50 ms)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

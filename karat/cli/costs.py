"""`python -m karat costs MODEL --basis fourier --grid-size 3`: a model's costs, without training."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from karat.attention.config import AttentionConfig
from karat.attention.names import SOFTMAX, settings_of_all
from karat.cli.command import Command
from karat.cli.exit_status import OK
from karat.cli.studies.json_output import add_json, print_json
from karat.forecast.speed.step_costs import StepCosts, Subject, forms_weights
from karat.forecast.speed.yardsticks import Speed, measured_speed
from karat.models.config import ModelConfig
from karat.models.costs import Costs, costs_of
from karat.models.executed.operations import StepOperations, step_operations
from karat.settings import at_least
from karat.space.yaml_reader import parse_scalar
from karat.terminal import make_console

_NOTE = (
    "GFLOPs of the forward pass of one image, learned functions counted as arXiv 2503.10632 does; one "
    "multiply-add is one operation. All: with the products that karat computes. Paper: with A V and "
    "without the product with W."
)
_STEP_NOTE = (
    "Forward and backward pass of one image. Operations: 10^9 multiply-adds that are executed, those of "
    "learned functions counted from their formulas; an exponential counts 15, a sine 12. Moved: MB that "
    "operations read and write, kept: MB of activations for the backward pass; of the operations that "
    "torch runs in float32. ms: on one core of this machine, predicted from times of small models "
    "(karat/forecast/speed/step_costs.json) and the speed of this core now; the ratio to softmax is "
    "within about a quarter of what benchmarks.attention measures."
)
_UNKNOWN = (
    "(ms of {}: not in the table of times. A mechanism or basis that it lacks counts as one in its middle; "
    "where the host masks or adds to scores, weights are formed, and attention takes several times as long)"
)
_SIZE_IN_NAME = re.compile(r"_(\d{2,4})$")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the shape of the data and one flag for each attention setting."""
    parser.add_argument("model", help="a size (vit_tiny) or timm's name (vit_tiny_patch16_224)")
    parser.add_argument("--image-size", type=int, help="pixels; default: from the name, else 224")
    parser.add_argument("--channels", type=int, default=3, help="of an image (3)")
    parser.add_argument("--classes", type=int, default=10, help="outputs of the head (10)")
    parser.add_argument("--batch-size", type=int, default=32, help="images of a training step (32)")
    for key in sorted(settings_of_all()):
        flag = f"--{key.replace('_', '-')}"
        is_per_layer = key.endswith(("_per_block", "_per_head"))
        hint = argparse.SUPPRESS if is_per_layer else f"attention.{key}, as in a search space"
        parser.add_argument(flag, dest=f"attention.{key}", metavar="VALUE", help=hint)
    add_json(parser)


def print_costs(options: argparse.Namespace, console: Console) -> None:
    """Print the costs of the model that the options name, beside softmax attention.

    Args:
        options: parsed flags of `add_arguments`.
        console: the terminal.

    Raises:
        InputError: a setting is wrong, or settings contradict each other.
    """
    at_least("--batch-size", options.batch_size, 1)
    shape, columns = _shape(options), _costs(options)
    if options.json:
        print_json("costs", _document(options, shape, columns))
        return
    size = shape["image_size"]
    console.print(
        f"{options.model}, images of {size} x {size} x {options.channels}, "
        f"{options.classes} classes",
    )
    console.print(_table(columns))
    console.print(_NOTE, style="dim")
    console.print(f"\nTraining in steps of {options.batch_size} images")
    console.print(_step_table(columns))
    console.print(_STEP_NOTE, style="dim")
    for name, each in columns.items():
        if not each.is_measured:
            console.print(_UNKNOWN.format(name), style="yellow")


@dataclass(frozen=True, kw_only=True)
class _Priced:
    """One attention: counted, and predicted on this machine.

    Args:
        costs: of the forward pass, and parameters.
        operations: of the forward and backward pass of one image.
        moved, kept: bytes of the same.
        image_s: seconds of the same.
        is_measured: whether the table of times has this attention, in a host that lets it use its kernels.
    """

    costs: Costs
    operations: StepOperations
    moved: float
    kept: float
    image_s: float
    is_measured: bool


def _shape(options: argparse.Namespace) -> dict[str, int]:
    """Images and classes of the data."""
    size = options.image_size
    if size is None:
        found = _SIZE_IN_NAME.search(options.model)
        size = int(found.group(1)) if found else 224
    return {"image_size": size, "channels": options.channels, "classes": options.classes}


def _costs(options: argparse.Namespace) -> dict[str, _Priced]:
    """Softmax attention, and the attention that is asked for, to their costs."""
    settings = {
        name.removeprefix("attention."): parse_scalar(text, f"--{name.rpartition('.')[2]} {text}")
        for name, text in vars(options).items()
        if name.startswith("attention.") and text is not None
    }
    attention, shape = AttentionConfig.from_settings(settings), _shape(options)
    subjects = {SOFTMAX: AttentionConfig()}
    if not attention.is_softmax:
        subjects[_title(settings)] = attention
    model, speed = ModelConfig(name=options.model), measured_speed()
    return {
        name: _priced(Subject(model=model, attention=each, shape=shape), options.batch_size, speed)
        for name, each in subjects.items()
    }


def _priced(subject: Subject, batch: int, speed: Speed) -> _Priced:
    model, attention, shape = subject.model, subject.attention, dict(subject.shape)
    costs = costs_of(model, attention, **shape)  # refuses before torch is loaded
    operations = step_operations(model, attention, **shape)
    from karat.models.executed.bytes import step_bytes

    passes, table = step_bytes(model, attention, **shape), StepCosts.read()
    return _Priced(
        costs=costs,
        operations=operations,
        moved=passes.moved,
        kept=passes.kept,
        image_s=table.step_s(subject, batch, speed) / batch,
        is_measured=not (table.lacks(attention) or forms_weights(subject)),
    )


def _document(
    options: argparse.Namespace, shape: Mapping[str, int], columns: Mapping[str, _Priced]
) -> dict[str, object]:
    softmax_s = columns[SOFTMAX].image_s
    attentions = [
        {
            "attention": name,
            "parameters": each.costs.parameters,
            "added_parameters": each.costs.attention_parameters,
            "multiply_adds": each.costs.forward_flops,
            "activation_multiply_adds": each.costs.activation_flops,
            "paper_multiply_adds": each.costs.paper_flops,
            "step_multiply_adds": round(each.operations.total),
            "step_learned_multiply_adds": round(each.operations.learned),
            "step_moved_bytes": round(each.moved),
            "step_kept_bytes": round(each.kept),
            "step_ms": 1e3 * each.image_s,
            "step_ms_of_softmax": each.image_s / softmax_s,
            "step_is_measured": each.is_measured,
        }
        for name, each in columns.items()
    ]
    return {
        "model": options.model,
        **shape,
        "batch_size": options.batch_size,
        "attentions": attentions,
    }


def _step_table(columns: dict[str, _Priced]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("attention")
    for title in ("operations", "learned", "moved MB", "kept MB", "ms", "/ softmax"):
        table.add_column(title, justify="right", no_wrap=True)
    softmax_s = columns[SOFTMAX].image_s
    for name, each in columns.items():
        table.add_row(
            name,
            f"{each.operations.total / 1e9:.3f}",
            f"{each.operations.learned / 1e9:.3f}",
            f"{each.moved / 1e6:.1f}",
            f"{each.kept / 1e6:.2f}",
            f"{1e3 * each.image_s:.2f}",
            f"{each.image_s / softmax_s:.2f}",
        )
    return table


def _table(columns: dict[str, _Priced]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("attention")
    table.add_column("added", justify="right")
    table.add_column("parameters", justify="right", no_wrap=True)
    for title in ("activation\nGFLOPs", "all\nGFLOPs", "paper\nGFLOPs"):
        table.add_column(title, justify="right")
    for name, each in columns.items():
        costs = each.costs
        table.add_row(
            name,
            f"{costs.attention_parameters:,}",
            f"{costs.parameters:,} ({costs.parameters / 1e6:.2f}M)",
            *map(_giga, (costs.activation_flops, costs.forward_flops, costs.paper_flops)),
        )
    return table


def _giga(flops: int) -> str:
    """Format with three decimals, as the paper does; small values with two significant digits."""
    return f"{flops / 1e9:.3f}" if flops >= 1e7 or not flops else f"{flops / 1e9:.2g}"


def _title(settings: dict[str, object]) -> str:
    names = ("mechanism", "basis")
    more = [f"{key}={value}" for key, value in settings.items() if key not in names]
    return " ".join([*(str(settings[key]) for key in names if key in settings), *more])


def _run(options: argparse.Namespace) -> int:
    print_costs(options, make_console())
    return OK


COSTS = Command(add_arguments, _run)

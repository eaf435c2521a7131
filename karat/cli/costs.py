"""`python -m karat costs MODEL --basis fourier --grid-size 3`: a model's costs, without training."""

import argparse
import re
from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table

from karat.attention.config import AttentionConfig
from karat.attention.names import SOFTMAX, settings_of_all
from karat.cli.command import Command
from karat.cli.exit_status import OK
from karat.cli.studies.json_output import add_json, print_json
from karat.models.config import ModelConfig
from karat.models.costs import Costs, costs_of
from karat.space.yaml_reader import parse_scalar
from karat.terminal import make_console

_NOTE = (
    "GFLOPs of the forward pass of one image; one multiply-add is one operation. All: what karat "
    "computes. Paper: as arXiv 2503.10632 counts, with A V and without the product with W."
)
_SIZE_IN_NAME = re.compile(r"_(\d{2,4})$")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the shape of the data and one flag for each attention setting."""
    parser.add_argument("model", help="a size (vit_tiny) or timm's name (vit_tiny_patch16_224)")
    parser.add_argument("--image-size", type=int, help="pixels; default: from the name, else 224")
    parser.add_argument("--channels", type=int, default=3, help="of an image (3)")
    parser.add_argument("--classes", type=int, default=10, help="outputs of the head (10)")
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
    shape, columns = _shape(options), _costs(options)
    if options.json:
        print_json("costs", _document(options.model, shape, columns))
        return
    size = shape["image_size"]
    console.print(
        f"{options.model}, images of {size} x {size} x {options.channels}, "
        f"{options.classes} classes",
    )
    console.print(_table(columns))
    console.print(_NOTE, style="dim")


def _shape(options: argparse.Namespace) -> dict[str, int]:
    """Images and classes of the data."""
    size = options.image_size
    if size is None:
        found = _SIZE_IN_NAME.search(options.model)
        size = int(found.group(1)) if found else 224
    return {"image_size": size, "channels": options.channels, "classes": options.classes}


def _costs(options: argparse.Namespace) -> dict[str, Costs]:
    """Softmax attention, and the attention that is asked for, to their costs."""
    settings = {
        name.removeprefix("attention."): parse_scalar(text, f"--{name.rpartition('.')[2]} {text}")
        for name, text in vars(options).items()
        if name.startswith("attention.") and text is not None
    }
    attention = AttentionConfig.from_settings(settings)
    model, shape = ModelConfig(name=options.model), _shape(options)
    columns = {SOFTMAX: costs_of(model, AttentionConfig(), **shape)}
    if not attention.is_softmax:
        columns[_title(settings)] = costs_of(model, attention, **shape)
    return columns


def _document(
    model: str, shape: Mapping[str, int], columns: Mapping[str, Costs]
) -> dict[str, object]:
    attentions = [
        {
            "attention": name,
            "parameters": costs.parameters,
            "added_parameters": costs.attention_parameters,
            "multiply_adds": costs.forward_flops,
            "activation_multiply_adds": costs.activation_flops,
            "paper_multiply_adds": costs.paper_flops,
        }
        for name, costs in columns.items()
    ]
    return {"model": model, **shape, "attentions": attentions}


def _table(columns: dict[str, Costs]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("attention")
    table.add_column("added", justify="right")
    table.add_column("parameters", justify="right", no_wrap=True)
    for title in ("activation\nGFLOPs", "all\nGFLOPs", "paper\nGFLOPs"):
        table.add_column(title, justify="right")
    for name, costs in columns.items():
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

"""Counted costs agree with the built models and with the tables of the paper."""

import json
import re
from typing import Any

import pytest

from karat.attention.config import AttentionConfig
from karat.cli.main import main
from karat.models.build import build_model
from karat.models.config import ModelConfig
from karat.models.convert import convert
from karat.models.costs import costs_of
from karat.models.hosts import build_host, count_parameters

SETTINGS: list[dict[str, Any]] = [
    {"basis": "softmax"},
    {"basis": "fourier", "rank": 4},
    {"basis": "fourier", "block_sharing": "universal", "head_sharing": "shared"},
    {"basis": "fourier", "unit_scales": False, "grid_size": 7},
    {"basis": "fourier", "rank": "full", "output_scale": "learned"},
    {"basis": "fourier", "operator_order": "phi_w", "blocks": "late"},
    {"basis": "fourier", "operator_order": "phi_phi", "heads": [0, 2]},
    {"basis": "fourier", "grid_size_per_head": [1, 2, 3], "rank_per_block": [1, 2, 4, 8]},
]
SHAPE: dict[str, Any] = {"image_size": 16, "channels": 3, "classes": 7}


def check_parameters(model: ModelConfig, settings: dict[str, Any]) -> None:
    attention = AttentionConfig.from_settings(settings)
    built = build_model(model, attention, seed=0, **SHAPE)
    assert costs_of(model, attention, **SHAPE).parameters == count_parameters(built)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_counted_parameters_match_a_plain_vit(settings: dict[str, Any]) -> None:
    check_parameters(ModelConfig(), settings)


@pytest.mark.parametrize("basis", [None, "fourier"])
@pytest.mark.parametrize(
    "name",
    ["vit_tiny_patch4_224", "deit_tiny_distilled_patch16_224", "convit_tiny",
     "swin_tiny_patch4_window7_224"],
)  # fmt: skip
def test_counted_parameters_match_every_host(name: str, basis: str | None) -> None:
    patch = None if name.startswith(("swin", "vit")) else 4
    settings = {"basis": basis, "rank": 1} if basis else {}
    check_parameters(ModelConfig(name=name, patch_size=patch), settings)


def test_operations_of_a_plain_vit_match_torchs_counter() -> None:
    shape: dict[str, Any] = {"image_size": 32, "channels": 3, "classes": 10}
    by_formula = costs_of(ModelConfig(name="vit_tiny"), AttentionConfig(), **shape)
    counted = costs_of(ModelConfig(name="deit_tiny_patch16_224"), AttentionConfig(), **shape)
    assert by_formula == counted


def test_operations_of_an_operator_match_torchs_counter() -> None:
    """All products of the operator, in each order; the units are counted as in the paper."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from karat.attention.heads import make_operator

    shape: dict[str, Any] = {"image_size": 8, "channels": 1, "classes": 10}
    tokens, heads, width, rank, grid = 17, 3, 16, 5, 2
    for order in ("w_phi", "phi_w", "phi_phi"):
        settings = {"basis": "fourier", "operator_order": order, "rank": rank, "grid_size": grid}
        config = AttentionConfig.from_settings(settings)
        scores, values = torch.randn(1, heads, tokens, tokens), torch.randn(1, heads, tokens, width)
        with FlopCounterMode(display=False) as counter:
            make_operator(config, heads, tokens).of_scores(scores, values)
        units = 2 if order == "phi_phi" else 1
        of_features = units * heads * tokens * tokens * rank * 2 * grid
        products = counter.get_total_flops() // 2 - of_features
        costs = costs_of(ModelConfig(depth=1), config, **shape)
        host = costs_of(ModelConfig(depth=1), AttentionConfig(), **shape).forward_flops
        av = heads * tokens * tokens * width
        assert costs.forward_flops == host - av + products + costs.activation_flops


# arXiv 2503.10632, Tables 2 and 3: host, G and sharing (None: softmax), classes; parameters
# added and total (millions), activation GFLOPs, total GFLOPs.
PAPER_TABLE = [
    ("vit_base", None, None, 10, 0, 85.81, 0.016, 17.595),
    ("vit_base", 1, "blockwise", 10, 1.70, 87.51, 0.268, 17.847),
    ("vit_base", 1, "universal", 10, 0.14, 85.95, 0.268, 17.847),
    ("vit_small", None, None, 1000, 0, 22.05, 0.008, 4.614),
    ("vit_small", 3, "blockwise", 1000, 1.53, 23.58, 0.335, 4.941),
    ("vit_small", 3, "universal", 1000, 0.13, 22.18, 0.335, 4.941),
    ("vit_tiny", None, None, 10, 0, 5.53, 0.005, 1.262),
    ("vit_tiny", 3, "blockwise", 10, 0.76, 6.29, 0.168, 1.425),
    ("vit_tiny", 3, "universal", 10, 0.06, 5.59, 0.168, 1.425),
]
LAYERS_HEADS = {"vit_base": (12, 12), "vit_small": (12, 6), "vit_tiny": (12, 3)}


@pytest.mark.parametrize(
    ("host", "grid", "sharing", "classes", "added", "total", "activation", "in_all"), PAPER_TABLE
)
def test_costs_match_the_nine_rows_of_the_papers_tables(
    host: str, grid: int | None, sharing: str | None, classes: int,
    added: float, total: float, activation: float, in_all: float,
) -> None:  # fmt: skip
    settings = {"basis": "fourier", "grid_size": grid, "block_sharing": sharing} if grid else {}
    attention = AttentionConfig.from_settings(settings)
    costs = costs_of(ModelConfig(name=host), attention, image_size=224, channels=3, classes=classes)
    assert f"{costs.parameters / 1e6:.2f}" == f"{total:.2f}"
    # The paper appears to count norms and a part of softmax too.
    assert costs.paper_flops / 1e9 == pytest.approx(in_all, rel=0.007)
    if grid is None:
        return
    layers, heads = LAYERS_HEADS[host]
    operators = heads * (layers if sharing == "blockwise" else 1)
    assert costs.attention_parameters == (2 * grid + 3) * 12 * 197 * operators
    # The paper prints differences of rounded totals: 0.76 for 0.765936.
    assert costs.attention_parameters / 1e6 == pytest.approx(added, abs=0.0061)
    assert f"{costs.activation_flops / 1e9:.3f}" == f"{activation:.3f}"


def test_costs_command_prints_the_papers_tiny_row(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["costs", "vit_tiny_patch16_224", "--basis", "fourier", "--grid-size", "3"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    for text in ("765,936", "6,292,282 (6.29M)", "0.168", "1.343"):
        assert re.search(rf"(?<!\d){re.escape(text)}", printed), printed


def test_costs_command_prices_a_training_step(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["costs", "vit_micro", "--image-size", "32", "--basis", "rational", "--batch-size", "4"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    for text in ("steps of 4 images", "moved MB", "kept MB", "/ softmax", "learned functions"):
        assert text in printed, printed
    assert main([*words, "--json"]) == 0
    softmax, rational = json.loads(capsys.readouterr().out)["attentions"]
    assert softmax["step_learned_multiply_adds"] == 0 < rational["step_learned_multiply_adds"]
    assert rational["step_ms"] > softmax["step_ms"] > 0
    assert rational["step_is_measured"]


def test_times_where_a_host_keeps_the_operator_from_its_kernels_are_said_to_be_unmeasured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["costs", "swin_tiny_patch4_window7_224", "--image-size", "224", "--basis", "rational"]
    assert main(words) == 0
    assert "weights are formed" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["--mechanism", "static"], ("static", "170,208")),
        (["--mechanism", "static", "--rank", "6"], ("static rank=6", "85,104")),
        (["--mechanism", "pointwise", "--basis", "fourier"], ("pointwise fourier", "252")),
        (["--mechanism", "gated", "--gate", "per_head"], ("gate=per_head", "6,948")),
    ],
)
def test_costs_command_knows_mechanisms(
    words: list[str], texts: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["costs", "vit_tiny_patch16_224", *words]) == 0
    printed = capsys.readouterr().out
    assert all(text in printed for text in texts), printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vit_tiny", "--batch-size", "0"], "--batch-size = 0: must be at least 1"),
        (["vit_tiny", "--basis", "furier"], "attention.basis = 'furier': unknown. did you mean"),
        (["vit_tiny", "--mechanism", "sigmoyd"], "'sigmoyd': unknown. did you mean 'sigmoid'?"),
        (["vit_tiny", "--mechanism", "sigmoid", "--rank", "3"], "attention.rank: does not exist for attention.mechanism: sigmoid"),
        (["vit_tiny", "--basis", "fourier", "--grid-size", "0"], "must be at least 1"),
        (["vit_tiny", "--basis", "fourier", "--rank", "198"], "is above the 197 tokens"),
        (["vit_tiny", "--image-size", "20"], "does not divide the image size 20"),
        (["resnet18"], "name = 'resnet18': is no host: it has no attention between tokens"),
        (["resmet18"], "name = 'resmet18': unknown"),
    ],
)  # fmt: skip
def test_costs_command_refuses_wrong_input_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["costs", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


OTHER_HOSTS = {
    "eva02_tiny_patch14_224": 224,
    "vit_pe_core_tiny_patch16_384": 96,
    "beitv2_base_patch16_224": 224,
    "vit_relpos_small_patch16_224": 224,
    "samvit_base_patch16": 320,
    "naflexvit_base_patch16_gap": 96,
    "swinv2_tiny_window8_256": 128,
    "maxvit_pico_rw_256": 128,
    "coatnet_pico_rw_224": 96,
    "pvt_v2_b0": 96,
    "pvt_v2_b2_li": 224,
    "hiera_tiny_224": 224,
    "vit_tiny_r_s16_p8_224": 224,
    "vitamin_small_224": 224,
}


@pytest.mark.parametrize(("name", "size"), OTHER_HOSTS.items())
def test_costs_of_every_family_are_those_of_the_built_model(name: str, size: int) -> None:
    """Parameters with an operator, and multiply-adds with a mechanism whose products torch can count."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    shape: dict[str, Any] = {"image_size": size, "channels": 3, "classes": 7}
    model = ModelConfig(name=name)
    operator = AttentionConfig.from_settings({"basis": "fourier", "rank": 2, "grid_size": 1})
    host = build_host(model, size, classes=7, device="meta")
    with torch.device("meta"):
        convert(host, operator)
    assert costs_of(model, operator, **shape).parameters == count_parameters(host)
    relu = AttentionConfig.from_settings({"mechanism": "relu"})
    host = build_host(model, size, classes=7, device="meta").eval().requires_grad_(False)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        convert(host, relu)(torch.empty(1, 3, size, size))
    assert costs_of(model, relu, **shape).forward_flops == counter.get_total_flops() // 2

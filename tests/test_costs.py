import itertools

import pytest

from karat.attention import AttentionConfig
from karat.costs import costs_of
from karat.models import SIZES, ModelConfig, build_model, count_parameters

ATTENTIONS = [
    AttentionConfig(),
    AttentionConfig(basis="fourier", rank=4),
    AttentionConfig(basis="fourier", block_sharing="universal", head_sharing="shared"),
    AttentionConfig(basis="fourier", unit_scales=False, basis_settings={"grid_size": 7}),
]


@pytest.mark.parametrize(
    ("size", "attention"), list(itertools.product(["vit_micro", "vit_tiny"], ATTENTIONS))
)
def test_counted_parameters_are_the_models(size: str, attention: AttentionConfig) -> None:
    model = ModelConfig(name=size, patch_size=None if size == "vit_micro" else 4)
    shape = {"image_size": 16, "channels": 3, "classes": 7}
    costs = costs_of(model, attention, **shape)  # type: ignore[arg-type]
    built = build_model(model, attention, seed=0, **shape)  # type: ignore[arg-type]
    assert costs.parameters == count_parameters(built)


# arXiv 2503.10632, Tables 2 and 3: host, G, sharing, classes, parameters added, all in all
# (millions), activation GFLOPs.
PAPER = [
    ("vit_base", 1, "blockwise", 10, 1.70, 87.51, 0.268),
    ("vit_base", 1, "universal", 10, 0.14, 85.95, 0.268),
    ("vit_small", 3, "blockwise", 1000, 1.53, 23.58, 0.335),
    ("vit_small", 3, "universal", 1000, 0.13, 22.18, 0.335),
    ("vit_tiny", 3, "blockwise", 10, 0.76, 6.29, 0.168),
    ("vit_tiny", 3, "universal", 10, 0.06, 5.59, 0.168),
]


@pytest.mark.parametrize(("host", "grid", "sharing", "classes", "added", "total", "gflops"), PAPER)
def test_counts_are_the_papers(
    host: str, grid: int, sharing: str, classes: int, added: float, total: float, gflops: float
) -> None:
    costs = costs_of(
        ModelConfig(name=host),
        AttentionConfig(
            basis="fourier",
            block_sharing=sharing,  # type: ignore[arg-type]
            basis_settings={"grid_size": grid},
        ),
        image_size=224,
        channels=3,
        classes=classes,
    )
    # The paper prints the sum of rounded figures in places: half a unit more is allowed.
    assert costs.attention_parameters / 1e6 == pytest.approx(added, abs=0.0101)
    assert costs.parameters / 1e6 == pytest.approx(total, abs=0.0101)
    assert round(costs.activation_flops / 1e9, 3) == gflops


def test_tiny_adds_what_the_formula_says() -> None:
    config = AttentionConfig(basis="fourier", basis_settings={"grid_size": 3})
    costs = costs_of(ModelConfig(name="vit_tiny"), config, image_size=224, channels=3, classes=10)
    assert costs.attention_parameters == 765_936
    assert set(SIZES) >= {"vit_tiny", "vit_small", "vit_base", "vit_micro"}

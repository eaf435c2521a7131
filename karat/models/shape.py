"""A model's attention modules as shapes, known without building a plain ViT; whether an operator fits."""

from karat.attention.config import AttentionConfig
from karat.models.config import ModelConfig
from karat.models.layers import Site, chosen_sites


def check_model(model: ModelConfig, attention: AttentionConfig, image_size: int) -> None:
    """Whether `build_model` would take these settings.

    Raises:
        CombinationError: settings that are right alone and wrong together.
        HostError: a model that cannot take an operator.
    """
    sites = sites_of_model(model, image_size)
    if not attention.is_softmax:
        chosen_sites(sites, attention)


def sites_of_model(model: ModelConfig, image_size: int) -> list[Site]:
    """The attention modules, as shapes.

    Raises:
        CombinationError: a shape that this model cannot have.
        HostError: a model that cannot take an operator.
    """
    if not model.is_plain:
        from karat.models.build import build_host
        from karat.models.convert import sites_of  # both bring torch and timm

        return sites_of(build_host(model, image_size, device="meta"))
    shape, side = model.shape(), model.grid(image_size)
    return [
        Site(
            name=f"blocks.{number}.attn",
            num_tokens=side**2 + 1,
            num_heads=shape["num_heads"],
            head_dim=shape["embed_dim"] // shape["num_heads"],
            grid=(side, side),
            prefix_tokens=1,
        )
        for number in range(shape["depth"])
    ]

"""Which modules of timm have host models, and why the models of the others are none."""

from collections.abc import Mapping

HOST_MODULES = (
    *("vision_transformer", "deit", "vision_transformer_hybrid", "vitamin"),
    *("convit", "eva", "beit", "vision_transformer_relpos", "vision_transformer_sam", "naflexvit"),
    *("swin_transformer", "swin_transformer_v2", "maxxvit", "pvt_v2", "hiera"),
)
ANY_IMAGE_SIZE = ("pvt_v2",)  # whose models have no argument for it
HOSTS = (
    "ViT, DeiT, ConViT, EVA and DINOv3, BEiT, ViTs with relative positions, SAM's encoder, NaFlex, Swin, Swin v2, "
    "MaxViT and CoAtNet, PVT v2, Hiera"
)
_NO_ATTENTION = "it has no attention between tokens"
# What a module's models do that leaves an operator without a matrix of scores for each head.
_CANNOT: Mapping[str, str] = {
    "byoanet": "bottleneck, halo and lambda layers in a network of convolutions take positions into the product of "
    "queries and keys",
    "byobnet": "it is a network of convolutions; MobileViT's blocks in it attend between pixels of unfolded patches",
    "cait": "it mixes the scores of all heads before softmax and the weights after it (talking heads), and its last "
    "blocks have one query",
    "coat": "it multiplies keys by values before queries (factorised attention), so that no scores are formed",
    "csatv2": "it is a network of convolutions; its spatial attention has queries and keys of one number",
    "davit": "every second block attends between channels, not between tokens",
    "edgenext": "it attends between channels (cross-covariance), not between tokens",
    "efficientformer_v2": "it mixes the scores of all heads before softmax and the weights after it (talking heads)",
    "efficientvit_mit": "it multiplies keys by values before queries (linear attention), so that no scores are formed",
    "efficientvit_msra": "a head takes the output of the head before it, so that heads cannot be computed together",
    "focalnet": "it has no attention: tokens are multiplied by averages of their neighbourhood (focal modulation)",
    "gcvit": "every second block takes its queries from the whole image and not from its tokens",
    "metaformer": "most of its blocks mix by pooling or convolutions; those that attend take maps of any size",
    "mobilenetv3": "it is a network of convolutions; the hybrids of MobileNet v4 have one head of keys for all queries, "
    "on a smaller map",
    "mobilenetv5": "it is a network of convolutions, with one head of keys for all queries on a smaller map",
    "mobilevit": "it attends between pixels at the same place of unfolded patches (v1), or has no pairs of tokens (v2)",
    "resnest": "its split attention weighs groups of channels, not tokens",
    "sequencer": "it mixes tokens by recurrent networks",
    "sknet": "its selective kernels weigh branches of convolutions, not tokens",
    "swiftformer": "it adds up queries instead of pairing them with keys (additive attention), so that there are no scores",
    "tnt": "every token has tokens of its own inside, with a second attention between these",
    "volo": "its first blocks compute weights from one token alone, without keys (outlook attention)",
    "xcit": "it attends between channels (cross-covariance), not between tokens",
}
# Attention whose scores an operator could take, and for which there is no wrapper.
_WITHOUT_WRAPPER: Mapping[str, str] = {
    "cpubone": "attention between pixels of a map that convolutions make smaller",
    "crossvit": "two sequences of tokens at different patch sizes, and attention of one query to the other sequence",
    "deepseek_vit": "rotary attention in an encoder behind an adapter",
    "efficientformer": "attention in the last blocks alone, with heads whose keys are narrower than their values",
    "fastvit": "attention in the last stage of a network of convolutions",
    "gemma4_vit": "rotary attention with norms of queries, keys and values, on images of any shape",
    "hieradet_sam2": "windows that differ by stage, with pooled queries on maps",
    "iformer": "attention of one head with gates between convolutions",
    "levit": "attention between convolutions, with heads whose keys are narrower than their values",
    "lowformer": "attention between pixels of a map that convolutions make smaller",
    "mvitv2": "queries, keys and values that convolutions pool, with positions that depend on the query",
    "nest": "attention in blocks of the image that are a dimension of their own",
    "nextvit": "attention on pooled keys beside convolutions in one block",
    "pit": "a number of tokens that falls from stage to stage, with a class token",
    "qwen3_vit": "rotary attention in an encoder with patches in groups of four",
    "shvit": "attention of one head on a part of the channels",
    "swin_transformer_v2_cr": "Swin v2 in another arrangement, without the wrapper of timm's swinv2 models",
    "tiny_vit": "windows between convolutions",
    "twins": "windows, and attention on a smaller map, in turn",
    "visformer": "attention on maps with channels first",
}


def module_of(name: str) -> str:
    """The module of timm that defines a model, without the path."""
    import timm  # takes seconds

    path: str = timm.models.model_entrypoint(name).__module__
    return path.rpartition(".")[2]


def why_no_host(model: type) -> str:
    """Why a model of this class is no host, as a phrase that follows its name."""
    package, _, module = model.__module__.rpartition(".")
    if package != "timm.models":
        return f"is not a supported host. Supported are timm's {HOSTS}"
    return f"{_why(module)}. Supported are timm's {HOSTS}"


def why_not(name: str) -> str | None:
    """Why timm's model of this name is no host; None if it may be, or timm does not know it."""
    import timm

    if not timm.is_model(name) or name.startswith("karat_"):
        return None
    module = module_of(name)
    return None if module in HOST_MODULES else _why(module)


def _why(module: str) -> str:
    if kind := _WITHOUT_WRAPPER.get(module):
        return (
            f"is no host: an operator could take its scores, but there is no wrapper for it: {kind}"
        )
    return f"is no host: {_CANNOT.get(module, _NO_ATTENTION)}"

"""Small models of every family of hosts, for images of 32 pixels with 5 classes."""

from collections.abc import Callable
from typing import Any

import timm
from timm.models import (
    beit,
    eva,
    hiera,
    naflexvit,
    pvt_v2,
    swin_transformer_v2,
    vision_transformer_relpos,
    vision_transformer_sam,
)
from torch import nn

SHAPE: dict[str, Any] = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 24,
    "num_heads": 3,
    "depth": 2,
    "num_classes": 5,
}


def rotary(**more: Any) -> nn.Module:
    rope = {"use_rot_pos_emb": True, "num_reg_tokens": 2}
    return eva.Eva(**{**SHAPE, **rope, **more})


def with_table(**more: Any) -> nn.Module:
    return beit.Beit(**{**SHAPE, "use_rel_pos_bias": True, "init_values": 0.1, **more})


def relative(**more: Any) -> nn.Module:
    own = {"init_values": 0.1, "class_token": True, "global_pool": "token"}
    return vision_transformer_relpos.VisionTransformerRelPos(**{**SHAPE, **own, **more})


def sam(**more: Any) -> nn.Module:
    own = {"use_rel_pos": True, "window_size": 3, "global_attn_indexes": (1,), "neck_chans": 8}
    return vision_transformer_sam.VisionTransformerSAM(**{**SHAPE, **own, **more})


def naflex(**more: Any) -> nn.Module:
    shape = {key: value for key, value in SHAPE.items() if key != "img_size"}
    cfg = naflexvit.NaFlexVitCfg(
        **{key: value for key, value in shape.items() if key != "num_classes"},
        **{"class_token": True, "global_pool": "token", "pos_embed_grid_size": (4, 4), **more},
    )
    model = naflexvit.NaFlexVit(cfg, num_classes=5)
    model.pretrained_cfg = {"input_size": (3, 32, 32)}
    return model


def cosine_windows(**more: Any) -> nn.Module:
    small = {"img_size": 32, "window_size": 4, "embed_dim": 12, "num_classes": 5, "patch_size": 4}
    stages = {"depths": (2, 2), "num_heads": (2, 4)}
    return swin_transformer_v2.SwinTransformerV2(**{**small, **stages, **more})


def maxvit(name: str = "maxvit_pico_rw_256", **more: Any) -> nn.Module:
    small = {"depths": (1, 1), "embed_dim": (16, 32), "stem_width": 8}
    parts = {f"transformer_{key}_size": (4, 4) for key in ("window", "grid")}
    parts |= {"transformer_dim_head": 8, "block_type": ("M", "M")}
    return timm.create_model(name, **{"img_size": 32, "num_classes": 5, **small, **parts, **more})


def coatnet(**more: Any) -> nn.Module:
    small = {"depths": (1, 2), "embed_dim": (16, 32), "stem_width": 8}
    kinds = {"block_type": ("C", "T"), "transformer_dim_head": 8}
    shape = {"img_size": 32, "num_classes": 5}
    return timm.create_model("coatnet_pico_rw_224", **{**shape, **small, **kinds, **more})


def pvt(**more: Any) -> nn.Module:
    small = {"depths": (1, 2), "embed_dims": (16, 32), "num_heads": (2, 4), "sr_ratios": (2, 1)}
    model = pvt_v2.PyramidVisionTransformerV2(
        **{**small, "mlp_ratios": (2, 2), "num_classes": 5, **more}
    )
    model.pretrained_cfg = {"input_size": (3, 32, 32)}
    return model


def units(**more: Any) -> nn.Module:
    small = {"img_size": (32, 32), "embed_dim": 16, "num_heads": 1, "num_classes": 5}
    stages = {"stages": (1, 2, 2), "q_pool": 2, "mask_unit_attn": (True, True, False)}
    return hiera.Hiera(**{**small, **stages, "mask_unit_size": (4, 4), **more})


SMALL_HOSTS: dict[str, Callable[..., nn.Module]] = {
    "EVA-02": lambda: rotary(swiglu_mlp=True, scale_mlp=True, qkv_fused=False),
    "EVA": lambda: rotary(use_rot_pos_emb=False, qkv_bias=True, num_reg_tokens=0),
    "DINOv3": lambda: rotary(rope_type="dinov3", use_abs_pos_emb=False, rope_rotate_half=True),
    "Perception Encoder": lambda: rotary(attn_type="rope", global_pool="map", class_token=True),
    "RoPE, mixed": lambda: rotary(attn_type="rope", rope_type="mixed", num_reg_tokens=0),
    "RoPE, qk-norm and gates": lambda: rotary(
        attn_type="rope", qk_norm=True, scale_attn_inner=True
    ),
    "RoPE, grouped keys": lambda: rotary(attn_type="rope", qkv_fused=False, num_kv_heads=1),
    "BEiT": with_table,
    "BEiT, shared": lambda: with_table(use_rel_pos_bias=False, use_shared_rel_pos_bias=True),
    "relative positions": lambda: relative(rel_pos_type="bias"),
    "relative positions, network": lambda: relative(
        qk_norm=True, class_token=False, global_pool="avg"
    ),
    "relative positions, shared": lambda: relative(shared_rel_pos=True),
    "SAM": sam,
    "SAM, rotary": lambda: sam(use_rel_pos=False, use_rope=True, window_size=2),
    "NaFlex": naflex,
    "NaFlex, rotary": lambda: naflex(rope_type="axial"),
    "Swin v2": cosine_windows,
    "MaxViT": maxvit,
    "MaxViT, tf": lambda: maxvit("maxvit_tiny_tf_224"),
    "CoAtNet": coatnet,
    "PVT v2": pvt,
    "PVT v2, linear": lambda: pvt(linear=True),
    "Hiera": units,
}

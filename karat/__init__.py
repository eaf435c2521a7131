"""karat: search and ablation for learnable attention in vision transformers."""

__version__ = "0.1.0"

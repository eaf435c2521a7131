"""Where the attention modules of timm's models are: which blocks, how many tokens, windows, special tokens."""

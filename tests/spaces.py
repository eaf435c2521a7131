"""Texts of small search spaces, in addition to the one in `conftest`."""

from tests.launched import ROOT

_ALL = sorted((ROOT / "search_spaces").glob("*.yaml"))
FOR_NODES = [path for path in _ALL if path.name.startswith("paper_") or "_karat" in path.name]
ON_IMAGES = [path for path in _ALL if path.name == "cifar10_small.yaml"]
ON_DIGITS = [path for path in _ALL if path not in (*FOR_NODES, *ON_IMAGES)]
"""The shipped spaces: for nodes with GPUs, for a laptop on images that are not here, and for a laptop."""

MATCHED = """\
study: matched
question: What does Fourier give at each size?
data: {name: digits}
model: {name: vit_micro, patch_size: 4, depth: 1, num_heads: 2}
attention: {rank: 4}
training: {recipe: quick, epochs: 4, batch_size: 128}
reference: {attention.basis: softmax}
factors:
  model.embed_dim: [12, 24]
  attention.basis: [softmax, fourier]
  attention.grid_size: {values: [1, 2], when: {attention.basis: fourier}}
tuned:
  training.learning_rate: {low: 1e-3, high: 1e-2, log: true}
search: {sampler: tpe, trials: 12}
early_stopping: {scheduler: asha, grace_epochs: 1, reduction_factor: 3}
confirm: {by: model.embed_dim, seeds: 2}
"""

LISTS = """\
study: lists
question: Which blocks?
data: {name: digits}
model: {name: vit_micro, patch_size: 4, embed_dim: 12, depth: 2, num_heads: 2}
attention: {rank: 4}
training: {recipe: quick, epochs: 4, batch_size: 128}
reference: {attention.basis: softmax}
factors:
  attention.basis: [softmax, fourier]
  attention.blocks: {values: [all, early, [1], [0, 1]], when: {attention.basis: fourier}}
  attention.grid_size_per_block: {values: [[1, 2], [2, 1]], when: {attention.blocks: [all, [0, 1]]}}
exclude:
  - {attention.blocks: [0, 1], attention.grid_size_per_block: [2, 1]}
tuned:
  training.learning_rate: {low: 1e-3, high: 1e-2, log: true}
search: {sampler: tpe, trials: 12}
early_stopping: {scheduler: asha, grace_epochs: 1, reduction_factor: 3}
confirm: {by: attention.blocks, seeds: 2}
"""

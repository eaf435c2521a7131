"""How images get from a data set to the trial's device, and how long a trial waits for them.

| file | what it does |
|---|---|
| `splits` | the splits of a data set, from the memory map where they fit into it |
| `memory_map` | the file of decoded images that all trials of a node share |
| `place` | where these files are |
| `resident` | how much of such a file a process has in memory |
| `stored` | a split in such a file |
| `decoded` | a split that is decoded in each epoch, as for ImageNet |
| `batches` | the batches of one epoch on the trial's device, augmented and mixed |
| `pixels` | pixels and a model's input, the one from the other |
"""

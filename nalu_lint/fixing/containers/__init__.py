"""Layers and Parameters in plain containers, and the containers of PyTorch for them.

In: a finding of NAL102. Out: a `Rewrite`. `register` decides; `contents`: what the container holds, `keys`: which keys
it has, `uses`: what is done with it. Knows of `common`.
"""

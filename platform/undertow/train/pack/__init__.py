"""Train replicates side by side: one Trainer and one optimiser over the stack of their parameters (`nn.pack`).

`job` trains a pack; a `Replicate` in it measures, saves and ends as a run of its own would.
"""

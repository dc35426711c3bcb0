"""What a study runs: its configuration with every combination checked (`load`), its sampler and pruner (`sampling`)."""

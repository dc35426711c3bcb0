"""Training: `build` makes what a run needs, `job` trains it: a `Learner` over `TaskData`, with `callbacks`."""

"""What the host offers itself, without any plugin: the optimisers that `optim` has keys for.

They are in every registry, so that they are listed, found by name and checked like those of plugins.
"""

from undertow import __version__
from undertow.api.spec import OptimizerSpec
from undertow.plugins.registry import Entry, Plugin

HOST = Plugin("undertow", "undertow", __version__, "undertow.plugins.builtin")

OPTIMIZERS = {
    spec.name: Entry(spec, HOST)
    for spec in (
        OptimizerSpec(
            name="adam",
            summary="Steps of about lr, from the mean of the gradient and of its square; L2 weight decay; optim.betas",
            factory="torch.optim:Adam",
            equation="m' = β₁ m + (1 - β₁) g\nv' = β₂ v + (1 - β₂) g²\nw' = w - lr m̂' / (√v̂' + ε)",
            paper="Kingma & Ba 2015, arXiv 1412.6980",
            elementwise=True,
        ),
        OptimizerSpec(
            name="adamw",
            summary="Adam with decoupled weight decay; optim.betas",
            factory="torch.optim:AdamW",
            equation="w' = (1 - lr λ) w - lr m̂' / (√v̂' + ε), with m and v of adam",
            paper="Loshchilov & Hutter 2019, arXiv 1711.05101",
            elementwise=True,
        ),
        OptimizerSpec(
            name="sgd",
            summary="Steps along the gradient, or along its running sum; L2 weight decay; optim.momentum",
            factory="torch.optim:SGD",
            equation="b' = μ b + g\nw' = w - lr b'",
            paper="Polyak 1964, doi 10.1016/0041-5553(64)90137-5",
            elementwise=True,
        ),
        OptimizerSpec(
            name="rmsprop",
            summary="The gradient over the root of its mean square; L2 weight decay; optim.momentum",
            factory="torch.optim:RMSprop",
            equation="v' = 0.99 v + 0.01 g²\nb' = μ b + g / (√v' + ε)\nw' = w - lr b'",
            paper="Hinton 2012, lecture 6e of the course Neural Networks for Machine Learning",
            elementwise=True,
        ),
    )
}
"""The optimisers that `train.optim` builds from the keys of `optim`, by name."""

KEYS = {"betas": ("adam", "adamw"), "momentum": ("sgd", "rmsprop")}
"""The keys of `optim` that some of these have; every optimiser has `lr` and `weight_decay`."""

"""What the host offers itself, without any plugin: three blocks, and the optimisers that `optim` has keys for.

They are in every loaded registry, so that they are listed, found by name and checked like those of plugins. None can be
blocked.
"""

from undertow import __version__
from undertow.api.spec import BlockSpec, OptimizerSpec
from undertow.plugins.registry import Entry, Plugin

HOST = Plugin("undertow", "undertow", __version__, "undertow.plugins.builtin")

BLOCKS = {
    spec.name: Entry(spec, HOST)
    for spec in (
        BlockSpec(
            name="plain",
            summary="The cell alone",
            factory="undertow.nn.blocks:Plain",
            equation="y = cell(x)",
        ),
        BlockSpec(
            name="residual",
            summary="Pre-norm residual: the cell adds to what passes by it",
            factory="undertow.nn.blocks:Residual",
            equation="y = x + W cell(norm(x))",
            paper="He et al. 2016, arXiv 1512.03385; pre-norm: Xiong et al. 2020, arXiv 2002.04745",
        ),
        BlockSpec(
            name="glu",
            summary="Pre-norm residual with a gated linear unit after the cell, as in S4 and LRU",
            factory="undertow.nn.blocks:Glu",
            equation="u = gelu(cell(norm(x)))\ny = x + (W1 u + b1) * sigmoid(W2 u + b2)",
            paper="Gu, Goel & Ré 2022, arXiv 2111.00396; Orvieto et al. 2023, arXiv 2303.06349",
        ),
    )
}
"""What can surround the cell of a layer, by name."""

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

"""An inference-ready model: the best weights as a program that needs torch alone, with its signature.

    save_model(config, registry, folder.checkpoints, folder.path / "model")
    mlflow.pyfunc.load_model(str(folder.path / "model")).predict(inputs)

torch.export traces the network, so the saved program has no use for this package or the cell's plugin. The batch size
stays open; the length is that of the task.
"""

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from undertow.config.schema import ExperimentConfig
    from undertow.plugins.registry import Registry


def save_model(config: "ExperimentConfig", registry: "Registry", checkpoints: Path, destination: Path) -> None:
    """Write an MLflow model folder.

    Args:
        config: The run's configuration.
        registry: Its plugins.
        checkpoints: Where `best.ckpt` is.
        destination: The folder to make; replaced if it is there.
    """
    import shutil

    import mlflow.pytorch
    import numpy as np
    import torch
    from mlflow.models import infer_signature

    from undertow.nn import build_model, build_task
    from undertow.train.callbacks.checkpoints import BEST

    task = build_task(config, registry)
    model = build_model(config, registry, task)
    saved = torch.load(checkpoints / BEST, weights_only=True, map_location="cpu")["state_dict"]
    own = {name.removeprefix("model."): value for name, value in saved.items() if name.startswith("model.")}
    model.load_state_dict(own)
    model.to(next(iter(own.values())).dtype).eval()
    example = task.batch("val", np.arange(2)).input
    if example.is_floating_point():
        example = example.to(next(model.parameters()).dtype)
    with torch.no_grad():
        output = model(example)
    shutil.rmtree(destination, ignore_errors=True)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export tells of each weight that a fused kernel lists twice
        mlflow.pytorch.save_model(
            model,
            str(destination),
            signature=infer_signature(example.numpy(), output.numpy()),
            input_example=example.numpy(),
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", "mlflow"],
        )

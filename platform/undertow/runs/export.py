"""An inference-ready model: the best weights as a program that needs only torch, with its signature.

    save_model(loaded, folder.checkpoints, folder.path / "model")
    mlflow.pyfunc.load_model(str(folder.path / "model")).predict(inputs)

torch.export traces the network, so the saved program needs neither this package nor the plugin of the cell. The batch
size is open; the length is that of the task.
"""

import logging
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from undertow.config.load import LoadedExperiment


def save_model(loaded: "LoadedExperiment", checkpoints: Path, destination: Path) -> None:
    """Write an MLflow model folder.

    Args:
        loaded: The run's experiment.
        checkpoints: Where `best.ckpt` is.
        destination: The folder to make; an existing one is replaced.
    """
    import mlflow.pytorch
    import numpy as np
    import torch
    from mlflow.models import infer_signature

    from undertow.nn import build_model, build_task
    from undertow.train.callbacks.checkpoints import BEST

    task = build_task(loaded)
    model = build_model(loaded, task)
    saved = torch.load(checkpoints / BEST, weights_only=True, map_location="cpu")["state_dict"]
    weights = {name.removeprefix("model."): value for name, value in saved.items() if name.startswith("model.")}
    dtype = weights["head.weight"].dtype
    model.load_state_dict(weights)
    model.to(dtype).eval()
    example = task.batch("val", np.arange(2)).input
    if example.is_floating_point():
        example = example.to(dtype)
    with torch.no_grad():
        output = model(example)
    shutil.rmtree(destination, ignore_errors=True)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export warns about each weight that a fused kernel lists twice
        mlflow.pytorch.save_model(
            model,
            str(destination),
            signature=infer_signature(example.numpy(), output.numpy()),
            input_example=example.numpy(),
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", "mlflow"],
        )

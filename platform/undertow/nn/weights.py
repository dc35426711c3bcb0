"""Weights that a network starts with, of another run or of a file, and parameters that are not trained.

    start_from(model, Path("runs/lstm-T64-s0-1a2b3c/checkpoints/best.ckpt"), anew=["head.*"])
    freeze(model, ["cells.0.*"])

Parameters go by their names in the network, such as `cells.0.kernel.weight_hh_l0` or `head.bias`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from undertow.errors import RequestError, did_you_mean
from undertow.nn.model import SequenceModel

_PREFIX = "model."
_SHOWN = 8
"""Mismatches that a message has at most."""


def start_from(model: SequenceModel, file: Path, anew: Sequence[str] = ()) -> str:
    """Load weights into a network.

    Args:
        model: The network; changed in place.
        file: A checkpoint of a run, or what `torch.save` wrote of a `state_dict`.
        anew: Patterns of names that keep their initial values.

    Returns:
        What was loaded, for the record of the run: the file, its training step and its digest.

    Raises:
        RequestError: The file cannot be read, or its weights are not those of this network; a line for each mismatch.
    """
    content = _read(file)
    saved = _weights(content, file)
    own = model.state_dict()
    _require_match(anew, own, "train.start_anew")
    wanted = {name: value for name, value in own.items() if not _matches(name, anew)}
    problems = [
        *(f"the network has `{name}` {_shape(own[name])}, the file does not" for name in wanted if name not in saved),
        *(
            f"`{name}` is {_shape(saved[name])} in the file, {_shape(value)} in the network"
            for name, value in wanted.items()
            if name in saved and saved[name].shape != value.shape
        ),
        *(
            f"the file has `{name}` {_shape(value)}, the network does not"
            for name, value in saved.items()
            if name not in own and not _matches(name, anew)
        ),
    ]
    if problems:
        more = [f"… and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise RequestError(
            "\n".join(
                [
                    f"train.start_from: the weights of {file} are not those of this network:",
                    *(f"  {line}" for line in [*problems[:_SHOWN], *more]),
                    "Choose the same cell and sizes, or name what begins with its initial values: "
                    "train.start_anew=['head.*']",
                ]
            )
        )
    model.load_state_dict({**own, **{name: saved[name] for name in wanted}})
    step = f", step {content['global_step']}" if "global_step" in content else ""
    return f"{file}{step}, sha256:{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"


def freeze(model: SequenceModel, patterns: Sequence[str]) -> None:
    """Exclude parameters from training.

    Args:
        model: The network.
        patterns: Of their names, such as ``cells.0.*``.

    Raises:
        RequestError: A pattern fits no parameter, or together they fit all.
    """
    parameters = dict(model.named_parameters())
    _require_match(patterns, parameters, "train.freeze")
    for name, parameter in parameters.items():
        if _matches(name, patterns):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise RequestError("train.freeze: these patterns fit every parameter, so that nothing would be trained")


def _read(file: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # a file of another kind may raise anything
        reason = str(error).strip().partition("\n")[0]
        raise RequestError(
            f"train.start_from: {file} cannot be read as weights: {type(error).__name__}: {reason}"
        ) from error
    if not isinstance(content, Mapping):
        raise RequestError(f"train.start_from: {file} has a {type(content).__name__}, not a state_dict")
    return content


def _weights(content: Mapping[str, Any], file: Path) -> dict[str, Tensor]:
    state = content.get("state_dict", content)
    weights = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not weights:
        raise RequestError(f"train.start_from: {file} has no weights")
    if all(name.startswith(_PREFIX) for name in weights):
        weights = {name.removeprefix(_PREFIX): value for name, value in weights.items()}
    return weights


def _require_match(patterns: Iterable[str], names: Iterable[str], key: str) -> None:
    names = list(names)
    for index, pattern in enumerate(patterns):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise RequestError(f"{key}.{index}: `{pattern}` fits no parameter.{did_you_mean(pattern, names)}")


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"

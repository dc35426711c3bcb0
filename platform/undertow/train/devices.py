"""Where a run trains: `train.accelerator`, `devices` and `strategy`, resolved on this machine."""

from dataclasses import dataclass

import torch
from pytorch_lightning.strategies import StrategyRegistry

from undertow._system.cpus import usable_cpus
from undertow.config.schema import TrainConfig
from undertow.errors import RequestError, did_you_mean


@dataclass(frozen=True)
class Devices:
    """A kind of device, how many of them, and Lightning's strategy.

    Attributes:
        accelerator: `cpu`, `cuda` or `mps`.
        count: How many devices, and processes: one for each.
        strategy: A Lightning strategy.
        name: The name of the device, such as ``NVIDIA H100`` or ``cpu``.
    """

    accelerator: str
    count: int
    strategy: str
    name: str


def resolve_devices(config: TrainConfig) -> Devices:
    """Resolve the devices of a configuration on this machine.

    Raises:
        RequestError: A device is not there, the strategy is unknown, or the batch size is not divisible by the devices.
    """
    gpus = torch.cuda.device_count()
    accelerator = {"gpu": "cuda", "auto": "cuda" if gpus else "cpu"}.get(config.accelerator, config.accelerator)
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise RequestError("train.accelerator: there is no `mps` device on this machine; use `cpu` or `auto`")
    available = gpus if accelerator == "cuda" else 1
    count = config.devices if isinstance(config.devices, int) else max(1, available)
    if accelerator == "cuda" and count > gpus:
        raise RequestError(
            f"train.devices: {count} {config.accelerator} device(s) requested, {gpus} on this machine"
            + ("; use `train.accelerator=cpu`" if gpus == 0 else "")
        )
    if accelerator == "cpu" and count > (cpus := usable_cpus()):
        raise RequestError(f"train.devices: {count} CPU processes requested, this process may use {cpus} cores")
    if config.batch_size % count:
        raise RequestError(
            f"train.batch_size: {config.batch_size} examples cannot be divided evenly among {count} devices"
        )
    return Devices(accelerator, count, _strategy(config.strategy, count), _name(accelerator))


def _strategy(name: str, count: int) -> str:
    known = {"auto", *StrategyRegistry.available_strategies()}
    if name not in known:
        raise RequestError(f"train.strategy: there is no strategy `{name}`.{did_you_mean(name, known)}")
    if any(start in name for start in ("spawn", "fork", "notebook")):
        raise RequestError(
            f"train.strategy: `{name}` starts its own processes, but the platform starts them; use `ddp`"
        )
    if name == "auto" and count > 1:
        return "ddp"
    return name


def _name(accelerator: str) -> str:
    return torch.cuda.get_device_name(0) if accelerator == "cuda" else accelerator

"""Every shipped task against the kit: at its default length, its shortest and a longer one, and with other options.

The files of a task that reads files are written here.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertow.plugins.host import load_plugins
from undertow.testing import TaskConformance
from undertow.train.outcome import is_solved

REGISTRY = load_plugins()
SHIPPED = [name for name, entry in REGISTRY.tasks.items() if entry.plugin.distribution.startswith("undertow-")]
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "digits-by-pixel": [{"permuted": True}],
    "adding": [{"dialect": "anywhere"}, {"dialect": "pascanu"}, {"dialect": "hs97"}],
    "copy": [{"dialect": "s4"}],
    "temporal-order": [{"bits": 3}],
    "recall": [{"pairs": 8, "keys": 16}],
    "parity": [{"longest_trained": 20}],
    "parity-running": [{"longest_trained": 20}],
    "cycle-navigation": [{"longest_trained": 20}],
    "cycle-navigation-running": [{"longest_trained": 20}],
    "digit-video": [{"digits": 2, "shown": 3}],
    "digit-caption": [{"language": "korean"}],
    "sort": [{"alphabet": 5}],
}
"""Options that change the examples."""


def mnist(folder: Path) -> dict[str, Any]:
    drawn = np.random.default_rng(0)
    for split, count in (("train", 200), ("t10k", 50)):
        images, labels = drawn.integers(0, 256, (count, 28, 28)), np.arange(count) % 10
        for name, array in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (folder / name).write_bytes(head + array.astype(np.uint8).tobytes())
    return {"folder": str(folder)}


def ucr(folder: Path) -> dict[str, Any]:
    drawn = np.random.default_rng(0)
    paths = {"train": folder / "Tide_TRAIN.ts", "test": folder / "Tide_TEST.ts"}
    for path in paths.values():
        series = [f"{','.join(map(str, drawn.normal(size=30)))}:{'ebb' if k % 2 else 'flow'}" for k in range(100)]
        path.write_text("\n".join(["@classLabel true ebb flow", "@data", *series]))
    return {key: str(path) for key, path in paths.items()}


FILES: dict[str, tuple[Callable[[Path], dict[str, Any]], tuple[int, ...]]] = {
    "mnist-by-pixel": (mnist, (784, 821)),
    "ucr": (ucr, (30, 67)),
}
"""For each task that reads files: the function that writes them and returns the options, and lengths that fit them."""


SKIPS = {
    "its examples are data: the steps that decide the answer are not known",
    "it has no `answer(input)`, which returns the right answer for a changed input",
}


class ShippedTask(TaskConformance):
    def test_is_what_its_spec_says(self) -> None:
        super().test_is_what_its_spec_says()
        task = self.build()
        assert task.trivial_loss, "a shipped task states its trivial loss"
        metrics = dict.fromkeys(("val/loss", *(f"val/{name}" for name in task.metrics())), 0.0)
        assert not task.solved or is_solved(task.solved, metrics) is not None, "a run can tell whether it has solved it"


def cases() -> Iterator[Any]:
    for name in SHIPPED:
        lengths = REGISTRY.task(name).lengths
        tried = [length for length in (lengths.minimum, lengths.default, lengths.default + 37) if length in lengths]
        if name in FILES:
            tried = list(FILES[name][1])
        for length in dict.fromkeys(tried):
            yield pytest.param(name, {}, length, id=f"{name}-T{length}")
        for options in VARIANTS.get(name, ()):
            settings = ",".join(f"{key}={value}" for key, value in options.items())
            yield pytest.param(name, options, lengths.default, id=f"{name}({settings})")


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return {name: write(tmp_path_factory.mktemp(name)) for name, (write, _) in FILES.items()}


@pytest.mark.parametrize(("name", "options", "length"), [*cases()])
def test_a_shipped_task_passes_every_check(
    name: str,
    options: dict[str, Any],
    length: int,
    written: dict[str, dict[str, Any]],
    assert_conforms: Callable[..., None],
) -> None:
    options = written.get(name, {}) | options
    assert_conforms(ShippedTask.of(name, options=options, length=length), SKIPS)


def test_every_variant_and_file_is_of_a_shipped_task() -> None:
    assert VARIANTS.keys() | FILES.keys() <= set(SHIPPED)

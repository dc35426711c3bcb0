"""Which runs of a study are trained side by side, and how many together.

    packs = Packs(loaded, slots=2)
    packs.size                           # 8 for 16 seeds of one combination
    packs.most(combination)              # 1 if something forbids that it is packed

The size depends on the study and the number of slots alone. So a driver packs alike from its start to its end, and so
does the next one with as many slots.
"""

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING

from undertow.config.packing import DECIDING, Forbidden, forbidding
from undertow.config.schema import ExperimentConfig
from undertow.config.space import Combination, Params

if TYPE_CHECKING:
    from undertow.studies.plan.load import LoadedStudy

LARGEST = 32
"""Replicates of a pack at most, unless the study has a number of its own."""


def pack_size(replicates: int, groups: int, slots: int, most: int) -> int:
    """How many replicates of one combination are trained side by side.

    The fewest packs of at most `most` that leave no slot empty, and those as even as they can be.

    Args:
        replicates: Seeds of one combination.
        groups: Combinations, seeds aside.
        slots: Packs at the same time.
        most: Replicates of a pack.
    """
    packs = max(ceil(replicates / most), ceil(slots / groups))
    return ceil(replicates / packs)


class Packs:
    """The packs of one driver.

    Args:
        loaded: The study.
        slots: How many packs run at the same time, over all drivers as far as it is known.

    Attributes:
        size: Replicates of a pack; 1 if nothing is packed.
    """

    def __init__(self, loaded: "LoadedStudy", slots: int) -> None:
        self._reasons = Reasons(loaded)
        most = {"auto": LARGEST, "off": 1}.get(str(loaded.config.pack)) or int(loaded.config.pack)
        seeds, groups = len(loaded.space.vary.get("seed", (0,))), len(loaded.space.groups)
        self.size = pack_size(seeds, groups, slots, most)

    def most(self, combination: Combination) -> int:
        """How many replicates of this combination may be trained side by side."""
        return 1 if self.size == 1 or self._reasons.of(combination.params) else self.size


def singly(reasons: Mapping[str, int]) -> str:
    """`Reasons.counted` as text: ``8 runs singly, not side by side (optim.omega: …)``."""
    return "; ".join(f"{runs} runs singly, not side by side ({reason})" for reason, runs in reasons.items())


class Reasons:
    """What keeps the combinations of a study from being packed.

    Args:
        loaded: The study.
    """

    def __init__(self, loaded: "LoadedStudy") -> None:
        self._loaded = loaded
        self._found: dict[tuple[object, ...], Forbidden | None] = {}

    def of(self, params: Params) -> Forbidden | None:
        """What keeps a combination from being packed; it is looked up once for all with the same deciding values."""
        settings = self._loaded.settings(params)
        values = tuple((key, settings[key]) for key in DECIDING if key in settings)
        if values not in self._found:
            if self._loaded.config.search:  # without the searched values there is no configuration
                found = self._forbidding(self._loaded.first)
            else:
                found = self._forbidding(self._loaded.experiment(params))
            self._found[values] = found
        return self._found[values]

    def _forbidding(self, config: ExperimentConfig) -> Forbidden | None:
        return forbidding(config, self._loaded.config, optimizers=self._loaded.registry.optimizers)

    @cached_property
    def counted(self) -> Mapping[str, int]:
        """How many runs are trained singly although they have replicates, by the reason."""
        groups = [group for group in self._loaded.space.groups if len(group) > 1]
        if self._loaded.config.pack in ("off", 1):
            total = sum(map(len, groups))
            return {f"study.pack: {self._loaded.config.pack}": total} if total else {}
        counts: Counter[str] = Counter()
        for group in groups:
            if found := self.of(group[0].params):
                counts[str(found)] += len(group)
        return dict(counts)


def refused_packs(loaded: "LoadedStudy") -> list[str]:
    """What keeps a study from being packed, if it asks for a number; a line for each mistake."""
    number = loaded.config.pack
    if not isinstance(number, int) or number == 1:
        return []
    start = f"{loaded.place('study.pack')}: study.pack: {number} runs side by side"
    if "seed" not in loaded.space.vary:
        return [f"{start} differ by their seed, and no seed is varied; add `study.seeds: {number}`, or drop `pack`"]
    reasons = Reasons(loaded)
    found: dict[Forbidden, Params] = {}
    for group in loaded.space.groups:
        if forbidden := reasons.of(group[0].params):
            found.setdefault(forbidden, group[0].params)
    return [
        f"{start} are impossible with {forbidden} ({loaded.place(forbidden.key, params).origin}). Drop or change "
        f"`{forbidden.key}`, or write `study.pack: auto`, which trains such runs singly"
        for forbidden, params in found.items()
    ]

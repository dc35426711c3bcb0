"""The kinds of things that a plugin can offer: everything that is the same for all of them is driven by this table.

    kind_of(spec).hook          # "undertow_register_cells"
    KINDS["probe"].plural       # "probes": the field of `Registry`, and the word of `undertow list`

A new kind needs a type of spec, a hook in `api.hookspecs`, an entry here, and a field and a method of `Registry`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from undertow.api.spec import BlockSpec, CallbackSpec, CellSpec, OptimizerSpec, ProbeSpec, Spec, TaskSpec

KindName = Literal["cell", "block", "task", "probe", "optimizer", "callback"]

Plural = Literal["cells", "blocks", "tasks", "probes", "optimizers", "callbacks"]


@dataclass(frozen=True)
class Kind:
    """A kind of thing that a plugin can offer.

    Attributes:
        name: One of them.
        plural: Several of them.
        spec: The type of its specs.
        base: What its classes are subclasses of, as ``"package.module:Class"``.
    """

    name: KindName
    plural: Plural
    spec: type[Spec]
    base: str

    @property
    def one(self) -> str:
        """One of them with its article, such as ``a cell``."""
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name}"

    @property
    def hook(self) -> str:
        """The hook that registers it."""
        return f"undertow_register_{self.plural}"

    @property
    def base_label(self) -> str:
        """The base class as its users import it, such as ``undertow.Cell``."""
        module, _, name = self.base.partition(":")
        return f"undertow.{name}" if module.startswith("undertow.") else f"{module}.{name}"


KINDS: Mapping[KindName, Kind] = {
    kind.name: kind
    for kind in (
        Kind("cell", "cells", CellSpec, "undertow.api.contract:Cell"),
        Kind("block", "blocks", BlockSpec, "undertow.api.contract:Block"),
        Kind("task", "tasks", TaskSpec, "undertow.api.contract:Task"),
        Kind("probe", "probes", ProbeSpec, "undertow.api.contract:Probe"),
        Kind("optimizer", "optimizers", OptimizerSpec, "torch.optim:Optimizer"),
        Kind("callback", "callbacks", CallbackSpec, "pytorch_lightning:Callback"),
    )
}

BY_PLURAL: Mapping[Plural, Kind] = {kind.plural: kind for kind in KINDS.values()}


def kind_of(spec: Spec) -> Kind:
    """The kind that a spec describes."""
    return next(kind for kind in KINDS.values() if isinstance(spec, kind.spec))

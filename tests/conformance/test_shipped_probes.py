"""Every shipped probe against the kit, with its default options and with others."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from undertow.plugins.host import load_plugins
from undertow.testing import ProbeConformance

REGISTRY = load_plugins()
SHIPPED = [name for name, entry in REGISTRY.probes.items() if entry.plugin.distribution.startswith("undertow-")]
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "gradient-profile": [{"lags": 2}],
    "saturation": [{"points": 2}],
    "jacobian": [{"power_iterations": 2, "vectors": 2, "lags": 3}],
    "weights": [{"points": 1}],
    "lyapunov": [{"exponents": 1, "burn_in": 3}],
    "memory": [{"span": "step", "fill": "zeros"}],
}
"""Options that are not the defaults."""


def cases() -> Iterator[Any]:
    for name in SHIPPED:
        for options in ({}, *VARIANTS.get(name, ())):
            settings = ",".join(f"{key}={value}" for key, value in options.items())
            yield pytest.param(name, options, id=f"{name}({settings})" if options else name)


@pytest.mark.parametrize(("name", "options"), [*cases()])
def test_a_shipped_probe_passes_every_check(
    name: str, options: dict[str, Any], assert_conforms: Callable[..., None]
) -> None:
    assert_conforms(ProbeConformance.of(name, options=options), ())


def test_every_variant_is_of_a_shipped_probe() -> None:
    assert VARIANTS.keys() <= set(SHIPPED)

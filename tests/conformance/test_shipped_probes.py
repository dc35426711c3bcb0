"""Every shipped probe against the kit, as its spec has it and with few points to look at."""

from typing import Any

import pytest

from undertow.plugins.host import load_plugins
from undertow.testing import ProbeConformance

REGISTRY = load_plugins()
SHIPPED = [name for name, entry in REGISTRY.probes.items() if entry.plugin.distribution.startswith("undertow-")]
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "gradient-profile": [{"lags": 2}, {"joint": True}],
    "saturation": [{"points": 2}],
    "jacobian": [{"power_iterations": 2, "vectors": 1}],
    "lyapunov": [{"exponents": 1, "burn_in": 3}],
    "memory": [{"span": "step", "fill": "zeros"}],
}
"""Options that are not the defaults."""


def cases() -> list[Any]:
    made = []
    for name in SHIPPED:
        for options in ({}, *VARIANTS.get(name, ())):
            said = ",".join(f"{key}={value}" for key, value in options.items())
            made.append(pytest.param((name, options), id=f"{name}({said})" if options else name))
    return made


class TestShippedProbe(ProbeConformance):
    @pytest.fixture(autouse=True, params=cases())
    def case(self, request: pytest.FixtureRequest) -> None:
        self.name, self.options = request.param


def test_every_variant_is_of_a_shipped_probe() -> None:
    assert VARIANTS.keys() <= set(SHIPPED)

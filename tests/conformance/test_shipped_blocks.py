"""The platform's own blocks against the kit."""

from collections.abc import Callable

import pytest

from undertow.plugins.host import load_plugins
from undertow.testing import BlockConformance

OWN = [name for name, entry in load_plugins().blocks.items() if entry.plugin.distribution == "undertow"]


@pytest.mark.parametrize("name", OWN)
def test_a_block_of_the_platform_passes_every_check(name: str, assert_conforms: Callable[..., None]) -> None:
    assert_conforms(BlockConformance.of(name), ())


def test_there_are_three() -> None:
    assert OWN == ["plain", "residual", "glu"]

"""What docker/compose.yaml says, for tests that start the same programs without containers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


@dataclass(frozen=True)
class Service:
    """A service of the compose file, with its variables replaced."""

    command: list[str]
    environment: dict[str, str]
    health: list[str]


class Compose:
    """The services of docker/compose.yaml, as `docker compose` would start them.

    Args:
        variables: What .env holds.
        places: Text to replace in commands and environments: addresses and folders in a container by those here. Where
            several match, the first one counts.
    """

    def __init__(self, variables: Mapping[str, str], places: Mapping[str, str]) -> None:
        self._services: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
        self._variables = variables
        self._places = places
        self._there = re.compile("|".join(map(re.escape, places)))

    def __getitem__(self, name: str) -> Service:
        service = self._services[name]
        environment = {key: self._here(value) for key, value in service.get("environment", {}).items()}
        command = [self._here(word) for word in service["command"]]
        return Service(command, environment, [self._here(word) for word in service["healthcheck"]["test"][1:]])

    def _here(self, text: str) -> str:
        return self._there.sub(lambda found: self._places[found[0]], _VARIABLE.sub(self._value, text)).replace(
            "$$", "$"
        )

    def _value(self, found: "re.Match[str]") -> str:
        name, kind, default = found.groups()
        if name not in self._variables:
            assert kind == "-", f"{name} has no value"
            return str(default)
        return self._variables[name]


@pytest.fixture(scope="session")
def compose() -> type[Compose]:
    """The class that reads the compose file."""
    return Compose

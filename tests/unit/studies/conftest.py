"""A small study and its ledger. No trial runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.studies.plan.load import LoadedStudy, load_study_mapping
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.trial import Assignment, Outcome

Mapping = dict[str, Any]


@pytest.fixture
def mapping() -> Mapping:
    return {
        "question": "Does it hold?",
        "task": {"name": "digit"},
        "cell": {"name": "rnn", "hidden_size": 4},
        "study": {"name": "small", "vary": {"cell.name": ["rnn", "lstm"], "seed": [0, 1]}},
    }


@pytest.fixture
def load(mapping: Mapping) -> Callable[..., LoadedStudy]:
    def load(*overrides: str) -> LoadedStudy:
        return load_study_mapping(mapping, overrides)

    return load


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of Optuna's to copy, made once."""
    from undertow.studies.store.storage import open_storage

    path = tmp_path_factory.mktemp("ledger") / "optuna.db"
    open_storage(f"sqlite:///{path}")
    return path


@pytest.fixture
def open_ledger(home: Path, empty_ledger: Path, load: Callable[..., LoadedStudy]) -> Callable[..., Ledger]:
    """Open the ledger of the small study, as often as needed."""
    file = home / "optuna.db"
    file.write_bytes(empty_ledger.read_bytes())

    def open_ledger(*overrides: str) -> Ledger:
        return Ledger.open(f"sqlite:///{file}", load(*overrides), {"run": "0" * 32, "facts": {}})

    return open_ledger


@pytest.fixture
def finish() -> Callable[[Ledger], list[str]]:
    """Complete every combination that is left; returns them in the order in which they were run."""

    def finish(ledger: Ledger) -> list[str]:
        done = []
        while ledger.plan():
            (claim,) = ledger.take()
            ledger.assign(claim, Assignment("me", "here", f"/runs/{claim.number}", "1" * 32, str(claim.combination)))
            ledger.report(claim, 1, 0.75)
            ledger.complete(claim, [0.5], Outcome(metrics={"val/loss": 0.5}, steps=3))
            done.append(str(claim.combination))
        return done

    return finish

"""Loggers of Lightning beside MLflow."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from pytorch_lightning.loggers import Logger

from undertow.config.load import load_mapping
from undertow.errors import RequestError
from undertow.train.loggers import mirrored, require_loggers

CONFIG = {"task": {"name": "adding", "length": 10}, "cell": {"name": "lstm", "hidden_size": 3}, "probes": []}
CSV = "track.loggers=[{name: pytorch_lightning.loggers.CSVLogger, options: {name: mine}}]"


class Fragile(Logger):
    """Fails in one of its methods."""

    fails = ""

    def __init__(self) -> None:
        super().__init__()
        self._do("init")
        self.logged: list[object] = []

    def _do(self, what: str) -> None:
        if self.fails == what:
            raise OSError(f"no connection in {what}")

    @property
    def name(self) -> str:
        return "fragile"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._do("metrics")

    def log_hyperparams(self, params: object, *args: object, **kwargs: object) -> None:
        self._do("hyperparams")

    def save(self) -> None:
        self._do("save")

    def finalize(self, status: str) -> None:
        self._do("finalize")


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> type[Fragile]:
    module = ModuleType("fragile_logger")
    module.Fragile = Fragile
    monkeypatch.setitem(sys.modules, "fragile_logger", module)
    return Fragile


def test_a_logger_gets_every_row_and_the_parameters(new_journal: Callable, tmp_path: Path) -> None:
    journal = new_journal()
    with mirrored(journal, load_mapping(CONFIG, [CSV]).config, tmp_path) as both:
        both.metrics([("train/loss", 0.5, 10), ("train/lr", 0.1, 10)])
        both.metrics([("gradient/h/by_lag", 0.0, 1), ("gradient/h/by_lag", -1.0, 2)])
        both.tags({"undertow.end": "x"})
        both.sync()
    assert len(journal.rows) == 4
    assert journal.tagged == {"undertow.end": "x"}
    (table,) = tmp_path.glob("loggers/mine/version_0/metrics.csv")
    lines = table.read_text().splitlines()
    assert "train/loss" in lines[0]
    assert len(lines) == 4, "a header, and a line for each step"
    assert "hidden_size: '3'" in (table.parent / "hparams.yaml").read_text()


@pytest.mark.parametrize("fails", ["init", "hyperparams", "metrics", "save", "finalize"])
def test_a_logger_that_fails_is_left_out_and_the_others_go_on(
    fails: str, fragile: type[Fragile], new_journal: Callable, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(fragile, "fails", fails)
    journal = new_journal()
    loggers = f"track.loggers=[{{name: fragile_logger.Fragile}}, {CSV.removeprefix('track.loggers=[')}"
    with mirrored(journal, load_mapping(CONFIG, [loggers]).config, tmp_path) as both:
        for step in (1, 2):
            both.metrics([("train/loss", 0.5, step)])
            both.sync()
    assert [step for _, _, step in journal.rows] == [1, 2]
    assert journal.tagged == {"undertow.logger.0.Fragile.error": f"OSError: no connection in {fails}"}
    assert capsys.readouterr().err.count("track.loggers.0.Fragile failed and is left out") == 1
    (table,) = tmp_path.glob("loggers/mine/version_0/metrics.csv")
    assert len(table.read_text().splitlines()) == 3


def test_without_loggers_there_is_nothing_between_a_run_and_its_journal(new_journal: Callable, tmp_path: Path) -> None:
    journal = new_journal()
    with mirrored(journal, load_mapping(CONFIG).config, tmp_path) as same:
        assert same is journal


@pytest.mark.parametrize(
    ("logger", "message"),
    [
        ("{name: pytorch_lightning.loggers.CSVLoger}", r"has no class `CSVLoger`\. Did you mean `CSVLogger`"),
        ("{name: pytorch_lightning.Trainer}", "is no logger of Lightning"),
        ("{name: no_such_module.Logger}", "cannot be imported"),
        ("{name: pytorch_lightning.loggers.CSVLogger, options: {nam: x}}", "options.nam: CSVLogger has no such arg"),
    ],
)
def test_a_wrong_logger_is_refused_with_its_key(logger: str, message: str) -> None:
    with pytest.raises(RequestError, match=r"track\.loggers\.0\..*" + message):
        require_loggers(load_mapping(CONFIG, [f"track.loggers=[{logger}]"]).config)

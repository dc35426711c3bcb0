"""Tracking URIs that no store can have are refused, with what to write instead; secrets in them are not shown."""

from pathlib import Path

import pytest

from undertow.errors import RequestError
from undertow.tracking import RunFolder, tracking_uri
from undertow.tracking.mlflow.addresses import address_of


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("gopher://store", "no `gopher:` store"),
        ("htttp://127.0.0.1:5000", "no `htttp:` store"),
        ("s3://bucket/store", "no `s3:` store"),
        ("localhost:5000", "http://localhost:5000"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("my-server.example:5000/mlflow", "http://my-server.example:5000/mlflow"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("localhost:99999", "between 1 and 65535"),
        ("http://127.0.0.1:99999", "between 1 and 65535"),
        ("http://127.0.0.1:0", "between 1 and 65535"),
        ("http://127.0.0.1:port", "malformed"),
        ("http://[::1:5000", "malformed"),
        ("http://", "no host"),
        ("http://:5000", "no host"),
        ("http://my server", "a blank"),
        ("postgresql+psycopg://host:99999/db", "between 1 and 65535"),
        ("sqlite://store.db", "a file"),
        ("sqlite:store.db", "a file"),
        ("sqlite:///:memory:", "a file"),
        ("sqlite:///", "a file"),
        ("./mlruns", "plain folder"),
        ("file:///mlruns", "plain folder"),
    ],
)
def test_an_impossible_uri_is_refused_before_anything_is_written(tmp_path: Path, uri: str, says: str) -> None:
    home = tmp_path / "runs"
    with pytest.raises(RequestError) as refusal:
        RunFolder.create(home, "lstm", experiment="e", uri=uri, config_yaml="seed: 0\n")
    assert says in str(refusal.value)
    assert uri in str(refusal.value)
    assert not home.exists()


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:5000",
        "https://mlflow.example/path",
        "http://[::1]:5000",
        "http://me:secret@host:5000",
        "databricks",
        "databricks://profile",
        "postgresql+psycopg:///db?host=/run",
    ],
)
def test_a_possible_uri_is_accepted_as_it_is(tmp_path: Path, uri: str) -> None:
    assert tracking_uri(tmp_path, uri) == uri


def test_a_scheme_that_a_plugin_of_mlflow_registers_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "site" / "mlflow_waves-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mlflow-waves\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mlflow.tracking_store]\nwaves = mlflow_waves:Store\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert tracking_uri(tmp_path, "waves://shore") == "waves://shore"


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:SECRET@host:99999",
        "http://SECRET@host:99999",
        "http://me:SE/SECRET@host",
        "http://host:99999/?token=SECRET",
        "gopher://me:SECRET@host",
        "me:SECRET@host:5000",
    ],
)
def test_a_refusal_does_not_show_the_secrets_of_the_uri(tmp_path: Path, uri: str) -> None:
    with pytest.raises(RequestError) as refusal:
        tracking_uri(tmp_path, uri)
    assert "SECRET" not in str(refusal.value)


def test_the_address_for_a_browser_has_neither_a_user_nor_a_query() -> None:
    assert address_of("http://TOKEN@host:5000/mlflow/?token=TOKEN#TOKEN") == "http://host:5000/mlflow"

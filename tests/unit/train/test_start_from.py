"""A run that starts with the weights of another one, and parameters that are not trained."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from undertow.config.load import load_mapping
from undertow.errors import RequestError
from undertow.train.build import Built, build

SMALL = ["train.max_steps=4", "train.val_every=2", "train.val_examples=8"]
LSTM = {"task": {"name": "adding", "length": 10}, "cell": {"name": "lstm", "hidden_size": 3}}


def built(*overrides: str) -> Built:
    return build(load_mapping(LSTM, overrides))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The weights of a network, as `torch.save` writes a state_dict."""
    file = tmp_path / "weights.pt"
    torch.save(built("seed=7").model.state_dict(), file)
    return file


def test_a_run_starts_with_the_weights_of_another_one(run_job: Callable) -> None:
    first = run_job(*SMALL, folder="first")
    second = run_job(*SMALL, "seed=5", "optim.lr=1e-30", f"train.start_from={first.folder}/last.ckpt", folder="second")
    for name, value in first.weights.items():
        torch.testing.assert_close(second.weights[name], value)


def test_what_was_loaded_is_recorded_with_its_digest(weights: Path) -> None:
    facts = built(f"train.start_from={weights}").facts()
    assert facts["undertow.start_from"].startswith(f"{weights}, sha256:")
    assert "undertow.start_from" not in built().facts()


def test_parameters_that_start_anew_have_the_values_that_the_seed_gives_them(weights: Path) -> None:
    """Also where the file has other shapes for them."""
    own, source = built().model.state_dict(), torch.load(weights)
    source["head.weight"] = torch.zeros(5, 3)
    torch.save(source, weights)
    model = built(f"train.start_from={weights}", "train.start_anew=['head.*']").model.state_dict()
    for name, value in model.items():
        assert torch.equal(value, own[name] if name.startswith("head.") else source[name]), name


def test_every_mismatch_is_named(weights: Path) -> None:
    source = torch.load(weights)
    source["head.weight"] = torch.zeros(5, 3)
    source["cells.0.extra"] = source.pop("cells.0.kernel.bias_hh_l0")
    torch.save(source, weights)
    with pytest.raises(RequestError) as caught:
        built(f"train.start_from={weights}")
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert "the network has `cells.0.kernel.bias_hh_l0` 12, the file does not" in lines
    assert "`head.weight` is 5×3 in the file, 1×3 in the network" in lines
    assert "the file has `cells.0.extra` 12, the network does not" in lines


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.start_from=no/such.ckpt", "--set .*train.start_from: there is neither a file no/such.ckpt nor"),
        ("train.start_from={broken}", "cannot be read as weights"),
        ("train.freeze=['cell.0.*']", r"train\.freeze\.0: `cell\.0\.\*` fits no parameter"),
        ("train.freeze=['*']", "nothing would be trained"),
    ],
)
def test_a_wrong_request_is_refused(override: str, message: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.ckpt"
    broken.write_text("not a checkpoint")
    with pytest.raises(RequestError, match=message):
        built(override.format(broken=broken))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_frozen_parameters_keep_their_values(run_job: Callable, optimizer: str) -> None:
    options = [*SMALL, "optim.weight_decay=0.1", f"optim.name={optimizer}"]
    start = run_job(*options, "optim.lr=1e-30", "optim.weight_decay=0", folder="start").weights
    trained = run_job(*options, "train.freeze=['cells.0.*']", folder="frozen").weights
    for name, value in trained.items():
        assert torch.allclose(value, start[name], rtol=1e-6) == name.startswith("model.cells.0."), name

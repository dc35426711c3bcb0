"""What `cell.block` and `cell.bidirectional` accept, and the error for each mistake."""

from pathlib import Path

import pytest

from undertow.config.load import flatten, load_mapping
from undertow.errors import RequestError
from undertow.studies.plan.load import load_study_mapping

PLUG = Path(__file__).with_name("plug.py")
BASE = {"task": {"name": "adding"}, "cell": {"name": "lstm"}}


def refused(*overrides: str) -> list[str]:
    with pytest.raises(RequestError) as caught:
        load_mapping(BASE, overrides, [PLUG])
    return str(caught.value).splitlines()


def test_the_network_of_a_file_that_names_no_block_is_plain() -> None:
    cell = load_mapping(BASE).config.cell
    assert (cell.block, cell.norm, cell.bidirectional, cell.block_options) == ("plain", "layer", False, {"plain": {}})


def test_options_of_a_block_are_checked_filled_in_and_recorded() -> None:
    options = "cell.block_options={wide: {expand: 3}}"
    config = load_mapping(BASE, ["cell.block=wide", options], [PLUG]).config
    assert flatten(config)["cell.block_options.wide.expand"] == "3"
    other = load_mapping(BASE, ["cell.block=glu", options], [PLUG]).config
    assert other.cell.block_options == {"glu": {}}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["cell.block=glue"], "cell.block: there is no block 'glue'. Did you mean `glu`?"),
        (["cell.norm=batch"], "cell.norm: 'batch' is not among the choices; allowed: layer, rms"),
        (
            ["cell.block=wide", "cell.block_options={wide: {expant: 3}}"],
            "cell.block_options.wide.expant: unknown key. Did you mean `expand`?",
        ),
        (
            ["cell.bidirectional=true", "task.name=char-lm"],
            "cell.bidirectional: task `char-lm` is aligned: it answers at every step, and a cell that runs "
            "backwards would have read what comes next: leave out `cell.bidirectional`",
        ),
        (
            ["cell.bidirectional=true", "task.name=reverse"],
            "cell.bidirectional: task `reverse` is seq2seq: it writes its answer step by step, and nothing can "
            "run backwards from steps to come: leave out `cell.bidirectional`",
        ),
        (
            ["cell.bidirectional=true", "task.name=digit"],
            "cell.bidirectional: task `digit` is one-to-one: it has one step, which has no direction: leave out "
            "`cell.bidirectional`",
        ),
        (
            ["cell.bidirectional=true", "train.truncate=7"],
            "train.truncate: the gradient is cut at steps that are counted back from the last, and a cell that "
            "runs backwards begins there: leave out this key or `cell.bidirectional`",
        ),
        (
            ["cell.bidirectional=true", "optim.omega=0.5"],
            "optim.omega: Ω is defined for states that pass forwards in time: leave out this key or "
            "`cell.bidirectional`",
        ),
    ],
)
def test_a_mistake_is_an_error_with_its_key_and_remedy(overrides: list[str], message: str) -> None:
    (line,) = refused(*overrides)
    assert line.startswith("--set ")
    assert line.endswith(f": {message}")


def test_block_and_direction_are_factors_of_a_study() -> None:
    vary = {"cell.block": ["plain", "glu"], "cell.bidirectional": [False, True]}
    loaded = load_study_mapping({**BASE, "study": {"name": "blocks", "vary": vary}})
    configs = [loaded.experiment(point) for point in loaded.space.points()]
    assert {(each.cell.block, each.cell.bidirectional) for each in configs} == {
        (block, both) for block in vary["cell.block"] for both in vary["cell.bidirectional"]
    }
    assert len({each.run_name for each in configs}) == 4

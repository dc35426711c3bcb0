"""Which combinations a study has."""

import pytest

from undertow.config.space import Combination, Range, Scalar, Space, frozen, twice, written


def test_every_combination_is_there_once_with_the_last_key_fastest() -> None:
    space = Space(vary={"cell.name": ("rnn", "lstm"), "seed": (0, 1)}, search={})
    assert [str(each) for each in space.combinations()] == [
        "cell.name=rnn seed=0",
        "cell.name=rnn seed=1",
        "cell.name=lstm seed=0",
        "cell.name=lstm seed=1",
    ]


def test_an_option_of_one_cell_is_varied_for_that_cell_alone() -> None:
    space = Space(vary={"cell.name": ("rnn", "lstm"), "cell.options.lstm.forget_bias": (0.0, 1.0)}, search={})
    assert [dict(each.params) for each in space.combinations()] == [
        {"cell.name": "rnn"},
        {"cell.name": "lstm", "cell.options.lstm.forget_bias": 0.0},
        {"cell.name": "lstm", "cell.options.lstm.forget_bias": 1.0},
    ]


def test_an_option_of_the_cell_that_all_runs_share_is_varied() -> None:
    key = "cell.options.lstm.forget_bias"
    assert len(list(Space(vary={key: (0.0, 1.0)}, search={}, base={"cell.name": "lstm"}).points())) == 2
    assert len(list(Space(vary={key: (0.0, 1.0)}, search={}, base={"cell.name": "gru"}).points())) == 1


def test_each_point_has_as_many_samples_as_are_configured() -> None:
    space = Space(vary={"seed": (0, 1)}, search={"optim.lr": Range(1e-4, 1e-2, log=True)}, samples=3)
    found = list(space.combinations())
    assert [(each.params["seed"], each.sample) for each in found] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
    assert len({each.key for each in found}) == 6


def test_a_conditional_key_is_searched_only_where_its_condition_holds() -> None:
    space = Space(
        vary={},
        search={
            "cell.name": Range(choices=("rnn", "lstm")),
            "cell.options.lstm.forget_bias": Range(0.0, 4.0),
            "optim.momentum": Range(0.0, 0.9, when={"optim.name": "sgd"}),
        },
        base={"optim.name": "adam"},
    )
    assert set(space.searched_at({})) == {"cell.name"}
    assert set(space.searched_at({"cell.name": "rnn"})) == set()
    assert set(space.searched_at({"cell.name": "lstm"})) == {"cell.options.lstm.forget_bias"}


def test_the_key_of_a_combination_does_not_depend_on_the_order_of_its_values() -> None:
    one, other = Combination({"seed": 0, "cell.name": "rnn"}), Combination({"cell.name": "rnn", "seed": 0})
    assert one.key == other.key
    assert Combination({"seed": 1, "cell.name": "rnn"}).key != one.key


def test_a_list_is_a_value_that_its_key_gives_back() -> None:
    space = Space(vary={"optim.betas": ((0.9, 0.999), (0.8, 0.99))}, search={})
    first, second = space.combinations()
    assert str(first) == "optim.betas=[0.9, 0.999]"
    assert first.key != second.key
    assert Combination.from_key(first.key) == first
    assert written(frozen([1, [2, 3]])) == [1, [2, 3]]


def test_values_that_python_or_optuna_cannot_tell_apart_are_there_twice() -> None:
    assert twice((1, 2, 1.0)) == (1, 1.0)
    assert twice((True, 1)) == (True, 1)
    assert twice(((1,), "[1]")) == ((1,), "[1]")
    assert twice((0.1, "0.1", None, "null", (1, 2), (2, 1))) is None


def test_the_cell_of_a_case_decides_which_options_are_varied() -> None:
    space = Space(
        vary={"case": ("plain", "gated"), "cell.options.lstm.forget_bias": (0.0, 1.0)},
        search={},
        cases={"plain": {"cell.name": "rnn"}, "gated": {"cell.name": "lstm", "cell.hidden_size": 8}},
    )
    assert [tuple(each.values()) for each in space.points()] == [("plain",), ("gated", 0.0), ("gated", 1.0)]


@pytest.mark.parametrize(
    ("searched", "values", "others"),
    [
        (Range(1, 9), (1, 9, 3.0), (0, 10, 2.5, "a", True, None)),
        (Range(1, 9, step=4), (1, 5, 9), (2, 8)),
        (Range(0.5, 2.0), (0.5, 1, 2.0), (0.49, 2.1)),
        (Range(0.0, 1.0, step=0.1), (0.3, 0.7, 1.0), (0.25,)),
        (Range(choices=("rnn", 2, None)), ("rnn", 2, 2.0, None), ("lstm", True)),
    ],
)
def test_a_range_tells_which_values_a_sampler_can_choose(
    searched: Range, values: tuple[Scalar, ...], others: tuple[Scalar, ...]
) -> None:
    assert [searched.has(value) for value in values] == [True] * len(values)
    assert [searched.has(value) for value in others] == [False] * len(others)

"""Which runs of a study are trained side by side, and how many together."""

from collections.abc import Callable

import pytest

from undertow.config.space import Combination
from undertow.errors import RequestError
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.plan.packs import Packs, Reasons, pack_size, singly

Load = Callable[..., LoadedStudy]

EIGHT = "study={name: small, vary: {cell.name: [rnn, lstm]}, seeds: 8}"


@pytest.mark.parametrize(
    ("replicates", "groups", "slots", "most", "size"),
    [
        (8, 6, 2, 32, 8),
        (1, 6, 2, 32, 1),
        (16, 1, 2, 32, 8),
        (16, 1, 3, 32, 6),
        (16, 2, 3, 32, 8),
        (16, 2, 8, 32, 4),
        (3, 1, 64, 32, 1),
        (32, 1, 1, 32, 32),
        (33, 1, 1, 32, 17),
        (8, 6, 2, 5, 4),
        (8, 6, 2, 1, 1),
        (8, 6, 2, 100, 8),
    ],
)
def test_packs_are_few_and_even_and_leave_no_slot_empty(
    replicates: int, groups: int, slots: int, most: int, size: int
) -> None:
    assert pack_size(replicates, groups, slots, most) == size


@pytest.mark.parametrize(("pack", "size"), [("auto", 8), ("off", 1), ("3", 3), ("100", 8)])
def test_the_size_follows_the_configuration(load: Load, pack: str, size: int) -> None:
    assert Packs(load(EIGHT, f"study.pack={pack}"), slots=2).size == size


def test_only_what_nothing_forbids_is_packed(load: Load) -> None:
    loaded = load(EIGHT, "study.cases={with: {optim.omega: 0.5}, without: {}}")
    packs = Packs(loaded, slots=1)
    found = {str(group[0].params["case"]): packs.most(group[0]) for group in loaded.space.groups}
    assert found == {"with": 1, "without": 8}
    assert Reasons(loaded).counted == {"optim.omega: Ω penalises each network by itself": 16}


@pytest.mark.parametrize(
    ("overrides", "counted"),
    [
        (["study.vary={cell.name: [rnn, lstm]}"], {}),
        (["study.vary={seed: [3]}"], {}),
        ([EIGHT], {}),
        ([EIGHT, "study.pack=off"], {"study.pack: off": 16}),
        ([EIGHT, "study.pruner.name=median"], {"study.pruner.name: `median` ends each run by itself": 16}),
    ],
    ids=["no seed", "one seed", "packed", "off", "pruner"],
)
def test_runs_that_are_trained_singly_although_they_have_replicates_are_counted_by_reason(
    load: Load, overrides: list[str], counted: dict[str, int]
) -> None:
    assert Reasons(load(*overrides)).counted == counted


def test_the_note_names_every_reason() -> None:
    assert singly({"a: b": 2, "c: d": 4}) == (
        "2 runs singly, not side by side (a: b); 4 runs singly, not side by side (c: d)"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("cell.dropout=0.5", "impossible with cell.dropout: replicates would share one random state (--set)"),
        ("study.pruner.name=median", "impossible with study.pruner.name: `median` ends each run by itself (--set)"),
        ("study.prune={gradient_at_cue: 0.5}", "impossible with study.prune.gradient_at_cue: it ends each run"),
        ("study.cases={on: {optim.omega: 0.5}, off: {}}", "impossible with optim.omega: Ω penalises each network"),
        ("train.precision=16-mixed", "impossible with train.precision: "),
        ("study.seeds=null", "no seed is varied; add `study.seeds: 4`, or drop `pack`"),
    ],
)
def test_a_number_is_refused_with_the_key_that_forbids_it_and_the_remedy(
    load: Load, override: str, message: str
) -> None:
    assert load(EIGHT, override).config.pack == "auto"
    with pytest.raises(RequestError) as error:
        load(EIGHT, "study.pack=4", override)
    (line,) = str(error.value).splitlines()
    assert line.startswith("--set study.pack=4: study.pack: 4 runs side by side ")
    assert message in line
    assert "seeds=null" in override or line.endswith("or write `study.pack: auto`, which trains such runs singly")


def test_configurations_are_resolved_once_for_equal_deciding_values(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study of thousands of combinations must not wait for this."""
    loaded = load(EIGHT, "study.vary={optim.omega: [0.0, 0.5], cell.hidden_size: [2, 3, 4, 5]}")
    resolve, calls = LoadedStudy.experiment, []
    monkeypatch.setattr(LoadedStudy, "experiment", lambda self, params: calls.append(params) or resolve(self, params))
    assert sum(Reasons(loaded).counted.values()) == 32
    assert len(calls) == 2


def test_replicates_are_those_that_differ_by_their_seed_alone(load: Load) -> None:
    space = load("study.vary={seed: [0, 1], cell.name: [rnn, lstm]}").space
    assert [str(each) for each in space.combinations()] == [
        *("seed=0 cell.name=rnn", "seed=0 cell.name=lstm", "seed=1 cell.name=rnn", "seed=1 cell.name=lstm")
    ]
    assert [[str(each) for each in group] for group in space.groups] == [
        ["seed=0 cell.name=rnn", "seed=1 cell.name=rnn"],
        ["seed=0 cell.name=lstm", "seed=1 cell.name=lstm"],
    ]
    assert Combination({"seed": 1}, 0).group != Combination({"seed": 1}, 1).group, "other samples are other values"

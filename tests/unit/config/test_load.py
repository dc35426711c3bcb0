"""Reading an experiment: what is accepted, what it becomes, and the error for each mistake."""

import json
import re
from pathlib import Path
from textwrap import dedent

import pytest

from undertow._system.redact import redacted
from undertow.config.load import (
    LoadedExperiment,
    dump,
    flatten,
    load_experiment,
    load_mapping,
    schema_json,
    without_password,
)
from undertow.config.yaml12 import parse
from undertow.errors import RequestError

MORE = """
    from undertow import CellSpec, hookimpl

    @hookimpl
    def undertow_register_cells():
        return [CellSpec(name="more", summary="M.", factory="x:Y", state=("h",))]
"""

GOOD = Path(__file__).with_name("good.yaml").read_text()


def load(text: str, *overrides: str) -> LoadedExperiment:
    Path("x.yaml").write_text(text)
    return load_experiment("x.yaml", overrides)


def refused(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RequestError) as caught:
        load(text, *overrides)
    return str(caught.value).splitlines()


def test_a_file_is_resolved_against_its_plugins(folder: Path) -> None:
    config = load(GOOD + "seed: 3\n").config
    assert config.task.length == 64
    assert config.cell.options == {"gated": {"forget_bias": 1.0, "start": "zero", "span": (1, 2), "table": None}}
    assert config.task.options == {"count": {}}
    assert config.probes[0].options == {"lags": 32}
    assert config.plugins.files == [folder / "plug.py"]
    assert config.run_name == "gated-T64-s3"


def test_files_of_a_configuration_are_relative_to_it_and_plugin_files_to_the_working_folder(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "x.yaml").write_text(GOOD.replace("plug.py", "../plug.py"))
    (folder / "more.py").write_text(dedent(MORE))
    loaded = load_experiment(folder / "sub" / "x.yaml", ["cell.name=more"], ["more.py", "plug.py"])
    assert loaded.config.plugins.files == [folder / "plug.py", folder / "more.py"]
    assert loaded.origin["plugins.files"].endswith("x.yaml:8, --plugin")


def test_the_origin_of_each_value_is_known(folder: Path) -> None:
    text = GOOD.replace("hidden_size: 16", "hidden_size: 16\n  options: {gated: {start: learned}}")
    origin = load(text, "cell.options.gated.forget_bias=2.0", "optim.lr=1e-2").origin
    assert origin["cell.hidden_size"] == "x.yaml:4"
    assert origin["cell.options.gated.start"] == "x.yaml:5"
    assert origin["cell.options.gated.forget_bias"] == "--set"
    assert origin["optim.lr"] == "--set"
    assert origin["probes.0.every"] == "x.yaml:8"
    assert origin["probes.0.options.lags"] == "default"
    assert origin["task.length"] == "default"
    assert origin["train.max_steps"] == "default"


def test_options_of_another_known_cell_are_left_out(folder: Path) -> None:
    text = GOOD.replace("hidden_size: 16", "options: {gated: {forget_bias: 3.0}, touchy: {mood: any}}")
    assert load(text, "cell.name=plain").config.cell.options == {"plain": {}}


def test_a_dump_loads_back_to_an_equal_configuration(folder: Path) -> None:
    overrides = ["cell.options.gated={span: [3, 4], table: data/t.csv}", "question='1e-3: yes?'", "optim.lr=1e-5"]
    config = load(GOOD, *overrides).config
    Path("again.yaml").write_text(dump(config))
    assert load_experiment("again.yaml").config == config
    assert load_mapping(json.loads(json.dumps(parse(dump(config))[0]))).config == config


def test_a_mapping_is_read_like_a_file(folder: Path) -> None:
    mapping = {
        "task": {"name": "count"},
        "cell": {"name": "plain"},
        "probes": (),
        "plugins": {"files": [Path("plug.py")]},
    }
    loaded = load_mapping(mapping, ["seed=4"])
    assert loaded.config.seed == 4
    assert loaded.origin["cell.name"] == "<mapping>"
    with pytest.raises(RequestError, match=r"^<mapping>: cell\.hiden_size: unknown key\. Did you mean `hidden_size`\?"):
        load_mapping({**mapping, "cell": {"name": "plain", "hiden_size": 3}})
    with pytest.raises(RequestError, match=r"<mapping>: seed: .* is of type object, which YAML cannot hold"):
        load_mapping({**mapping, "seed": object()})
    with pytest.raises(RequestError, match=r"<mapping>: cell\.3: keys are text"):
        load_mapping({**mapping, "cell": {3: 4}})


def test_flatten_gives_readable_text_for_all_that_is_set(folder: Path) -> None:
    overrides = ["track.uri=postgresql://me:secret@host/db", "optim.betas=[0.5, 0.9]", "train.deterministic=true"]
    flat = flatten(without_password(load(GOOD, *overrides).config))
    assert flat["cell.name"] == "gated"
    assert flat["cell.options.gated.forget_bias"] == "1.0"
    assert flat["probes.gauge.every"] == "10"
    assert flat["probes.gauge.options.lags"] == "32"
    assert flat["optim.betas"] == "0.5, 0.9"
    assert flat["train.deterministic"] == "true"
    assert flat["track.uri"] == "postgresql://me:***@host/db"
    assert "optim.clip_norm" not in flat


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql+psycopg://me:secret@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("postgresql://me:s/e:c?r@et@host/db", "postgresql://me:***@host/db"),
        ("track.uri=http://me:secret@host", "track.uri=http://me:***@host"),
        (
            "postgresql://host/db?user=me&password=secret&sslmode=require",
            "postgresql://host/db?user=me&password=***&sslmode=require",
        ),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("sqlite:////a/b@c.db", "sqlite:////a/b@c.db"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    assert redacted(address) == shown


def test_the_schema_describes_every_section() -> None:
    assert {"task", "cell", "optim", "train", "probes", "track", "plugins", "seed"} <= set(schema_json()["properties"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cell: {name: plain, hidden_size: abc}",
         "cell.hidden_size: 'abc' is not a whole number; allowed: a whole number >= 1"),
        ("cell: {name: plain, hidden_size: '64'}",
         "cell.hidden_size: '64' is not a whole number; allowed: a whole number >= 1"),
        ("cell: {name: plain, hidden_size: true}",
         "cell.hidden_size: true is not a whole number; allowed: a whole number >= 1"),
        ("cell: {name: plain, hidden_size: 64.0}",
         "cell.hidden_size: 64.0 is not a whole number; allowed: a whole number >= 1"),
        ("cell: {name: plain, layers: 0}", "cell.layers: 0 is too small; allowed: a whole number >= 1"),
        ("cell: {name: plain, dropout: 1.0}", "cell.dropout: 1.0 is too large; allowed: a number >= 0 and < 1"),
        ("cell: {name: plain, hiden_size: 3}", "cell.hiden_size: unknown key. Did you mean `hidden_size`?"),
        ("cell: {name: null}", "cell.name: null is not text; allowed: text"),
        ("cell: plain", "cell: 'plain' is not a section; allowed: a section with the keys name, hidden_size, layers, "
         "dropout, block, norm, bidirectional, lr_scale, decay_scale, options, block_options"),
        ("optim: {scheduler: {name: cosin}}",
         "optim.scheduler.name: 'cosin' is not among the choices; allowed: constant, cosine, linear, step, "
         "exponential, plateau. Did you mean `cosine`?"),
        ("optim: {lr: .nan}", "optim.lr: nan is not a finite number; allowed: a number > 0"),
        ("optim: {lr: no}", "optim.lr: 'no' is not a number; allowed: a number > 0"),
        ("optim: {betas: [0.5]}", "optim.betas.1: required, but missing; allowed: a number >= 0 and < 1"),
        ("optim: {betas: 0.5}",
         "optim.betas: 0.5 is not a list; allowed: a list [a number >= 0 and < 1, a number >= 0 and < 1]"),
        ("optim: {clip_norm: 1.0, clip_value: 1.0}", "optim: clip_norm and clip_value exclude each other: keep one"),
        ("train: {devices: 0}",
         "train.devices: 0 is not among the choices; allowed: auto or a whole number >= 1"),
        ("train: {early_stopping: {patience: none}}",
         "train.early_stopping.patience: 'none' is not a whole number; allowed: a whole number >= 1"),
        ("train: {early_stopping: {pateince: 3}}",
         "train.early_stopping.pateince: unknown key. Did you mean `patience`?"),
        ("train: {deterministic: yes}",
         "train.deterministic: 'yes' is neither true nor false; allowed: true or false"),
        ("track: {experiment: ''}", "track.experiment: '' is too short; allowed: text that is not empty"),
        ("track: {tags: {a: 1}}", "track.tags.a: 1 is not text; allowed: text"),
        ("track: {tags: {a+b: c}}",
         "track.tags.a+b: the name 'a+b' cannot be tracked: letters, digits, `_`, `-`, `.`, `:`, `/` and blanks only"),
        ("track: {tags: {'': c}}",
         "track.tags.: the name '' cannot be tracked: letters, digits, `_`, `-`, `.`, `:`, `/` and blanks only"),
        ("track: {tags: {a/../b: c}}",
         "track.tags.a/../b: the name 'a/../b' cannot be tracked: as a path it would mean 'b'"),
        ("track: {tags: {undertow.seed: c}}",
         "track.tags.undertow.seed: names that start with `undertow.` are set by undertow; choose another name"),
        ("track: {tags: {mlflow.user: c}}",
         "track.tags.mlflow.user: names that start with `mlflow.` are set by MLflow; choose another name"),
        ("seed: -1", "seed: -1 is too small; allowed: a whole number >= 0 and < 4294967296"),
        ("trian: {}", "trian: unknown key. Did you mean `train`?"),
        ("train: {zzz: 1}",
         "train.zzz: unknown key. There is: accelerator, accumulate, batch_size, checkpoint, deterministic, devices, "
         "early_stopping, flush_denormals, freeze, log_every, max_steps, precision and 8 more; "
         "see `undertow show --schema`."),
    ],
)  # fmt: skip
def test_the_error_for_a_wrong_value_has_its_place_and_what_is_allowed(folder: Path, line: str, message: str) -> None:
    key = line.partition(":")[0]
    kept = [each for each in ("task: {name: count}", "cell: {name: plain}") if not each.startswith(key)]
    text = "\n".join([*kept, "probes: []", line])
    assert refused(text) == [f"x.yaml:{len(kept) + 2}: {message}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cell:\n  layers: 2\ntask: {name: count}",
         "x.yaml:1: cell.name: required, but missing; allowed: text (A name from `undertow list cells`)"),
        ("cell: {name: plain}",
         "x.yaml:1: task: required, but missing; allowed: a section with the keys name, length, options"),
    ],
)  # fmt: skip
def test_a_missing_key_points_to_its_section(folder: Path, text: str, message: str) -> None:
    assert refused(text) == [message]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cell.name=gatde", "cell.name: there is no cell 'gatde'. Did you mean `gated`?"),
        ("task.name=cuont", "task.name: there is no task 'cuont'. Did you mean `count`?"),
        ("probes.0.name=guage", "probes.0.name: there is no probe 'guage'. Did you mean `gauge`?"),
        ("task.length=5", "task.length: task `count` cannot have 5 steps; allowed: 8 to 512"),
        ("task.length=513", "task.length: task `count` cannot have 513 steps; allowed: 8 to 512"),
        (
            "evaluate.lengths=[8, 5]",
            "evaluate.lengths.1: task `count` cannot have 5 steps; allowed: 8 to 512",
        ),
        ("cell.options.gatde={}", "cell.options.gatde: there is no cell 'gatde'. Did you mean `gated`?"),
        ("task.options.x={}", "task.options.x: there is no task 'x'. There is: count."),
        ("cell.options.gated.forget_bais=1.0",
         "cell.options.gated.forget_bais: unknown key. Did you mean `forget_bias`?"),
        ("cell.options.gated.start=learnt",
         "cell.options.gated.start: 'learnt' is not among the choices; allowed: zero, learned. "
         "Did you mean `learned`?"),
        ("cell.options.gated.span.1=2.5",
         "cell.options.gated.span.1: 2.5 is not a whole number; allowed: a whole number"),
        ("probes.0.options.lags='9'", "probes.0.options.lags: '9' is not a whole number; allowed: a whole number"),
        ("probes.0.options.lag=9", "probes.0.options.lag: unknown key. Did you mean `lags`?"),
        ("train.checkpoint.metric=val/acuracy",
         "train.checkpoint.metric: task `count` has no metric 'val/acuracy'. Did you mean `val/accuracy`?"),
        ("train.checkpoint.metric=test/loss",
         "train.checkpoint.metric: 'test/loss' is measured once, after training, and nothing is chosen by it: name "
         "a metric of the validation split, `val/…`. Did you mean `val/loss`?"),
        ("train.early_stopping.metric=test/accuracy",
         "train.early_stopping.metric: 'test/accuracy' is measured once, after training, and nothing is chosen by it: "
         "name a metric of the validation split, `val/…`. Did you mean `val/accuracy`?"),
        ("train.early_stopping.metric=accuracy",
         "train.early_stopping.metric: task `count` has no metric 'accuracy'. Did you mean `val/accuracy`?"),
    ],
)  # fmt: skip
def test_an_error_found_by_a_plugin_names_the_override(folder: Path, change: str, message: str) -> None:
    text = GOOD.replace("hidden_size: 16", "options: {gated: {span: [1, 2]}}")
    assert refused(text, change) == [f"--set {change}: {message}"]


def test_an_option_whose_key_mlflow_refuses_as_a_parameter_is_refused(folder: Path) -> None:
    (line,) = refused(GOOD, "cell.name=tuned", "cell.options.tuned.rates={a: 1.0, a+b: 2.0}")
    assert line == (
        "--set cell.options.tuned.rates={a: 1.0, a+b: 2.0}: cell.options.tuned.rates.a+b: the name "
        "'cell.options.tuned.rates.a+b' cannot be tracked: letters, digits, `_`, `-`, `.`, `:`, `/` and blanks only"
    )


def test_all_mistakes_of_one_pass_are_reported(folder: Path) -> None:
    lines = refused(GOOD, "cell.name=gatde", "task.length=5", "probes=[{name: gauge}, {name: gauge}]")
    assert ": cell.name: there is no cell" in lines[0]
    assert ": task.length: task `count` cannot have" in lines[1]
    assert lines[2].endswith("probes.1.name: the probe `gauge` is here twice; keep one.")
    assert len(lines) == 3


def test_early_stopping_and_checkpoints_may_use_metrics_of_the_task(folder: Path) -> None:
    config = load(GOOD, "train.early_stopping.metric=val/accuracy", "train.checkpoint.metric=val/loss").config
    assert config.train.early_stopping is not None
    assert config.train.early_stopping.metric == "val/accuracy"


def test_the_error_for_a_default_probe_that_is_not_installed_has_the_remedy(folder: Path) -> None:
    text = "task: {name: count}\ncell: {name: plain}\nplugins: {files: [plug.py]}\n"
    (line,) = refused(text)
    assert "no probe 'gradient-profile'" in line
    assert "write `probes: []`" in line


def test_a_validator_of_a_plugin_that_raises_is_reported_without_a_traceback(folder: Path) -> None:
    (line,) = refused(GOOD, "cell.name=touchy", "cell.options.touchy.mood=low")
    assert re.search(r"cell\.options\.touchy: the options of `touchy` cannot be checked: RuntimeError: not today", line)
    assert "plug.py:" in line


def test_an_absent_scratch_file_is_reported_at_its_place(folder: Path) -> None:
    (line,) = refused(GOOD.replace("plug.py", "plug.py, gone.py"))
    assert line == "x.yaml:8: plugins.files.1: there is no file gone.py."


def test_a_scratch_file_that_the_environment_does_not_allow_is_refused_at_its_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "plug.py").write_text("raise RuntimeError('imported')")
    monkeypatch.setenv("UNDERTOW_PLUGINS_ALLOW", "/elsewhere/plug.py")
    (line,) = refused(GOOD)
    assert line.startswith(f"x.yaml:8: plugins.files.0: {folder / 'plug.py'}: UNDERTOW_PLUGINS_ALLOW does not list")
    (line,) = refused(GOOD.replace("plugins: {files: [plug.py]}\n", ""), f"plugins.files=[{folder / 'plug.py'}]")
    assert line.startswith("--set plugins.files=[")
    with pytest.raises(RequestError, match=r"plug\.py: UNDERTOW_PLUGINS_ALLOW does not list"):
        load_mapping({"task": {"name": "count"}, "cell": {"name": "plain"}}, plugin_files=["plug.py"])


def test_a_run_loads_the_copies_that_it_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERTOW_PLUGINS_ALLOW", "/elsewhere/plug.py")
    (folder / "x.yaml").write_text(GOOD)
    assert load_experiment("x.yaml", kept=folder).config.cell.name == "gated"


def test_a_strict_configuration_refuses_broken_plugins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = folder / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[undertow]\nmain = there_is_no_such_module\n")
    monkeypatch.syspath_prepend(str(folder))
    assert len(load(GOOD).registry.failures) == 1
    assert "broken:main" in "\n".join(refused(GOOD, "plugins.strict=true"))


# --- optimisers and callbacks of plugins -----------------------------------------------------------------------------


def test_the_options_of_the_chosen_optimiser_are_filled_in(folder: Path) -> None:
    config = load(GOOD, "optim.name=descent", "optim.lr=0.5").config
    assert (config.optim.options, config.optim.lr) == ({"descent": {"beta": 0.9}}, 0.5)
    assert load(GOOD, "optim.options.descent.beta=0.5").config.optim.options == {}  # adam is chosen
    assert (
        flatten(load(GOOD, "optim={name: descent, options: {descent: {beta: 0.5}}}").config)[
            "optim.options.descent.beta"
        ]
        == "0.5"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.name=adm", "optim.name: there is no optimizer 'adm'. Did you mean `adam`?"),
        ("optim.name=desent", "optim.name: there is no optimizer 'desent'. Did you mean `descent`?"),
        ("optim={name: descent, options: {descent: {bta: 1}}}",
         "optim.options.descent.bta: unknown key. Did you mean `beta`?"),
        ("optim.options={desent: {}}",
         "optim.options.desent: there is no optimizer 'desent'. Did you mean `descent`?"),
        ("optim={name: descent, betas: [0.5, 0.9]}",
         "optim.betas: this key is for adam and adamw; `descent` has options of its own: "
         "`undertow list optimizers descent`"),
        ("callbacks=[{name: wach}]", "callbacks.0.name: there is no callback 'wach'. Did you mean `watch`?"),
        ("callbacks=[{name: watch}, {name: watch}]", "callbacks.1.name: the callback `watch` is here twice; keep one."),
        ("callbacks=[{name: wait}, {name: watch, options: {lag: 1}}]",
         "callbacks.1.options.lag: unknown key. Did you mean `lags`?"),
        ("callbacks=[{name: wait, on_error: ignore}]",
         "callbacks.0.on_error: 'ignore' is not among the choices; allowed: fail, warn"),
    ],
)  # fmt: skip
def test_a_wrong_optimiser_or_callback_is_refused(folder: Path, override: str, message: str) -> None:
    (line,) = refused(GOOD, override)
    assert line == f"--set {override}: {message}"


def test_callbacks_keep_their_order_and_have_all_options(folder: Path) -> None:
    loaded = load(GOOD + "callbacks: [{name: watch, options: {lags: 3}}, {name: wait, on_error: warn}]\n")
    assert [(each.name, each.options, each.on_error) for each in loaded.config.callbacks] == [
        ("watch", {"lags": 3}, "fail"),
        ("wait", {}, "warn"),
    ]
    flat = flatten(loaded.config)
    assert (flat["callbacks.watch.options.lags"], flat["callbacks.wait.on_error"]) == ("3", "warn")
    assert load(dump(loaded.config)).config == loaded.config

"""The configuration of one experiment: what a YAML file may hold, with every default.

Everything is frozen, and an unknown key is an error. Options of a plugin are stored under its name
(``cell.options.lstm``), so that after a change of ``cell.name`` none of them applies to another cell.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from undertow._system.names import check_name
from undertow.config.study_schema import StudyConfig
from undertow.config.types import Count, Fraction, NonNegative, Positive, Section


class TaskConfig(Section):
    """Which task, and how long its sequences are."""

    name: str
    """A name from `undertow list tasks`."""
    length: Count | None = None
    """Sequence length in time steps; the task's own default when absent."""
    options: dict[str, dict[str, Any]] = {}
    """The task's own options, under its name."""


class CellConfig(Section):
    """Which cell, what surrounds it, and how wide and deep the network is."""

    name: str
    """A name from `undertow list cells`."""
    hidden_size: Count = 128
    """Width H of every layer."""
    layers: Count = 1
    """How many layers are stacked."""
    dropout: Fraction = 0.0
    """Probability of dropping an activation that the cell of a layer above the first reads."""
    block: str = "plain"
    """What surrounds the cell of each layer, from `undertow list blocks`; `plain`: nothing."""
    norm: Literal["layer", "rms"] = "layer"
    """The norm in a block; `plain` has none."""
    bidirectional: bool = False
    """Whether each layer has a second cell that runs backwards, for tasks that answer once, at the end."""
    lr_scale: dict[str, NonNegative] = {}
    """Factors on `optim.lr`, by parameter of the cell, such as `{weight_hh: 0.1}`, in every layer; 0 trains nothing."""
    decay_scale: dict[str, NonNegative] = {}
    """Factors on `optim.weight_decay`, by parameter of the cell, in every layer; 0 decays nothing."""
    options: dict[str, dict[str, Any]] = {}
    """The cell's own options, under its name."""
    block_options: dict[str, dict[str, Any]] = {}
    """The block's own options, under its name."""


class Scheduler(Section):
    """How the learning rate changes, once each training step."""

    name: Literal["constant", "cosine", "linear", "step", "exponential", "plateau"] = "constant"
    """`cosine` and `linear` fall to zero at `train.max_steps`; `plateau` depends on the validation loss."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the rate first rises linearly from zero."""
    gamma: Positive = 0.1
    """Factor of `step`, `exponential` (over `every` steps) and `plateau`."""
    every: Count = 1000
    """Steps after which `step` multiplies by `gamma`, and over which `exponential` falls by `gamma`."""
    patience: Count = 5
    """Validations without improvement before `plateau` multiplies by `gamma`."""

    @model_validator(mode="after")
    def _plateau_has_no_warmup(self) -> "Scheduler":
        if self.name == "plateau" and self.warmup_steps:
            raise ValueError("a plateau schedule has no warm-up: drop warmup_steps or choose another schedule")
        return self


class OptimConfig(Section):
    """The optimiser."""

    name: str = "adam"
    """A name from `undertow list optimizers`."""
    lr: Positive = 1e-3
    """Learning rate."""
    weight_decay: NonNegative = 0.0
    """Weight decay (decoupled for adamw, L2 for the others)."""
    momentum: Fraction = 0.0
    """Momentum of sgd and rmsprop."""
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = (0.9, 0.999)
    """Decay rates of adam and adamw."""
    clip_norm: Positive | None = None
    """Largest norm of the whole gradient; a larger one is scaled down."""
    clip_value: Positive | None = None
    """Largest absolute value of one gradient entry; a larger one is clipped."""
    options: dict[str, dict[str, Any]] = {}
    """The own options of an optimiser that comes from a plugin, under its name."""
    omega: NonNegative = 0.0
    """Weight of Pascanu's Ω, a penalty on steps that change the norm of the gradient (arXiv 1211.5063)."""
    scheduler: Scheduler = Scheduler()
    """The learning-rate schedule."""

    @model_validator(mode="after")
    def _at_most_one_clip(self) -> "OptimConfig":
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError("clip_norm and clip_value exclude each other: keep one")
        return self


class EarlyStopping(Section):
    """Stop when a validation metric no longer improves, or has reached a threshold."""

    metric: str = "val/loss"
    """A validation metric."""
    patience: Count = 5
    """Validations without improvement before the run stops."""
    min_delta: NonNegative = 0.0
    """Smaller changes do not count as improvement."""
    threshold: float | None = None
    """The run stops once the metric is better than this."""


class Checkpoints(Section):
    """When checkpoints are saved: `last.ckpt` at every save, `best.ckpt` by `metric`."""

    every: Count | None = None
    """Steps between two saves of `last.ckpt`; at every validation when absent."""
    metric: str = "val/loss"
    """The validation metric that decides which checkpoint is the best."""


class TrainConfig(Section):
    """The training loop and the hardware it runs on."""

    max_steps: Count = 2000
    """Training steps (optimiser updates)."""
    batch_size: Count = 64
    """Examples of one batch, over all devices together."""
    start_from: Annotated[Path | None, Field(strict=False)] = None
    """Weights to start with: the folder of another run (its best checkpoint), or a file; relative to the configuration
    file, or else to the working folder. Absent: the cell's initial values."""
    start_anew: list[str] = []
    """Parameters that `start_from` leaves at their initial values, by patterns of their names, such as `head.*`."""
    freeze: list[str] = []
    """Parameters that are not trained, by patterns of their names, such as `cells.0.*`."""
    truncate: Count | None = None
    """Time steps after which backpropagation is cut, counted back from the last; never when absent."""
    accumulate: Count = 1
    """Batches whose gradients are averaged in one step."""
    val_every: Count = 200
    """Training steps between two validations."""
    val_examples: Count = 1024
    """Examples of one validation (fewer if the split holds fewer)."""
    log_every: Count = 10
    """Training steps between two points of `train/loss`."""
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    """Kind of device."""
    devices: Literal["auto"] | Count = "auto"
    """How many devices; `auto` takes every GPU, or one CPU process where there is none."""
    strategy: str = "auto"
    """A Lightning strategy, such as `ddp`; `auto` takes `ddp` for several devices."""
    precision: Literal["32-true", "64-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true"] = "32-true"
    """Number format, as Lightning names it."""
    deterministic: bool = False
    """Refuse operations whose result may differ from run to run."""
    flush_denormals: bool = True
    """Read numbers below the normal range of the format (float32: 1.2e-38) as 0; they slow a CPU down several times."""
    threads: Count | None = None
    """CPU threads of one process; torch's own choice when absent."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that prepare batches; 0 prepares them in the training process."""
    early_stopping: EarlyStopping | None = None
    """Absent: train for all of `max_steps`."""
    checkpoint: Checkpoints = Checkpoints()
    """When checkpoints are saved."""


class ProbeConfig(Section):
    """One probe and when it measures; it always measures before the first step and after the last."""

    name: str
    """A name from `undertow list probes`."""
    every: Count | None = None
    """Training steps between two measurements; at the start and the end only when absent."""
    examples: Count = 32
    """Size of the fixed sub-batch of the validation split it measures on."""
    on_error: Literal["fail", "warn"] = "fail"
    """What happens when it raises: `fail` ends the run, `warn` records the error as a tag and continues."""
    options: dict[str, Any] = {}
    """The probe's own options."""


class CallbackConfig(Section):
    """One callback of a plugin. It is called in the place of this entry among the others, and before probes measure."""

    name: str
    """A name from `undertow list callbacks`."""
    on_error: Literal["fail", "warn"] = "fail"
    """What happens when it raises: `fail` ends the run, `warn` records the error as a tag and calls it no more."""
    options: dict[str, Any] = {}
    """The callback's own options."""


class EvaluateConfig(Section):
    """What the trained network is evaluated on at the end: the best checkpoint, on the test split, once."""

    test: bool = True
    """Evaluate on the test split: `test/loss`, `test/<metric>`. Nothing is chosen by these scores."""
    lengths: list[Count] = []
    """Sequence lengths in time steps, also other than the trained one: curves `test/<metric>/by_length`."""
    examples: Count | None = None
    """Test examples, at each length; absent: the whole split, or `train.val_examples` of one without end."""


def _tag_name(name: str) -> str:
    """Return the name of a tag that a configuration may set, or raise ValueError."""
    for prefix, owner in (("mlflow.", "MLflow"), ("undertow.", "undertow")):
        if name.startswith(prefix):
            raise ValueError(f"names that start with `{prefix}` are set by {owner}; choose another name")
    return check_name(name)


TagName = Annotated[str, AfterValidator(_tag_name)]


class LoggerConfig(Section):
    """A logger beside the record that goes to MLflow."""

    name: str
    """The import path of any logger for Lightning, such as `pytorch_lightning.loggers.TensorBoardLogger`."""
    options: dict[str, Any] = {}
    """Its own arguments; a `save_dir` that is not given is a folder `loggers` in the run folder."""


class TrackConfig(Section):
    """What is recorded, and where."""

    experiment: Annotated[str, Field(min_length=1)] = "default"
    """The MLflow experiment."""
    run_name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The run's name; its factors, such as ``lstm-T256-s1``, when absent."""
    uri: str | None = None
    """MLflow tracking URI; `MLFLOW_TRACKING_URI`, or else an SQLite store beside the run folders, when absent."""
    log_checkpoint: bool = False
    """Store the best checkpoint with the run in MLflow."""
    log_model: bool = False
    """Store an inference-ready model with its signature in MLflow."""
    tags: dict[TagName, str] = {}
    """More tags for the run; no name starts with `mlflow.` or `undertow.`."""
    loggers: list[LoggerConfig] = []
    """More loggers, which get every row; one that fails is left out, and the run goes on."""


class PluginsConfig(Section):
    """Which plugins may be loaded."""

    allow: list[str] | None = None
    """Only these distributions, by name; every installed one when absent."""
    block: list[str] = []
    """Never these distributions; they are not imported."""
    files: list[Path] = Field(default=[], strict=False)
    """Scratch plugins: Python files, relative to the configuration file."""
    strict: bool = False
    """Refuse to start when anything in a plugin fails to load."""


class ExperimentConfig(Section):
    """One experiment: a network, a task, how it is trained, what is measured and where it is recorded."""

    question: str = ""
    """What the experiment should answer, in a sentence; becomes the run's description."""
    task: TaskConfig
    cell: CellConfig
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    probes: list[ProbeConfig] = [ProbeConfig(name="gradient-profile", every=100)]
    """What is measured; the gradient profile every 100 steps when absent."""
    callbacks: list[CallbackConfig] = []
    """What else acts on the training: callbacks of plugins, in their order."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """What the trained network is evaluated on at the end."""
    track: TrackConfig = TrackConfig()
    plugins: PluginsConfig = PluginsConfig()
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Fixes the initial weights, the examples and their order."""
    study: StudyConfig | None = None
    """Many runs of this experiment, for `undertow study run`; a single run when absent."""

    @property
    def summary(self) -> str:
        """What is trained on what, in one line, such as ``lstm (width 32) on adding, 100 time steps, seed 1``."""
        layers = f" x {self.cell.layers}" if self.cell.layers > 1 else ""
        return (
            f"{self.cell.name} (width {self.cell.hidden_size}{layers}) on {self.task.name}, {self.task.length} time "
            f"steps, {self.train.max_steps} training steps, seed {self.seed}"
        )

    @property
    def run_name(self) -> str:
        """The name given to the run, or else the factors that runs are compared by, such as ``lstm-T256-s1``."""
        return self.track.run_name or f"{self.cell.name.replace('/', '-')}-T{self.task.length}-s{self.seed}"

"""The `study:` section of a configuration file: which runs a study has, how they are run and compared."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from undertow.config.space import frozen, text_of, twice
from undertow.config.types import Count, Positive, Section

Scalar = str | bool | int | float | None
Value = Scalar | list[Scalar | list[Scalar]]

STUDY_NAME = r"^[\w.\- ]+$"
"""What the name of a study looks like; it is part of folder names and of searches in MLflow."""

LONGEST_NAME = 200
"""Characters in the name of a study."""

MOST_SEEDS = 10_000
"""The largest value of `seeds`."""

RENAMED = {"study.trials": "study.samples"}
"""Keys of earlier versions, and what each is called now."""


class SearchConfig(Section):
    """The values of one searched key: a range, or choices."""

    low: int | float | None = None
    """The smallest value; with `high`. Whole numbers on both sides search whole numbers."""
    high: int | float | None = None
    """The largest value."""
    log: bool = False
    """Sample the logarithm."""
    step: Annotated[int | float, Field(gt=0)] | None = None
    """Distance between two values of a range."""
    choices: Annotated[list[Scalar], Field(min_length=1)] | None = None
    """The values themselves, instead of a range."""
    when: dict[str, Value] = {}
    """Search it only where these other keys have these values."""

    @model_validator(mode="after")
    def _range_or_choices(self) -> "SearchConfig":
        bounds = self.low is not None and self.high is not None
        if bounds == (self.choices is not None) or (self.choices is not None and (self.low, self.high) != (None, None)):
            raise ValueError("give either `low` and `high`, or `choices`")
        if self.low is not None and self.high is not None:
            if self.low > self.high:
                raise ValueError(f"low ({self.low}) is above high ({self.high})")
            if self.log and self.low <= 0:
                raise ValueError(f"a range on a log scale starts above 0, not at {self.low}")
            if self.log and self.step is not None:
                raise ValueError("`log` and `step` exclude each other: keep one")
        return self


class Named(Section):
    """A sampler or pruner."""

    name: str
    """Its name, or its import path."""
    options: dict[str, Any] = {}
    """Its own arguments, by the names in its documentation."""


class PruneConfig(Section):
    """Prune a run for a reason that does not depend on the other runs."""

    gradient_at_cue: Positive | None = None
    """Prune before training when the gradient by the input at the cue is smaller than this share of that at lag 1."""


class ObjectiveConfig(Section):
    """What a study minimises or maximises."""

    metric: str = "val/loss"
    """A metric that the runs record."""
    direction: Literal["minimize", "maximize"] = "minimize"
    """Whether less or more is better."""
    at: Literal["last", "best"] = "last"
    """The value that counts: the last one recorded, or the best."""


class StudyConfig(Section):
    """Many runs of one experiment: a grid, a search, or a search at every point of a grid."""

    name: Annotated[str, Field(pattern=STUDY_NAME, max_length=LONGEST_NAME)] | None = None
    """The study's name; folder and file name of the configuration when absent."""
    vary: dict[str, Annotated[list[Value], Field(min_length=1)]] = {}
    """Values by dotted key; every combination is run once. A value may be a list."""
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] | None = None
    """Replicates of every combination: `8` is short for `vary: {seed: [0, 1, 2, 3, 4, 5, 6, 7]}`."""
    cases: dict[str, dict[str, Value]] = {}
    """Named settings of several keys together, varied as one factor called `case`."""
    search: dict[str, SearchConfig] = {}
    """What a sampler chooses, by dotted key."""
    samples: Count | None = None
    """Samples of the search at each point of the grid; needed with `search`."""
    enqueue: list[dict[str, Scalar]] = []
    """Known settings of searched keys, which the first samples at each point of the grid have; the sampler chooses
    what a setting leaves out."""
    sampler: Named = Named(name="tpe")
    """tpe, random, cmaes, gp, nsgaii, nsgaiii, qmc or brute-force; or the import path of any sampler for Optuna, such
    as `optuna_integration.BoTorchSampler`."""
    pruner: Named = Named(name="none")
    """none, median, percentile, hyperband, successive-halving, threshold, patient or wilcoxon; or the import path of
    any pruner for Optuna."""
    prune: PruneConfig = PruneConfig()
    """Reasons to prune a run that do not depend on the other runs."""
    objectives: Annotated[list[ObjectiveConfig], Field(min_length=1)] = [ObjectiveConfig()]
    """What is minimised or maximised; several make a Pareto front."""
    workers: Literal["auto"] | Count = "auto"
    """Runs at the same time; `auto` takes one for each core, or for each GPU share."""
    pack: Literal["auto", "off"] | Count = "auto"
    """Runs that differ by their seed alone are trained side by side in one process, a pack, with the results that each
    has alone, up to rounding. `auto` packs up to 32, divided evenly over the slots, and trains singly what cannot be
    packed; a number packs at most so many, and is refused if something forbids it; `off` packs nothing."""
    gpus_per_trial: Annotated[float, Field(gt=0.0)] = 1.0
    """GPUs of one run: a fraction lets several share one."""
    memory_per_trial: Positive | None = None
    """GiB of main memory that a run may take; a run that needs more fails, the others go on. A pack may take as much
    as its runs together."""
    retries: Annotated[int, Field(ge=0)] = 1
    """How often a run whose process died is retried, from its last checkpoint; one that raised an error is not."""
    trial_timeout: Positive | None = None
    """Seconds after which a run is stopped and counts as failed; a pack has those of its runs together."""
    time_budget: Positive | None = None
    """Seconds after which no further run is started by one `undertow study run`."""
    storage: str | None = None
    """Optuna's database: postgresql+psycopg://HOST/NAME, or journal:///FILE in a folder that all machines share, or
    sqlite:///FILE.db; UNDERTOW_STUDY_URI, or SQLite beside the runs, when it is not given."""

    @model_validator(mode="after")
    def _consistent(self) -> "StudyConfig":
        if not self.vary and not self.search and not self.cases and self.seeds is None:
            raise ValueError("a study needs `vary`, `seeds`, `cases`, `search` or several of them")
        if self.seeds is not None and "seed" in self.vary:
            short = f"`seeds: {self.seeds}` is short for {_short_for(self.seeds)}"
            raise ValueError(f"{short}, and `vary` has a seed: keep one")
        if "case" in self.vary:
            raise ValueError("vary.case: a case is a name from `cases`; all of them are varied")
        if self.search and self.samples is None:
            raise ValueError("`search` needs `samples`: how many to take at each point of the grid")
        if self.samples is not None and not self.search:
            raise ValueError("`samples` counts the samples of a `search`, and there is none; drop it")
        if self.enqueue and not self.search:
            raise ValueError("`enqueue` has settings of searched keys, and there is no `search`; drop it")
        if len(self.enqueue) > (self.samples or 0):
            raise ValueError(f"`enqueue` has {len(self.enqueue)} settings, and `samples` is {self.samples}: raise it")
        if "seed" in self.search:
            raise ValueError("search.seed: a seed is a replicate, not something to tune; put it into `vary`")
        if both := sorted(set(self.vary) & set(self.search)):
            raise ValueError(f"{', '.join(both)}: either varied or searched, not both")
        for key, values in self.vary.items():
            if same := twice(map(frozen, values)):
                first, second = map(text_of, same)
                these = "" if first == second else f": {first} and {second} are the same"
                raise ValueError(f"vary.{key}: a value is there twice{these}; keep one")
        if len(self.objectives) > 1 and self.pruner.name != "none":
            raise ValueError("Optuna prunes by one objective only: drop the pruner, or all but one objective")
        return self


def _short_for(seeds: int) -> str:
    """What `seeds` is short for, as text."""
    return "`vary: {seed: [0]}`" if seeds == 1 else f"`vary: {{seed: [0{', …' if seeds > 2 else ''}, {seeds - 1}]}}`"

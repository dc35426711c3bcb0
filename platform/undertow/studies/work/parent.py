"""The study's own run in MLflow: the parent of its trials' runs, with the report and the table.

    parent = ParentRun.open(home, loaded, uuid, made_from)
    ...
    parent.close("FINISHED", description=table, artifacts=[report])

One driver of a machine holds the lock of its folder; other drivers of that machine have no parent run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from undertow._system.lock import FileLock
from undertow.config.load import without_password
from undertow.config.schema import ExperimentConfig
from undertow.errors import RequestError
from undertow.plugins.neighbours import with_neighbours
from undertow.runs.experiment import keep_sources
from undertow.studies.plan.load import LoadedStudy
from undertow.tracking import Outbox, Provenance, RunFolder
from undertow.tracking.records import RunStatus


class ParentRun:
    """The study's own run; made by `open`."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @classmethod
    def open(cls, home: Path, loaded: LoadedStudy, uuid: str, made_from: Provenance) -> Self | None:
        """Create the run, or continue it.

        Args:
            home: Where run folders are.
            loaded: The study, with its kept copies of scratch plugins.
            uuid: The run's uuid, from the ledger.
            made_from: For its tags.

        Returns:
            The run; None while another driver of this machine holds its lock.

        Raises:
            RequestError: The folder cannot be created or read.
        """
        path = RunFolder.place(home, loaded.name, uuid)
        if (path / "run.json").is_file():
            folder = RunFolder.open(path)
            try:
                folder.acquire()
            except RequestError:  # its only reason: another process holds the lock
                return None
            with Outbox(folder.outbox) as outbox:
                outbox.status("RUNNING")
            return cls(folder)
        config = loaded.first
        try:
            folder = RunFolder.create(
                home,
                loaded.name,
                experiment=config.track.experiment,
                uri=config.track.uri,
                config_yaml=loaded.yaml(),
                uuid=uuid,
                prepare=lambda folder: _start_record(folder, loaded, without_password(config), made_from),
            )
        except RequestError:
            if FileLock(path / "lock").is_held():  # another driver was faster
                return None
            raise
        return cls(folder)

    def close(
        self,
        status: RunStatus | None,
        *,
        description: str = "",
        artifacts: Sequence[Path] = (),
        tags: Mapping[str, str] | None = None,
        experiment_tags: Mapping[str, str] | None = None,
    ) -> None:
        """Record the results of the study, and release the folder.

        Args:
            status: None while other drivers work on the study.
            description: Markdown, shown above the run.
            artifacts: Files in the folder.
            tags: More tags.
            experiment_tags: Tags for the experiment, such as a saved view.
        """
        with Outbox(self.folder.outbox) as outbox:
            outbox.tags({**(tags or {}), **({"mlflow.note.content": description} if description else {})})
            if experiment_tags:
                outbox.experiment_tags(experiment_tags)
            for artifact in artifacts:
                outbox.artifact(artifact)
            if status is not None:
                outbox.status(status)
        self.folder.release()


def _start_record(folder: RunFolder, loaded: LoadedStudy, config: ExperimentConfig, made_from: Provenance) -> None:
    """Record the start. The parameters are those of the plan; the configuration has what all trials share."""
    plan = {f"vary.{key}": ", ".join(map(str, values)) for key, values in loaded.config.vary.items()}
    plan |= {f"search.{key}": str(each.model_dump(exclude_defaults=True)) for key, each in loaded.config.search.items()}
    plan["objectives"] = ", ".join(f"{each.direction} {each.metric}" for each in loaded.config.objectives)
    with Outbox(folder.outbox) as outbox:
        outbox.start(
            folder.identity,
            params=plan,
            tags={**made_from.tags, **config.track.tags, "undertow.study": loaded.name, "undertow.kind": "study"},
            description=config.question,
        )
        outbox.artifact("config.yaml")
        for copy in with_neighbours(loaded.files):
            outbox.artifact(copy, Path("plugins", copy.parent.relative_to(loaded.files[0].parent)).as_posix())
    without_plugins = config.plugins.model_copy(update={"files": []})  # their copies are in the folder already
    keep_sources(folder, config.model_copy(update={"plugins": without_plugins}), made_from)

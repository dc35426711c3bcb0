"""The study's own run in MLflow: the parent that holds its trials' runs, its report and its table.

    parent = ParentRun.open(home, loaded, uuid, made_from)
    ...
    parent.close("FINISHED", description=table, artifacts=[report])

Its folder is held by one driver of a machine; the others work without.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from undertow.config.load import without_password
from undertow.config.schema import ExperimentConfig
from undertow.errors import RequestError
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
        """Begin the run, or go on with it.

        Args:
            home: Where run folders are.
            loaded: The study.
            uuid: Of the run, from the ledger.
            made_from: For its tags.

        Returns:
            The run; None while another driver of this machine holds it.
        """
        path = RunFolder.place(home, loaded.name, uuid)
        config = loaded.first
        try:
            if (path / "run.json").is_file():
                folder = RunFolder.open(path)
                folder.acquire()
                with Outbox(folder.outbox) as outbox:
                    outbox.status("RUNNING")
                return cls(folder)
            folder = RunFolder.create(
                home,
                loaded.name,
                experiment=config.track.experiment,
                uri=config.track.uri,
                config_yaml=loaded.yaml(),
                uuid=uuid,
            )
        except (RequestError, FileExistsError):
            return None
        _begin(folder, loaded, without_password(config), made_from)
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
        """Write down what the study came to, and let go of the folder.

        Args:
            status: None if others still work on it.
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


def _begin(folder: RunFolder, loaded: LoadedStudy, config: ExperimentConfig, made_from: Provenance) -> None:
    """The first record. Its parameters are those of the plan: what its trials share is in the configuration."""
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
    keep_sources(folder, config, made_from)

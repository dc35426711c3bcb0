"""How to repeat a study or one of its runs: the configuration to save, the variables to set, the commands to type.

    instructions = reproduction(results)
    instructions.run_command(folder)      # "undertow run FOLDER/config.yaml"

A stored configuration has ``***`` in the place of a password (`track.uri`, `study.storage`), and such an address cannot
be opened. The keys are left out here, and environment variables take their place.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from undertow.config.yaml12 import parse, write
from undertow.report.format import slug
from undertow.report.results import StudyResults

_VARIABLES = {"UNDERTOW_STUDY_URI": ("study", "storage"), "MLFLOW_TRACKING_URI": ("track", "uri")}
"""Environment variables that are read where these keys of the configuration are not set."""

_REDACTED = "***"


@dataclass(frozen=True)
class Reproduction:
    """What repeats a study.

    Attributes:
        file: A name for the configuration's file.
        config_yaml: The configuration, without the keys whose address has lost its password.
        redacted: The addresses of these keys, by environment variable.
    """

    file: str
    config_yaml: str
    redacted: Mapping[str, str]

    @property
    def commands(self) -> list[str]:
        """The commands in their order; the first ones set the variables, ``PASSWORD`` to be replaced."""
        variables = [
            f"export {variable}={shlex.quote(address.replace(_REDACTED, 'PASSWORD'))}"
            for variable, address in self.redacted.items()
        ]
        study = f"undertow study run {self.file}", f"undertow study report {self.file}"
        return [*variables, *study, self.run_command("RUN_FOLDER")]

    def run_command(self, folder: str) -> str:
        """The command that repeats one run from its folder."""
        command = f"undertow run {shlex.quote(folder + '/config.yaml')}"
        return f"{command} --set track.uri=null" if "MLFLOW_TRACKING_URI" in self.redacted else command


def reproduction(results: StudyResults) -> Reproduction:
    """What repeats a study and its runs."""
    config_yaml, redacted = results.config_yaml, {}
    if _REDACTED in config_yaml:
        data, _ = parse(config_yaml)
        for variable, (section, key) in _VARIABLES.items():
            if _REDACTED in str((data.get(section) or {}).get(key)):
                redacted[variable] = data[section].pop(key)
                if not data[section]:
                    del data[section]
        if redacted:
            config_yaml = write(data)
    return Reproduction(f"{slug(results.name)}.yaml", config_yaml, redacted)

"""The files of docker/: valid, pinned, without passwords; what each service may do, and who reaches it."""

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

import undertow

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
ONCE = {"accounts", "files"}
"""Services that run one command."""

services = pytest.mark.parametrize("service", SERVICES)


def instructions() -> list[list[str]]:
    """The instructions of the Dockerfile, in words."""
    lines = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text()).splitlines()
    return [line.split() for line in lines if line and not line.startswith("#")]


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)


# --- valid -----------------------------------------------------------------------------------------------------------


def test_the_compose_file_is_valid() -> None:
    schema = ["--builtin-schema", "vendor.compose-spec"]
    done = run(sys.executable, "-P", "-m", "check_jsonschema", *schema, str(DOCKER / "compose.yaml"))
    assert done.returncode == 0, done.stdout


def test_the_dockerfile_has_no_finding_of_hadolint() -> None:
    done = run(
        str(Path(sys.executable).parent / "hadolint"), "--failure-threshold", "style", str(DOCKER / "Dockerfile")
    )
    assert done.returncode == 0, done.stdout


def test_the_dockerfile_builds_without_buildkit() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    assert not re.search(r"^# *syntax=|--mount|--chmod|--link|<<", text, re.MULTILINE)


@pytest.mark.parametrize("script", ["new-secrets", "take-trials", "postgres/create-databases.sh"])
def test_scripts_can_be_executed_by_any_shell(script: str) -> None:
    assert (DOCKER / script).stat().st_mode & 0o111 == 0o111
    assert (DOCKER / script).read_text().startswith("#!/bin/sh\n")
    assert run("sh", "-n", str(DOCKER / script)).returncode == 0


# --- pinned ----------------------------------------------------------------------------------------------------------


def test_every_image_has_a_version() -> None:
    bases = [words[1] for words in instructions() if words[0] == "FROM"]
    stages = [words[3] for words in instructions() if words[0] == "FROM"]
    foreign = [base for base in bases if base not in {*stages, "scratch"}]
    foreign += [service["image"] for service in SERVICES.values() if "build" not in service]
    assert len(foreign) > 1
    for image in foreign:
        assert re.search(r":\d+\.\d+", image), image


@services
def test_the_images_of_the_project_have_its_version_and_say_it_in_a_label(service: str) -> None:
    image, build = SERVICES[service]["image"], SERVICES[service].get("build")
    if image.startswith("undertow"):
        assert image.endswith(f":{undertow.__version__}")
    if build:
        assert build["args"]["VERSION"] == undertow.__version__
        assert ["FROM", build["target"]] in [[words[0], words[-1]] for words in instructions()]
    labels = [words for words in instructions() if words[0] == "LABEL"]
    assert labels == [["LABEL", "org.opencontainers.image.version=$VERSION"]] * 3


def test_every_package_of_an_image_has_one_version() -> None:
    def names(text: str) -> set[str]:
        found = re.findall(r"^([A-Za-z][\w.-]*)", text, re.MULTILINE)
        return {name.lower().replace("_", "-") for name in found}

    pinned = names((ROOT / "constraints.txt").read_text())
    listed = (DOCKER / "server.txt").read_text()
    assert names("\n".join(line for line in listed.splitlines() if "==" not in line)) <= pinned
    for words in instructions():
        for command in re.findall(r"\bpip install [^&]*", " ".join(words)):
            assert "--constraint" in command


# --- passwords -------------------------------------------------------------------------------------------------------

SECRET = re.compile(r"password|secret|access_key$|auth_key", re.IGNORECASE)


@services
def test_no_service_has_a_default_password(service: str) -> None:
    environment = SERVICES[service].get("environment", {})
    secrets = {name: value for name, value in environment.items() if SECRET.search(name)}
    for name, value in secrets.items():
        assert re.search(r"\$\{[A-Z0-9_]+:\?[^}]+\}", value), name
    given = set(re.findall(r"\$\{([A-Z0-9_]+):\?", str(SERVICES[service])))
    assert given <= set(re.findall(r"[A-Z0-9_]+", (DOCKER / "new-secrets").read_text()))
    assert "@" not in re.sub(r"\w+@(postgres)\b", "", str(environment)), "a password in an address"


def test_passwords_are_new_each_time_and_their_file_is_private_and_never_replaced(tmp_path: Path) -> None:
    script = tmp_path / "new-secrets"
    texts = []
    for _ in range(2):
        script.write_bytes((DOCKER / "new-secrets").read_bytes())
        assert run("sh", str(script)).returncode == 0
        assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
        texts.append((tmp_path / ".env").read_text())
        assert run("sh", str(script)).returncode == 1
        assert (tmp_path / ".env").read_text() == texts[-1]
        (tmp_path / ".env").unlink()
    values = [value for text in texts for value in re.findall(r"_(?:PASSWORD|KEY)=(.*)", text)]
    assert len(set(values)) == len(values) == 14
    assert {len(value) for value in values} == {48}


def test_no_file_that_is_tracked_holds_an_environment() -> None:
    listed = run("git", "ls-files", "--", "docker", "*.env*").stdout.split()
    assert not [path for path in listed if ".env" in path]
    assert run("git", "check-ignore", "--quiet", "--no-index", "docker/.env").returncode in (0, 128)  # 128: no checkout
    assert "/docker/.env" in (ROOT / ".gitignore").read_text().splitlines()


# --- what is copied into an image ------------------------------------------------------------------------------------


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a file into the build. The last pattern that matches it or a folder above counts."""
    sent = True
    parts = Path(path).parts
    above = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").strip("/")
            everywhere = pattern.startswith("**/")
            names = [each.rpartition("/")[2] for each in above] if everywhere else above
            if any(fnmatch(name, pattern.removeprefix("**/")) and (everywhere or "/" not in name or "/" in pattern)
                   for name in names):  # fmt: skip
                sent = line.startswith("!")
    return sent


def test_what_the_dockerfile_copies_exists_and_is_sent_to_the_build() -> None:
    copies = [words[1:-1] for words in instructions() if words[0] == "COPY" and not words[1].startswith("--from")]
    assert copies
    for path in {path for paths in copies for path in paths}:
        assert (ROOT / path).exists(), path
        assert is_sent(path), path


@pytest.mark.parametrize(
    "path",
    [
        *(".git/config", "docker/.env", ".env", "runs/mlflow.db", ".venv/bin/python"),
        *("plugins/undertow-cells/.env", "platform/undertow/__pycache__/errors.pyc", "docker/compose.yaml"),
    ],
)
def test_secrets_history_and_runs_are_not_sent_to_a_build(path: str) -> None:
    assert not is_sent(path)


def test_the_whole_code_is_sent_to_a_build() -> None:
    code = [path.relative_to(ROOT) for top in ("platform", "plugins") for path in (ROOT / top).rglob("*.py")]
    assert len(code) > 200
    assert [str(path) for path in code if not is_sent(str(path))] == []


# --- what a service may do -------------------------------------------------------------------------------------------


@services
def test_a_service_has_no_more_rights_than_it_needs(service: str) -> None:
    each = SERVICES[service]
    assert each["init"] is True
    assert each["user"] == ("postgres" if service == "postgres" else "10001:10001")
    assert each["read_only"] is True
    assert each["cap_drop"] == ["ALL"]
    assert "cap_add" not in each
    assert "privileged" not in each
    assert each["security_opt"] == ["no-new-privileges:true"]
    assert each["mem_limit"]
    assert each["pids_limit"]
    assert each.get("network_mode", "none") == "none"
    assert not [volume for volume in each.get("volumes", []) if "docker.sock" in volume]


@services
def test_a_service_that_stays_has_a_health_check_and_is_restarted(service: str) -> None:
    each = SERVICES[service]
    assert service in ONCE or each["healthcheck"]["test"][0] == "CMD"
    assert each["restart"] == ("unless-stopped" if service not in {*ONCE, "worker", "worker-gpu"} else each["restart"])


@services
def test_ports_are_those_of_this_machine_alone(service: str) -> None:
    ports = SERVICES[service].get("ports", [])
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert bool(ports) == (service in {"mlflow", "mlflow-auth", "dashboard"})


def test_workers_reach_the_studies_and_mlflow_and_nothing_else() -> None:
    networks: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["networks"]
    assert {name for name, network in networks.items() if not network.get("internal")} == {"published"}

    def reach(service: str) -> set[str]:
        mine = set(SERVICES[service].get("networks", []))
        others = {name for name, each in SERVICES.items() if mine & set(each.get("networks", []))}
        return others - {service, "accounts", "worker", "worker-gpu"}

    for worker in ("worker", "worker-gpu"):
        assert reach(worker) == {"postgres", "dashboard", "mlflow", "mlflow-auth"}
        assert "published" not in SERVICES[worker]["networks"]
    assert reach("store") == {"mlflow", "mlflow-auth"}
    assert [volume for volume in SERVICES["worker"]["volumes"] if "experiments" in volume] == [
        "${EXPERIMENTS:-../experiments}:/experiments:ro"
    ]


def test_both_servers_of_mlflow_are_restricted_in_the_same_way() -> None:
    for service in ("mlflow", "mlflow-auth"):
        environment = SERVICES[service]["environment"]
        assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
        assert environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
        assert environment["MLFLOW_SERVER_ALLOWED_HOSTS"] == (
            "${MLFLOW_ALLOWED_HOSTS:-mlflow:5000,localhost:*,127.0.0.1:*}"
        )
        assert environment["MLFLOW_ARTIFACTS_DESTINATION"].startswith("s3://")
        assert "--no-serve-artifacts" not in SERVICES[service]["command"]
    assert SERVICES["mlflow-auth"]["command"][2:4] == ["--app-name", "basic-auth"]
    assert SERVICES["mlflow"]["profiles"] == ["open"]
    assert SERVICES["mlflow-auth"]["profiles"] == ["auth"]


def test_a_stopped_worker_has_the_time_to_save_its_trials() -> None:
    from undertow.studies.work import driver

    ship = int(re.findall(r"timeout (\d+) undertow sync", (DOCKER / "take-trials").read_text())[0])
    for worker in ("worker", "worker-gpu"):
        assert int(SERVICES[worker]["stop_grace_period"].removesuffix("s")) >= driver._SAVE_SECONDS + ship + 15


def test_gpus_are_reserved_by_their_profile_alone() -> None:
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    [device] = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert "deploy" not in SERVICES["worker"]
    assert SERVICES["worker"]["build"]["args"]["TORCH"] == "${TORCH:-}"

"""The files that an operator deploys say what the code says: settings, metrics, commands, users."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from timbral.config.settings import Settings
from timbral.stack.embedded_server import EmbeddedServer

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = ("secrets", "worker", "trainer", "scheduler", "flower", "api")
KUBERNETES = sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
OF_OTHERS = {
    # Redis's, for deploy/redis; Flower's own; the files' own.
    "REDIS_ADMIN_PASSWORD", "APP_PASSWORD", "PRODUCER_PASSWORD", "READER_PASSWORD", "REDIS_MAXMEMORY",
    "FLOWER_BASIC_AUTH", "FLOWER_DB", "API_PUBLISH", "FLOWER_PUBLISH",
}  # fmt: skip


def documents() -> list[dict[str, Any]]:
    return [document for path in KUBERNETES for document in yaml.safe_load_all(path.read_text())]


def pods() -> dict[str, dict[str, Any]]:
    return {
        d["metadata"]["name"]: d["spec"]["template"]["spec"]
        for d in documents()
        if d["kind"] in ("Deployment", "StatefulSet")
    }


def test_every_variable_of_the_compose_file_is_a_setting() -> None:
    for name, service in COMPOSE["services"].items():
        given = {variable for variable in service.get("environment", {}) if not variable.startswith("GF_")}
        unknown = given - set(Settings.model_fields) - OF_OTHERS
        assert not unknown, (name, unknown)


def test_the_compose_file_gives_the_defaults_of_the_settings() -> None:
    given = COMPOSE["services"]["worker"]["environment"]
    differs = {}
    for name, text in given.items():
        match = re.fullmatch(r"\$\{(\w+):-(.*)\}", str(text))
        default = Settings.model_fields[name].default
        if match and match[1] == name and name != "LOG_FORMAT" and match[2] and default is not None:
            read = match[2] if isinstance(default, str) else json.loads(match[2])
            made = read if match[2].startswith("[") else type(default)(read)
            if made != (list(default) if isinstance(default, tuple) else default):
                differs[name] = (match[2], default)
    assert differs == {}


def test_every_variable_that_the_compose_file_asks_for_is_in_the_example_and_the_other_way_round() -> None:
    asked = set(re.findall(r"\$\{(\w+):?-?", (ROOT / "docker-compose.yml").read_text())) - {"TIMBRAL_IMAGE"}
    shown = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert asked == shown


@pytest.mark.parametrize("name", OURS)
def test_each_service_of_ours_is_locked_down_and_bounded(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"]["max-size"]
    assert service["init"] is True  # or a SIGTERM in its first seconds is not heard
    assert isinstance(service.get("command", []), list)
    if name != "secrets":
        assert service["restart"] == "unless-stopped"
        assert service["mem_limit"]
        assert service["healthcheck"]["test"][0] == "CMD"
        assert "secrets:/run/secrets:ro" in service["volumes"]


def test_redis_is_published_to_nobody_and_the_apis_to_this_machine_alone() -> None:
    assert "ports" not in COMPOSE["services"]["redis"]
    assert COMPOSE["services"]["redis"]["networks"] == ["backend"]
    assert COMPOSE["networks"]["backend"] == {"internal": True}
    for name in ("api", "flower", "prometheus", "grafana"):
        (published,) = COMPOSE["services"][name]["ports"]
        assert ":-127.0.0.1:" in published


def test_one_service_builds_the_image_and_nobody_tries_to_pull_it() -> None:
    ours = [COMPOSE["services"][name] for name in (*OURS, "ready")]
    assert {service["image"] for service in ours} == {"${TIMBRAL_IMAGE:-timbral:local}"}
    assert {service["pull_policy"] for service in ours} == {"never"}
    assert [name for name in (*OURS, "ready") if "build" in COMPOSE["services"][name]] == ["secrets"]
    assert (ROOT / "Dockerfile").read_text().count("\nFROM ") == 1, "a stage leaves a nameless image with some builders"


def test_the_last_service_says_where_the_others_are() -> None:
    told = subprocess.run(
        ["sh", ROOT / "deploy/docker/ready.sh"],
        env={**os.environ, "API_PUBLISH": "127.0.0.1:8080", "FLOWER_PUBLISH": "5555"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "http://127.0.0.1:8080 " in told
    assert "http://localhost:5555 " in told
    assert "secrets show" in told
    assert {"worker", "trainer", "scheduler", "flower", "api"} == set(COMPOSE["services"]["ready"]["depends_on"])


def test_the_monitoring_profile_brings_the_dashboard_and_the_alerts_where_its_programs_look_for_them() -> None:
    prometheus, grafana = COMPOSE["services"]["prometheus"], COMPOSE["services"]["grafana"]
    assert prometheus["profiles"] == grafana["profiles"] == ["monitoring"]
    mounted = dict(volume.rsplit(":", 2)[:2] for volume in grafana["volumes"])
    for source in mounted:
        assert (ROOT / source).exists(), source
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/timbral.yml").read_text())["providers"]
    assert mounted["./deploy/grafana/timbral.json"].startswith(provider["options"]["path"] + "/")


def test_spark_can_unpack_its_libraries_and_sees_the_data_where_the_trainer_does() -> None:
    services = COMPOSE["services"]
    of_spark = {name: one for name, one in services.items() if one.get("profiles") == ["spark"]}
    assert set(of_spark) == {"spark-master", "spark-worker-1", "spark-worker-2", "spark-connect"}
    for service in of_spark.values():
        # A tmpfs is noexec unless it says so; a shuffle then waits for ever for what cannot be compressed.
        (options,) = (
            options for path, _, options in (one.partition(":") for one in service["tmpfs"]) if path == "/tmp"
        )
        assert "exec" in options.split(",")
    trainer = {volume.rsplit(":", 1)[0].removesuffix(":ro") for volume in services["trainer"]["volumes"]}
    for name in ("spark-worker-1", "spark-worker-2"):
        mounted = dict(
            volume.split(":")[-3:-1][::-1] if volume.endswith(":ro") else volume.split(":")[::-1]
            for volume in of_spark[name]["volumes"]
        )
        assert {"/data", "/history", "/training"} <= set(mounted)
    assert trainer
    # What `docker compose --profile spark build` builds anew is what was built before.
    assert services["secrets"]["build"]["args"]["EXTRAS"].startswith("${EXTRAS:-")


def test_a_secret_without_a_colon_is_refused_before_anything_starts(tmp_path: Path) -> None:
    script = (ROOT / "deploy/docker/secrets.sh").read_text().replace("/run/secrets", str(tmp_path))
    for auth, code in (("password", 1), ("admin:", 1), ("admin:password", 0), ("", 0)):
        done = subprocess.run(
            ["sh", "-c", script], env={**os.environ, "FLOWER_BASIC_AUTH": auth}, capture_output=True, text=True
        )
        assert done.returncode == code, (auth, done.stderr)
        assert ("must be user:password" in done.stderr) == bool(code)


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool on the PATH (Debian: apt-get install prometheus)"
)
def test_redis_reads_its_configuration_from_a_clone_that_only_its_owner_may_read(tmp_path: Path) -> None:
    files, run, programs = tmp_path / "files", tmp_path / "run", tmp_path / "bin"
    for folder in (files, run, programs):
        folder.mkdir()
    for name in ("start.sh", "users.sh", "users.acl", "redis.conf"):
        (files / name).write_text((ROOT / "deploy/redis" / name).read_text().replace("/run/redis", str(run)))
    for name, does in (("redis-server", 'cat "$1"; echo "$1"'), ("id", "echo 999")):
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)

    done = subprocess.run(
        ["/bin/sh", str(files / "start.sh")],
        env={"PATH": f"{programs}:/usr/bin:/bin", "REDIS_PASSWORD": "x"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == (files / "redis.conf").read_text() + f"{run}/redis.conf\n"
    assert (
        "chown redis:redis /data /run/redis/users.acl /run/redis/redis.conf"
        in (ROOT / "deploy/redis/start.sh").read_text()
    )
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert dockerfile.index("RUN chmod -R a+rX /opt/docker") > dockerfile.index("COPY deploy/docker/entrypoint.sh")


def test_prometheus_reads_the_configuration_and_a_single_failed_training_raises_its_alert() -> None:
    folder = ROOT / "deploy/prometheus"
    for command in (
        ["check", "config", "prometheus.yml"],
        ["test", "rules", str(ROOT / "tests/deploy/alerts_test.yml")],
    ):
        done = subprocess.run(["promtool", *command], cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_worker_is_given_more_time_to_end_than_its_tasks_are() -> None:
    soft_s = Settings.model_fields["SOFT_SHUTDOWN_S"].default
    for name in ("worker", "trainer"):
        assert int(COMPOSE["services"][name]["stop_grace_period"].removesuffix("s")) >= soft_s + 20
        assert pods()[name]["terminationGracePeriodSeconds"] >= soft_s + 20


def test_compose_and_kubernetes_start_the_same_programs() -> None:
    for name in ("worker", "trainer", "scheduler", "flower"):
        command = [re.sub(r"\$\{\w+:-(\w*)\}", r"\1", word) for word in COMPOSE["services"][name]["command"]]
        assert pods()[name]["containers"][0]["args"] == command
    assert pods()["api"]["containers"][0]["args"][:2] == COMPOSE["services"]["api"]["command"]


def test_the_modules_that_probes_run_exist() -> None:
    text = (ROOT / "docker-compose.yml").read_text() + "".join(path.read_text() for path in KUBERNETES)
    modules = set(re.findall(r'"-m", "([\w.]+)"', text))
    assert modules == {"workers.watching.health", "workers.watching.service_health"}
    for module in modules:
        assert callable(importlib.import_module(module).main)


def test_every_pod_runs_as_nobody_with_a_read_only_root_and_without_a_token() -> None:
    assert len(pods()) == 6
    for name, pod in pods().items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"]:
            locked = container["securityContext"]
            assert locked["readOnlyRootFilesystem"] is True, name
            assert locked["allowPrivilegeEscalation"] is False, name
            assert locked["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name


def test_every_setting_in_the_cluster_s_map_is_one() -> None:
    (settings_map,) = (d for d in documents() if d["kind"] == "ConfigMap")
    Settings(
        **{
            name: value if name != "DATASET_URI_PREFIXES" else json.loads(value)
            for name, value in settings_map["data"].items()
        }
    )
    assert set(settings_map["data"]) <= set(Settings.model_fields)


def test_the_kustomization_names_files_that_exist() -> None:
    kustomization = yaml.safe_load((ROOT / "deploy/kustomization.yaml").read_text())
    named = [*kustomization["resources"], *kustomization["configMapGenerator"][0]["files"]]
    assert [name for name in named if not (ROOT / "deploy" / name).is_file()] == []
    assert {f"kubernetes/{path.name}" for path in KUBERNETES} == set(kustomization["resources"])


def test_the_image_is_made_of_what_the_builder_may_see() -> None:
    visible = (ROOT / ".dockerignore").read_text().splitlines()
    assert visible[1] == "*"
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for path in " ".join(copied).split():
        assert (ROOT / path).exists(), path
        assert any(path == line[1:] or path.startswith(f"{line[1:]}/") for line in visible if line.startswith("!")), (
            path
        )
    assert not any(".env" in path or path.startswith("data") for path in " ".join(copied).split())


def metric_names(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every metric that a worker or the HTTP API can show."""
    from timbral.api import metrics as api
    from workers.watching import metrics as worker
    from workers.watching.fleet_metrics import FleetMetrics

    with server.client() as client:
        client.set("model:current", "v1")
        client.set("model:v1:metadata", json.dumps({"created_at": 0, "metrics": {"ndcg@20": 0.3}}))
        names = {metric.name for metric in FleetMetrics(client, client).collect()}
    for module in (api, worker):
        names |= {m._name for m in vars(module).values() if isinstance(m, Counter | Gauge | Histogram)}
    assert REGISTRY
    endings = ("", "_total", "_bucket", "_sum", "_count")
    return {name + ending for name in names for ending in endings}


@pytest.mark.parametrize("path", ["deploy/grafana/timbral.json", "deploy/prometheus/alerts.yml"])
def test_every_metric_that_is_drawn_or_watched_exists(
    path: str, redis_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    expressions = re.findall(r'expr"?: (?:>-\n)?((?:.|\n {10})+)', (ROOT / path).read_text())
    used = set(re.findall(r"\btimbral_\w+", " ".join(expressions)))
    assert len(used) > 10
    assert used - metric_names(redis_server, monkeypatch) == set()


def test_every_alert_has_its_section_in_the_handbook() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"][0]["rules"]
    handbook = (ROOT / "docs/operations.md").read_text()
    assert [rule["alert"] for rule in rules if f"### {rule['alert']}" not in handbook] == []
    assert set(re.findall(r"^### (Timbral\w+)$", handbook, re.MULTILINE)) == {rule["alert"] for rule in rules}


def test_the_dashboard_s_panels_stand_side_by_side() -> None:
    panels = json.loads((ROOT / "deploy/grafana/timbral.json").read_text())["panels"]
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)

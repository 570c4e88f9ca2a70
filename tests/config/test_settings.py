from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from timbral.config.settings import Constants, Settings, public_address, read_settings
from timbral.errors import SettingsError


def test_the_defaults_are_the_documented_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL")

    made = Settings()

    assert (made.REDIS_DB, made.NMF_N_COMPONENTS, made.NMF_RANDOM_STATE) == (0, 100, 42)
    assert (made.API_HOST, made.API_PORT, made.API_WORKERS, made.DEBUG) == ("0.0.0.0", 8000, 4, False)
    assert made.REDIS_URL is None
    assert made.redis_url == made.broker_url == "redis://127.0.0.1:6379/0"
    assert read_settings(REDIS_PASSWORD="x").redis_url == "redis://:x@127.0.0.1:6379/0"


def test_the_constants_are_the_documented_ones() -> None:
    assert (Constants.MIN_PLAYS_THRESHOLD, Constants.MAX_PLAYS_THRESHOLD) == (5, 10_000)
    assert (Constants.NMF_MAX_ITER, Constants.NMF_TOL) == (200, 1e-4)
    assert (Constants.USER_EMBEDDINGS_KEY, Constants.ITEM_EMBEDDINGS_KEY) == ("user_embeddings", "item_embeddings")
    assert Constants.RECOMMENDATIONS_KEY == "recommendations"
    assert list(Constants.SUPPORTED_AUDIO_FORMATS) == [".mp3", ".wav", ".flac", ".m4a"]
    assert list(Constants.SUPPORTED_DATA_FORMATS) == [".csv", ".parquet", ".json"]


def test_the_environment_wins_over_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("NMF_N_COMPONENTS=7\nNMF_RANDOM_STATE=0\n")
    monkeypatch.setenv("NMF_N_COMPONENTS", "9")

    made = read_settings()

    assert (made.NMF_N_COMPONENTS, made.NMF_RANDOM_STATE) == (9, 0)


@pytest.mark.parametrize(
    ("url", "settings", "complete"),
    [
        ("redis://h:6379", {"REDIS_DB": 3}, "redis://h:6379/3"),
        ("redis://h:6379/5", {"REDIS_DB": 3}, "redis://h:6379/5"),
        ("redis://h", {"REDIS_PASSWORD": "p@ss/1"}, "redis://:p%40ss%2F1@h/0"),
        ("redis://me@h", {"REDIS_PASSWORD": "x"}, "redis://me:x@h/0"),
        ("redis://:own@h", {"REDIS_PASSWORD": "x"}, "redis://:own@h/0"),
        ("unix:///run/redis.sock", {"REDIS_DB": 2}, "unix:///run/redis.sock?db=2"),
        ("rediss://h", {}, "rediss://h/0?ssl_cert_reqs=required"),
    ],
)
def test_the_url_is_completed_by_password_and_database(url: str, settings: dict[str, object], complete: str) -> None:
    assert read_settings(REDIS_URL=url, **settings).redis_url == complete


def test_the_queue_may_have_a_redis_of_its_own() -> None:
    made = read_settings(REDIS_URL="redis://cache", BROKER_URL="redis://queue", REDIS_PASSWORD="x")

    assert (made.redis_url, made.broker_url) == ("redis://:x@cache/0", "redis://:x@queue/0")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NMF_N_COMPONENTS", "0"),
        ("NMF_N_COMPONENTS", "many"),
        ("REDIS_DB", "-1"),
        ("REDIS_URL", "http://somewhere"),
        ("API_PORT", "70000"),
        ("DEBUG", "perhaps"),
        ("RECOMMENDATIONS_TTL_S", "99999999"),
        ("RETRAIN_AFTER_PLAYS", "-1"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_setting(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=name):
        read_settings()


def test_a_mistyped_name_in_the_env_file_is_an_error_that_offers_the_right_one(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NMF_N_COMPONENT=7\nCOMPOSE_PROJECT_NAME=x\n")

    with pytest.raises(SettingsError, match=r"NMF_N_COMPONENT: .* did you mean NMF_N_COMPONENTS") as caught:
        read_settings()
    assert "COMPOSE" not in str(caught.value)


def test_a_unix_socket_is_spelt_as_celery_wants_it() -> None:
    made = read_settings(REDIS_URL="unix:///run/redis.sock", REDIS_DB=2)

    assert made.queue.celery_url == "redis+socket:///run/redis.sock?virtual_host=2"


def test_a_wrong_value_stops_a_process_at_start_and_no_password_is_shown() -> None:
    environment = os.environ | {"REDIS_URL": "http://:hunter2@h", "API_PORT": "x"}

    run = subprocess.run(
        [sys.executable, "-c", "import timbral.config.settings"], env=environment, capture_output=True, text=True
    )

    assert run.returncode != 0
    assert "API_PORT" in run.stderr
    assert "REDIS_URL" in run.stderr
    assert "hunter2" not in run.stderr


def test_secrets_do_not_show_in_the_settings_text() -> None:
    made = read_settings(REDIS_PASSWORD="hunter2", API_TOKEN="hunter3")

    assert "hunter" not in repr(made)
    assert public_address("redis://me:hunter2@h:1/0?password=hunter2") == "redis://h:1/0"


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not (field.description or "").endswith(".")] == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"KEY_PREFIX": "music:"}, "KEY_PREFIX in braces"),
        ({"BROKER_URL": None}, "needs BROKER_URL"),
        ({"REDIS_URL": "sentinel://h:1/m"}, "with one node or several"),
        ({"REDIS_URL": "redis://h/2"}, "the database 2"),
        ({"REDIS_URL": "redis+cluster://h/tag"}, "CACHE_CLUSTER=true says"),
        ({"CACHE_CLUSTER": False}, "names several hosts"),
    ],
)
def test_half_a_cluster_is_refused(given: dict[str, object], problem: str) -> None:
    whole: dict[str, object] = {
        "CACHE_CLUSTER": True,
        "REDIS_URL": "redis://h1:7000;h2",
        "BROKER_URL": "redis://queue",
        "KEY_PREFIX": "{music}:",
    }
    assert read_settings(**whole).redis_url == "redis+cluster://h1:7000;h2/music"
    assert read_settings(**whole).broker_url == "redis://queue/0"

    with pytest.raises(SettingsError, match=problem):
        read_settings(**whole | given)

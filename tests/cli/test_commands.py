"""The commands, against a real worker with a model."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleet_fixtures import Fleet

import producers
from timbral import keys
from timbral.cli.output import print_table
from timbral.config.settings import settings
from timbral.messages import ANSWERS
from timbral.queue import dead_letters
from timbral.stack.embedded_server import EmbeddedServer

pytestmark = pytest.mark.integration

Cli = Callable[..., Any]
USER = "1002"


@pytest.fixture(autouse=True)
def _live(live: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    known = settings.model_copy(update={"MODEL_DIR": live.model_dir, "DATA_DIR": live.data_dir})
    for module in ("at_hand", "models", "lists"):
        monkeypatch.setattr(f"timbral.cli.{module}.settings", known)


def test_train_prints_the_answer_for_people_and_for_programs(cli: Cli, live: Fleet) -> None:
    ran = cli("train", "plays.csv", "--random-state", "0", "--max-iter", "30", "--promote", "always", "--json")
    assert ran.code == 0
    assert set(ANSWERS["train_model"]) <= set(ran.json)
    ran = cli(
        "train", str(live.data_dir / "plays.csv"), "--random-state", "1", "--max-iter", "30", "--promote", "never"
    )
    assert ran.code == 0
    assert "model_version" in ran.out
    assert "recall@20" in ran.out
    assert re.search(r"^promoted +no$", ran.out, re.MULTILINE)


def test_a_file_with_other_columns_and_a_tab_is_described_by_options(cli: Cli, live: Fleet) -> None:
    rows = (
        (live.data_dir / "plays.csv").read_text().replace("user_id,item_id,rating", "who,what,often").replace(",", "\t")
    )
    (live.data_dir / "plays.tsv").write_text(rows)
    options = (
        "--format",
        "csv",
        "--user-col",
        "who",
        "--item-col",
        "what",
        "--value-col",
        "often",
        "--promote",
        "never",
    )
    for tab in ("\\t", "tab"):
        assert cli("train", "plays.tsv", "--separator", tab, *options, "--json").json["n_users"] == 120


def test_a_data_error_of_the_worker_is_one_line_and_exit_code_2(cli: Cli, live: Fleet) -> None:
    (live.data_dir / "bad.csv").write_text("user_id,colour\n1,2\n")
    ran = cli("train", "bad.csv")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "Missing required columns: ['item_id']" in ran.err
    assert "Traceback" not in ran.err
    assert cli("train", "no-such-file.csv").code == 2


def test_no_wait_prints_the_id_and_job_says_the_rest(cli: Cli) -> None:
    ran = cli("recommend", "--user", USER, "--no-wait")
    job_id = ran.out.strip()
    assert ran.code == 0
    assert f"timbral job status {job_id}" in ran.err
    assert cli("job", "wait", job_id, "--json").json["users_done"] == 1
    status = cli("job", "status", job_id, "--json").json
    assert (status["state"], status["task"], status["error"]) == ("SUCCESS", "compute_recommendations", None)
    assert status["result"]["users_done"] == 1
    assert "SUCCESS" in cli("job", "status", job_id).out
    ran = cli("job", "cancel", job_id)
    assert ran.code == 1
    assert "had ended before" in ran.err
    sent = cli("recommend", "--no-wait", "--json").json
    assert sent["task"] == "compute_recommendations"
    assert cli("job", "wait", sent["job_id"]).code == 0


def test_waiting_for_a_job_that_failed_or_is_not_done_is_exit_code_1_or_2(cli: Cli, live: Fleet) -> None:
    ran = cli("job", "wait", "nobody-knows-it", "--timeout", "0.1")
    assert ran.code == 1
    assert "not done after 0.1 s" in ran.err
    with live.server.client() as client:
        client.set(
            "celery-task-meta-bad",
            json.dumps({"status": "FAILURE", "result": {"exc_type": "KeyError", "exc_message": ["x"]}}),
        )
    ran = cli("job", "wait", "bad")
    assert ran.code == 1
    assert "KeyError: x" in ran.err
    assert "KeyError: x" in cli("job", "status", "bad", "--json").json["error"]


def test_open_jobs_are_listed_and_go_by_the_beginnings_of_their_ids(
    cli: Cli, connected: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: a server without workers, who would do what is said to be submitted
    monkeypatch.setenv("COLUMNS", "80")
    one, other = "aaaabbbb-0000-4000-8000-000000000001", "aaaabbbb-0000-4000-8000-000000000002"
    with connected.client() as client:
        sent = {"task": "train_model", "kwargs": {"dataset": "plays.csv"}, "queue": "training", "at": time.time() - 90}
        client.hset(keys.SUBMITTED, mapping={one: json.dumps(sent), other: json.dumps(sent)})
        client.hset(keys.progress(one), mapping={"done": 1, "total": 9, "text": "sweep 1"})

        listed = cli("job", "list").out
        ran = cli("job", "list", "--json").json
        several = cli("job", "status", "aaaabbbb")
        shown = cli("job", "status", one[:-1] + "1", "--json").json
        client.hdel(keys.SUBMITTED, other)
        cancelled = cli("job", "cancel", "aaaabb", "--json").json
        client.hdel(keys.SUBMITTED, one)

    assert "2 of 2 jobs that are not done" in listed
    assert max(len(line) for line in listed.splitlines()) <= 80
    assert len(re.findall(r"^aaaabbbb-\S+ +train_model +pending +\d+ \w+ ", listed, re.MULTILINE)) == 2
    assert {job["id"] for job in ran} == {one, other}
    assert several.code == 2
    assert one in several.err
    assert (shown["job_id"], shown["text"]) == (one, "sweep 1")
    assert cancelled == {"job_id": one, "cancelled": True}


def test_recommend_then_show_by_id_and_with_names(cli: Cli, live: Fleet) -> None:
    assert cli("recommend", "-u", USER, "-u", "1003", "--top-k", "5", "--json").json["users_done"] == 2
    listed = cli("show", USER, "--json").json
    assert len(listed) == 5
    assert listed == producers.get_recommendations(int(USER))
    with live.server.client() as client:
        client.hset(keys.ITEMS_NAMES, json.dumps(listed[0]["item_id"]), "Sigur Rós")
        ran = cli("show", USER)
        client.delete(keys.ITEMS_NAMES)
    assert ran.code == 0
    assert "Sigur Rós" in ran.out.splitlines()[1]
    assert str(listed[4]["item_id"]) in ran.out.splitlines()[5]


def test_lists_from_an_item_set_are_written_beside_the_others_by_whoever_takes_the_task(
    cli: Cli, live: Fleet, tmp_path: Path
) -> None:
    cli("recommend", "-u", USER, "--top-k", "20")
    own = producers.get_recommendations(int(USER)) or []
    file = tmp_path / "ids.txt"
    file.write_text("\n".join(str(item["item_id"]) for item in own[3:6]))
    assert cli("sets", "put", "some", str(own[1]["item_id"]), "--file", str(file), "--json").json["n_items"] == 4

    assert cli("recommend", "-u", USER, "--allow", "some", "--json").json["users_done"] == 1

    listed = cli("show", USER, "--allow", "some", "--json").json
    assert [item["item_id"] for item in listed] == [own[place]["item_id"] for place in (1, 3, 4, 5)]
    assert producers.get_recommendations(int(USER)) == own
    assert "some" in cli("sets", "list").out
    assert len(cli("sets", "show", "some", "--json").json) == 4
    assert cli("sets", "delete", "some", "--json").json == {"deleted": True}
    for refused in (cli("recommend", "-u", USER, "--exclude", "some"), cli("show", USER, "--allow", "some")):
        assert refused.code == 2
        assert "there is no item set 'some'" in refused.err


def test_showing_a_user_without_a_list_is_exit_code_1_and_popular_is_a_way_out(cli: Cli) -> None:
    ran = cli("show", "no-such-user")
    assert (ran.code, ran.out) == (1, "")
    assert "no recommendations for no-such-user" in ran.err
    ran = cli("show", "no-such-user", "--json")
    assert (ran.code, ran.json) == (1, None)
    popular = cli("show", "--popular", "--json").json
    assert popular
    assert cli("show", "no-such-user", "--popular", "--json").json == popular


def test_text_ids_stay_text(cli: Cli, live: Fleet) -> None:
    # Whom nobody has sent plays of: these are kept by the id's text, so that a user of that text would be known.
    answer = cli("recommend", "--user", "1117", "--text-ids", "--json").json
    assert (answer["users_done"], answer["users_unknown"]) == (0, 1)
    cli("block", "5", "--text-ids")
    assert producers.blocked_items() == {"5"}
    cli("unblock", "5", "--text-ids")


def test_plays_are_folded_in(cli: Cli) -> None:
    answer = cli("refresh", "--play", "1003, 301", "--play", "1003,302,4", "--json").json
    assert (answer["users"], answer["plays"]) == (1, 2)
    answer = cli("refresh", "--play", '{"user_id": "new, one", "item_id": 101, "plays": 2}', "--json").json
    assert answer["plays"] == 1
    assert cli("refresh", "--json").json["users"] >= 120


@pytest.mark.parametrize("play", ["7", "7,", "1,2,3,4", "1,2,many", "{not json", '{"user_id": 1}'])
def test_a_play_that_is_none_is_exit_code_2(cli: Cli, play: str) -> None:
    ran = cli("refresh", "--play", play)
    assert ran.code == 2
    assert ran.err.count("\n") == 1


def test_block_and_unblock_count_from_the_next_read_on(cli: Cli) -> None:
    cli("recommend", "-u", USER)
    first = str(cli("show", USER, "--json").json[0]["item_id"])
    ran = cli("block", first, "--user", USER)
    assert (ran.code, ran.out) == (0, f"blocked 1 item for {USER}\n")
    assert first not in [str(item["item_id"]) for item in cli("show", USER, "--json").json]
    assert cli("unblock", first, "-u", USER, "--json").json == {"unblocked": 1, "user": USER}
    assert str(cli("show", USER, "--json").json[0]["item_id"]) == first


def test_models_are_listed_shown_promoted_rolled_back_and_pruned(cli: Cli, live: Fleet) -> None:
    first = cli("train", "plays.csv", "--random-state", "21", "--max-iter", "30", "--promote", "always", "--json").json
    second = cli("train", "plays.csv", "--random-state", "22", "--max-iter", "30", "--promote", "never", "--json").json
    old, new = first["model_version"], second["model_version"]
    listed = cli("models", "list", "--json").json
    assert [record["version"] for record in listed[:2]] == [new, old]
    assert [record["live"] for record in listed[:2]] == [False, True]
    shown = cli("models", "list").out
    assert old in shown
    assert "yes" in shown
    assert "plays.csv" in shown
    assert "not worse" in shown
    assert f"{listed[1]['metrics']['ndcg@20']:.4g}" in shown
    assert cli("models", "show", new, "--json").json["version"] == new
    assert new in cli("models", "show", new).out
    assert cli("models", "promote", new).out == f"{new} is live\n"
    assert cli("health", "--json").json["model"] == new
    assert cli("models", "roll-back", "--json").json == {"version": old}
    ran = cli("models", "show", "20200101T000000-1")
    assert ran.code == 2
    assert "No model" in ran.err
    gone = cli("models", "prune", "--keep", "2", "--json").json["removed"]
    assert old not in gone
    assert len(cli("models", "list", "--json").json) <= 4


def test_a_version_that_is_not_live_shows_its_lists_and_leaves_the_cache_alone(cli: Cli, live: Fleet) -> None:
    # given: a version that nobody is served by, and what the user gets now
    asked = ("--n-components", "2", "--regularization", "0.9", "--promote", "never", "--json")
    other = cli("train", "plays.csv", *asked).json["model_version"]
    before = cli("show", USER, "--json").json
    blocked = before[0]["item_id"]
    cli("block", str(blocked), "--user", USER)

    # when
    found = cli("recommend", "--user", USER, "--user", "nobody", "--model", other, "--top-k", "70", "--json").json
    ran = cli("recommend", "--user", USER, "--user", "nobody", "--model", other)

    # then
    (listed,) = found["lists"]
    assert (found["model_version"], listed["user_id"]) == (other, int(USER))
    assert len(listed["items"]) > 50
    assert blocked not in [item["item_id"] for item in listed["items"]]
    assert str(listed["items"][0]["item_id"]) in ran.out
    assert "does not know user 'nobody'" in ran.err
    cli("unblock", str(blocked), "--user", USER)
    assert cli("show", USER, "--json").json == before
    assert cli("recommend", "--model", other).code == 2
    assert cli("recommend", "--model", "20200101T000000-1", "--user", USER).code == 2


def test_two_versions_are_compared_by_metrics_parameters_and_lists(cli: Cli, live: Fleet) -> None:
    asked = ("--promote", "never", "--json")
    good = cli("train", "plays.csv", *asked).json["model_version"]
    poor = cli("train", "plays.csv", "--n-components", "1", "--regularization", "3", *asked).json["model_version"]

    found = cli("models", "compare", good, poor, "--json").json
    itself = cli("models", "compare", good, good, "--json").json
    shown = cli("models", "compare", good, poor).out

    ndcg = found["metrics"]["ndcg@20"]
    assert ndcg["values"][0] > ndcg["values"][1]
    assert ndcg["differs"] is True
    assert found["same_rows"] is True
    assert found["parameters"]["regularization"][1] == 3
    assert 0 < found["overlap"] < 1 == itself["overlap"] == itself["same_first"]
    assert itself["parameters"] == {}
    assert "±" in shown
    assert f"{found['overlap']:.0%}" in shown


def test_dead_letters_are_listed_shown_sent_again_and_deleted(cli: Cli, live: Fleet) -> None:
    with live.server.client() as client:
        garbage = dead_letters.park(client, b"\xff\xfe", kind="garbage", reason="not JSON", queue="celery")
    listed = cli("dead-letters", "list", "--json").json
    assert [letter["letter_id"] for letter in listed] == [garbage]
    assert "not JSON" in cli("dead-letters", "list").out
    assert garbage[:8] in cli("dead-letters", "list").out
    assert cli("dead-letters", "show", garbage[:8], "--json").json["reason"] == "not JSON"
    assert "not JSON" in cli("dead-letters", "show", garbage).out
    ran = cli("dead-letters", "send-again", garbage)
    assert ran.code == 2
    assert "cannot be sent again" in ran.err
    assert cli("dead-letters", "send-again", "--all", "--json").json == {"sent": []}
    assert cli("dead-letters", "delete").code == 2
    assert cli("dead-letters", "delete", garbage, "--json").json == {"deleted": 1}
    assert cli("dead-letters", "delete", garbage).code == 2
    assert cli("dead-letters", "show", garbage).code == 2
    assert cli("dead-letters", "list", "--json").json == []


def test_a_parked_message_that_is_sent_again_is_done(cli: Cli, live: Fleet) -> None:
    with live.server.client() as client:
        message = {
            "body": "W1tdLCB7InVzZXJfaWRzIjogWzEwMDJdfSwge31d",
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": "refresh_embeddings",
                "id": "parked-1",
                "root_id": "parked-1",
                "retries": 0,
            },
            "properties": {
                "correlation_id": "parked-1",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "celery"},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": "t",
            },
        }
        dead_letters.park(
            client, json.dumps(message).encode(), kind="poison", reason="killed its worker", queue="celery",
            task="refresh_embeddings", task_id="parked-1", deliveries=3,
        )  # fmt: skip
    assert cli("dead-letters", "send-again", "parked-1").out == "sent 1 again\n"
    assert producers.job("parked-1").wait(100)["users"] == 1


def test_health_tells_redis_queues_and_model(cli: Cli, live: Fleet) -> None:
    report = cli("health", "--json").json
    assert report["status"] == report["cache"]["status"] == "healthy"
    assert report["waiting"] == {"celery": 0, "batch": 0, "training": 0}
    assert report["dead_letters"] == 0
    assert report["model"]
    assert 0 <= report["model_age_s"] < 600
    shown = cli("health").out
    assert "healthy" in shown
    assert str(live.server.port) in shown


def test_a_table_leaves_no_column_out_and_breaks_no_line_of_what_a_program_reads(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = ["20261126T122345-4", "a data set with quite a long name of 60 characters or even more", "not compared"]
    monkeypatch.setenv("COLUMNS", "20")
    print_table(["version", "data set", "verdict"], [row], whole=["version"])
    narrow = capsys.readouterr().out
    monkeypatch.delenv("COLUMNS")
    print_table(["version", "data set", "verdict"], [row], whole=["version"])
    piped = capsys.readouterr().out

    assert narrow.splitlines()[0].split() == ["version", "data", "set", "verdict"]
    assert narrow.splitlines()[1].startswith(row[0])
    assert [len(narrow.splitlines()) > 2, len(piped.splitlines())] == [True, 2]
    assert row[1] in piped

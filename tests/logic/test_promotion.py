"""Which trainings go live: the gate's verdict, and what a message says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from taste import history, write_history

from timbral.versions.model_store import ModelStore

Train = Callable[..., dict[str, Any]]


def test_a_second_training_as_good_goes_live_and_an_incapable_one_does_not(train: Train, store: ModelStore) -> None:
    train("first")
    second = train("second", random_state=9)
    third = train("third", n_components=1, max_iter=1)

    assert second["promoted"]
    assert "not worse" in second["reason"]
    assert not third["promoted"]
    assert third["reason"].startswith("worse: NDCG@20")
    assert store.current_version() == second["model_version"]
    assert store.versions()[0] == third["model_version"], "it is kept, for an operator to look at"


def test_promote_says_whether_the_gate_is_asked(train: Train, store: ModelStore) -> None:
    first = train("first")
    assert not train("second", promote="never")["promoted"]
    assert store.current_version() == first["model_version"]
    assert train("third", n_components=1, max_iter=1, promote="always")["promoted"]


def test_a_slower_older_training_stays_out(train: Train, store: ModelStore) -> None:
    slow = store.trainings.begin("slow")
    fast = train("fast")

    answer = train("slow", promote="always")

    assert answer["model_version"] == slow.version
    assert not answer["promoted"]
    assert "began later" in answer["reason"]
    assert store.current_version() == fast["model_version"]


def test_nothing_held_out_means_one_fit_no_metrics_and_a_person_to_decide(train: Train, store: ModelStore) -> None:
    assert train("first", holdout=0)["promoted"], "there is nothing to compare it with"
    answer = train("second", holdout=0)

    assert answer["metrics"] == answer["baseline"] == {}
    assert (answer["promoted"], answer["verdict"]) == (False, "not compared")
    assert "nothing was held out" in answer["reason"]
    assert "evaluate" not in answer["durations_s"]
    assert train("third", holdout=0.2)["verdict"] == "not compared", "the live model has seen every row"
    asked = train("fourth", promote="always")
    assert asked["promoted"]
    assert asked["reason"].startswith("promote is 'always'; not compared")
    assert "overrules" not in asked["reason"]
    assert store.current_version() == asked["model_version"]


def test_an_equal_model_is_not_worse_where_another_share_is_held_out(train: Train) -> None:
    train("first", holdout=0.2)
    steps: list[tuple[int, int, str]] = []

    answer = train("second", holdout=0.5, random_state=3, progress=lambda *step: steps.append(step))

    assert answer["verdict"] == "not worse", answer["reason"]
    assert answer["promoted"]
    assert any(text.startswith("comparing: sweep") for _, _, text in steps)
    assert steps[-1][0] == steps[-1][1]


def test_a_model_with_times_is_compared_on_the_rows_that_the_live_one_held_out(train: Train, tmp_path: Path) -> None:
    rows = [f"{user},{item},{plays},{1_700_000_000 + n}" for n, (user, item, plays) in enumerate(history(200))]
    (tmp_path / "timed.csv").write_text("\n".join(["user_id,item_id,rating,at", *rows]))
    train("first")

    timed = train("second", dataset="timed.csv", time_col="at")
    without = train("third")

    assert timed["verdict"] == "not worse", timed["reason"]
    assert without["verdict"] == "not compared"
    assert "no times" in without["reason"]


@pytest.mark.parametrize("rows", [history(200)[:3], history(200)[:1], [(u, f"i{i}", n) for u, i, n in history(200)]])
def test_broken_data_do_not_go_live_unless_asked_to(train: Train, store: ModelStore, tmp_path: Path, rows: Any) -> None:
    live = train("first")
    write_history(tmp_path / "broken.csv", rows)

    answer = train("second", dataset="broken.csv")

    assert (answer["promoted"], answer["verdict"]) == (False, "not compared")
    assert store.current_version() == live["model_version"]
    assert train("third", dataset="broken.csv", promote="always")["promoted"]


def test_the_verdict_is_there_where_nothing_is_to_go_live(train: Train, store: ModelStore) -> None:
    train("first")

    answer = train("second", n_components=1, max_iter=1, promote="never")

    assert (answer["promoted"], answer["verdict"]) == (False, "worse")
    assert answer["reason"].startswith("promote is 'never'; worse: NDCG@20")
    verdict = store.show(answer["model_version"])["verdict"]
    assert verdict["candidate"] < verdict["live"]
    assert verdict["against"] == store.current_version()

"""A file into the history over HTTP: who may, what is refused before it is read, and what is told of its rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_fixtures import ApiProcess, _wait, csrf_of, log_in

from timbral import keys
from timbral.history.table import HistoryTable
from timbral.plays.imports import CUT_OFF_S, KEPT, ImportNotes, read_import, read_imports
from timbral.stack.embedded_server import EmbeddedServer

ROWS = b"listener,artist,n_plays,played_at,country\n1,a,3,1767225600,de\n2,b,0,1767225601,us\n3,b,2,1767225602,us\n"
WITH_A_GAP = ROWS + b",b,2,1767225603,us\n"
WHERE = "/console/data/import"


@pytest.fixture(scope="module")
def importing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    """An API with a Redis and a history of its own, that takes files up to 1 MB."""
    folder = tmp_path_factory.mktemp("importing")
    with EmbeddedServer(append_only=False) as server:
        made = ApiProcess(
            server.url, folder, API_TOKEN="write", API_READ_TOKEN="read", HISTORY_URI=str(folder / "history"),
            IMPORT_MAX_MB="1",
        )  # fmt: skip
        made.start().wait(_wait)
        yield made
        made.stop()


@pytest.fixture
def writing(importing: ApiProcess) -> Iterator[httpx.Client]:
    with importing.client() as client:
        log_in(client, "write")
        client.headers["x-csrf-token"] = csrf_of(client.get("/console/jobs"))
        yield client


def send(client: httpx.Client, body: Any, **query: str) -> httpx.Response:
    return client.post(WHERE, params={"name": "plays.csv", **query}, content=body)


def ended(client: httpx.Client, answer: httpx.Response, wait_until: Callable[..., None]) -> str:
    """The page of an import, once it is over, as a person reads it."""
    assert answer.status_code == 201, answer.text
    page = ""

    def is_over() -> bool:
        nonlocal page
        page = client.get(answer.headers["location"]).text
        return 'class="tag running"' not in page

    wait_until(is_over, 20, "the import's end")
    text = re.sub(r"<[^>]*>", " ", page.split("<main")[1].split("</main")[0])
    return re.sub(r"\s+", " ", text).replace("&#39;", "'")


def test_a_file_becomes_part_of_the_history_and_what_was_left_out_is_said(
    writing: httpx.Client, importing: ApiProcess, wait_until: Callable[..., None]
) -> None:
    said = ended(writing, send(writing, WITH_A_GAP, drop="on"), wait_until)

    assert "Read as user 'listener', item 'artist', value 'n_plays', time 'played_at'. Not read: country." in said
    assert "Rows in the file 4 Written 2 Left out 2" in said
    assert "1: 0 plays" in said
    assert "1: an id, a value or a time is missing" in said
    assert "Train a model" in said
    history = HistoryTable(importing.environment["HISTORY_URI"])
    rows = [row for batch in history.batches() for row in batch.to_pylist()]
    assert sorted((row["user_id"], row["item_id"], row["plays"]) for row in rows) == [("1", "a", 3.0), ("3", "b", 2.0)]
    assert re.search(r"action='?import.*role=writer", importing.log)
    listed = writing.get("/console/data").text
    assert "1: 0 plays; 1: an id, a value or a time is missing" in listed

    again = ended(writing, send(writing, WITH_A_GAP, drop="on"), wait_until)
    assert "imported before, so nothing had to be written" in again


def test_one_bad_row_refuses_the_file_and_says_which(
    writing: httpx.Client, importing: ApiProcess, wait_until: Callable[..., None]
) -> None:
    before = HistoryTable(importing.environment["HISTORY_URI"]).version()

    said = ended(writing, send(writing, WITH_A_GAP), wait_until)

    assert "data row 4: an id is missing" in said
    assert "Nothing was written" in said
    assert "Leave out rows without an id" in said  # the way out, on the same page
    assert HistoryTable(importing.environment["HISTORY_URI"]).version() == before


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"a,b\n1,2\n", "user_id"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file"),
        (b"listener,artist,at,played_at\n1,a,1,1\n", "could both be the times"),
        (b"listener,artist,time\n1,a,215\n", "before 1990"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(
    writing: httpx.Client, wait_until: Callable[..., None], body: bytes, said: str
) -> None:
    name = "plays" if b"HDF" in body else "plays.csv"

    assert said in ended(writing, send(writing, body, name=name), wait_until)


def test_only_a_writers_own_page_may_send_a_file(importing: ApiProcess, writing: httpx.Client) -> None:
    with importing.client() as stranger:
        csrf = csrf_of(stranger.get("/console/login"))
        nobody = stranger.post(WHERE, params={"name": "a.csv"}, content=ROWS, headers={"x-csrf-token": csrf})
        assert nobody.headers["location"].startswith("/console/login")
        log_in(stranger, "read")
        page = stranger.get("/console/data").text
        assert 'class="drop"' not in page
        assert "with the token for writing to import a file" in page
        csrf = csrf_of(stranger.get("/console/data"))
        reader = stranger.post(WHERE, params={"name": "a.csv"}, content=ROWS, headers={"x-csrf-token": csrf})
        assert reader.status_code == 403
    for headers in ({"x-csrf-token": "0" * 64}, {"origin": "https://evil.example"}, {"origin": "null"}):
        assert writing.post(WHERE, params={"name": "a.csv"}, content=ROWS, headers=headers).status_code == 403, headers


def test_a_file_that_is_too_large_or_empty_or_nameless_is_refused(writing: httpx.Client) -> None:
    large = b"1" * 1_000_001
    for body in (large, iter([large[:600_000], large[600_000:]])):  # its length said, and not
        refused = send(writing, body)
        assert refused.status_code == 413
        assert "1 MB at most here (IMPORT_MAX_MB)" in refused.text
    assert send(writing, b"").status_code == 422
    assert send(writing, ROWS, name="../").status_code == 422
    assert writing.get("/console/data/imports/nothing").status_code == 404


def test_a_files_name_is_a_name_and_no_path(writing: httpx.Client, wait_until: Callable[..., None]) -> None:
    said = ended(writing, send(writing, ROWS, name="..\\..\\etc/<b>plays.csv", played_now="on"), wait_until)

    assert "<b>" not in said
    assert "etc" not in said
    assert "played now" in said


def test_the_last_imports_are_kept_and_one_that_fell_silent_is_cut_off(own_server: EmbeddedServer) -> None:
    with own_server.client() as client:
        for number in range(KEPT + 3):
            ImportNotes(own_server.client, f"{number}.csv", 1).begin()
        kept = read_imports(client)

        assert len(kept) <= KEPT + 1
        assert kept[0].file == f"{KEPT + 2}.csv"
        assert 0 < client.ttl(keys.PLAYS_IMPORTS) <= 30 * 86_400
        assert not kept[0].was_cut_off
        record = json.loads(client.hget(keys.PLAYS_IMPORTS, kept[0].id) or "{}")
        client.hset(keys.PLAYS_IMPORTS, kept[0].id, json.dumps(record | {"seen_at": record["seen_at"] - CUT_OFF_S - 1}))
        found = read_import(client, kept[0].id)
        assert found is not None
        assert found.was_cut_off


def test_notes_that_cannot_be_taken_stop_no_import(tmp_path: Path, own_server: EmbeddedServer) -> None:
    notes = ImportNotes(own_server.client, "a.csv", 1)

    notes.rows("checked", 5)  # it never began: there was no Redis
    notes.done(n_read=5)

    with own_server.client() as client:
        assert read_imports(client) == []

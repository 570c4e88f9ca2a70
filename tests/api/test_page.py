"""GET /: the page's files, and what a browser may do with them."""

from __future__ import annotations

import re

import httpx

from timbral.api.routes.page import FILES

VENDORED = ("htmx.min.js", "htmx-sse.min.js")


def test_no_page_loads_anything_from_elsewhere_or_runs_anything_inline(http: httpx.Client) -> None:
    for path in ("/", "/console/users", "/console/models", "/console/jobs", "/console/login", "/console/nothing"):
        answer = http.get(path)

        assert answer.headers["content-type"] == "text/html; charset=utf-8", path
        assert all(one.startswith(("/", "#")) for one in re.findall(r'(?:src|href|action)="([^"]+)"', answer.text)), (
            path
        )
        assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:|hx-on", answer.text), path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"


def test_our_files_name_no_other_host_and_make_no_markup_of_text() -> None:
    for name, file in FILES.items():
        text = file.content.decode()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), name
        if name not in VENDORED:
            assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(", text), name


def test_a_page_with_all_that_it_loads_weighs_little(http: httpx.Client) -> None:
    for path in ("/", "/console/users", "/console/models"):
        page = http.get(path)
        files = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text))

        weight = len(page.content) + sum(len(http.get(name).content) for name in files)

        assert weight <= 150_000, (path, weight)


def test_files_are_sent_once_and_confirmed_after_that(http: httpx.Client) -> None:
    first = http.get("/static/page.js")
    second = http.get("/static/page.js", headers={"if-none-match": first.headers["etag"]})

    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    assert (second.status_code, second.content) == (304, b"")
    assert second.headers["content-security-policy"] == first.headers["content-security-policy"]


def test_answers_to_apps_are_neither_kept_nor_framed_nor_guessed_at(http: httpx.Client) -> None:
    for path in ("/users/1/recommendations", "/models", "/users/nobody", "/nowhere"):
        headers = http.get(path).headers
        assert headers["content-type"] == "application/json"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


def test_the_docs_are_made_of_our_own_files(http: httpx.Client) -> None:
    page = http.get("/docs")

    assert page.status_code == 200
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert http.get(name).status_code == 200, name
    assert not re.search(r'(?:src|href)="https?:', page.text)

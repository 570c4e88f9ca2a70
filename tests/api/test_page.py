"""GET /: the page's files, and what a browser may do with them."""

from __future__ import annotations

import re

import httpx

from timbral.api.routes.page import FILES


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(http: httpx.Client) -> None:
    answer = http.get("/")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert set(re.findall(r'(?:src|href)="([^"#]+)"', answer.text)) == {
        "/",
        "/docs",
        "/static/icon.svg",
        "/static/page.css",
        "/static/page.js",
    }
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:", answer.text)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    for name, file in FILES.items():
        text = file.content.decode()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), name
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(", text), name


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

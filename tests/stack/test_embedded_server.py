from __future__ import annotations

from timbral.stack.embedded_server import EmbeddedServer


def test_what_was_written_survives_a_kill_and_a_start(own_server: EmbeddedServer) -> None:
    with own_server.client() as client:
        client.config_set("appendfsync", "always")
        client.set("kept", "yes")
    own_server.kill()

    own_server.start()

    with own_server.client() as client:
        assert client.get("kept") == b"yes"


def test_closing_removes_the_temporary_folder_and_the_process() -> None:
    with EmbeddedServer() as server:
        directory, process = server.directory, server.process
        assert directory.is_dir()
    assert process is not None
    assert process.poll() is not None
    assert not directory.exists()

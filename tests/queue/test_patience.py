"""Which error replies mean: later."""

from __future__ import annotations

import pytest
import redis
from redis._parsers.base import BaseParser

from timbral.queue.patience import PatientRedis, RefusedError, heals
from timbral.stack.embedded_server import EmbeddedServer


@pytest.mark.parametrize(
    "reply",
    [
        "READONLY You can't write against a read only replica.",
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        "NOREPLICAS Not enough good replicas to write. script: 3b8a, on @user_script:5.",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "LOADING Redis is loading the dataset in memory",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CLUSTERDOWN The cluster is down",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "NOPERM User default has no permissions to run the 'lpush' command",
        "ERR ACL failure in script: User default has no permissions to run the 'hset' command",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "NOAUTH Authentication required.",
        "EXECABORT Transaction discarded because of previous errors.",
    ],
)
def test_what_somebody_or_time_puts_right_is_worth_waiting_for(reply: str) -> None:
    error = BaseParser.parse_error(reply)
    assert heals(error)
    assert heals(redis.ResponseError(f"Command # 2 (HSET OOM x) of pipeline caused error: {reply}"))


@pytest.mark.parametrize(
    "reply", ["NOSCRIPT No matching script.", "ERR unknown command 'NO'", "ERR syntax error", "NOPROTO no"]
)
def test_what_would_come_again_is_not(reply: str) -> None:
    assert not heals(BaseParser.parse_error(reply))


def test_a_patient_client_makes_an_outage_of_it(redis_server: EmbeddedServer) -> None:
    with PatientRedis.from_url(redis_server.url) as client:
        client.set("text", "x")
        with pytest.raises(RefusedError, match="WRONGTYPE"):
            client.lpush("text", "y")
        pipe = client.pipeline()
        pipe.set("other", 1)
        pipe.lpush("text", "y")
        with pytest.raises(RefusedError, match="WRONGTYPE"):
            pipe.execute()
        with pytest.raises(redis.ResponseError, match="unknown command"):
            client.execute_command("NO")
        assert client.register_script("return 1")() == 1, "NOSCRIPT is redis-py's own affair"

"""A script that has users' histories trained on, and prints what one of them gets.

    REDIS_URL=redis://127.0.0.1:6379 python examples/script.py plays.csv 1042

``plays.csv`` lies in the workers' data folder (DATA_DIR) and has the columns user_id, item_id and, where there are
plays, rating.
"""

from __future__ import annotations

import sys

import producers
from timbral.errors import RedisUnavailableError, TimbralError


def main(dataset: str, user_id: int) -> int:
    try:
        training = producers.enqueue_train_model(dataset)
        answer = training.wait(
            timeout_s=3600, on_progress=lambda state, progress: print(f"  {state.lower()} {progress.text}")
        )
        print(
            f"model {answer['model_version']} {'is live' if answer['promoted'] else 'stays aside: ' + answer['reason']}"
        )

        producers.enqueue_compute_recommendations(user_ids=[user_id], top_k=5).wait(timeout_s=60)
    except RedisUnavailableError as error:  # a ConnectionError: Redis is away, nothing was sent
        print(error, file=sys.stderr)
        return 3
    except TimbralError as error:  # the task's own error: a column that is missing, a rating that is no number, …
        print(error, file=sys.stderr)
        return 1

    for item in producers.get_recommendations(user_id, popular_if_cold=True) or []:
        print(f"{item['item_id']}\t{item['score']:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))

"""What every engine has to do: any order, any process, twice or not, and the bits of a training in one process."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from timbral.engines.block_store import BlockStore, remove_old_stores
from timbral.engines.block_task import Answer, BlockTask, Run, solve
from timbral.engines.ray_run import RayRun
from timbral.engines.spark_run import SparkRun
from timbral.engines.stored_halves import StoredHalves
from timbral.errors import ParameterError, TrainingError
from timbral.models.engine.factorization import HalvesOf
from timbral.models.nmf_model import NMFModel

PLAYS = sparse.random(2600, 1300, 0.01, "csr", np.float32, np.random.default_rng(0))
N_BLOCKS = 4


def solve_in(folder: Path, task: BlockTask) -> Answer:
    """In whatever process: the store is found by its name, with a cache of this host's."""
    return solve(task, BlockStore(folder, task.training, folder / "cache"), 1)


def in_process(folder: Path, tasks: Sequence[BlockTask]) -> Iterator[Answer]:
    """The smallest engine."""
    return map(partial(solve_in, folder), tasks)


def in_processes(pool: ProcessPoolExecutor, folder: Path, tasks: Sequence[BlockTask]) -> Iterator[Answer]:
    """An engine of other processes, which share nothing but the folder."""
    return pool.map(partial(solve_in, folder), tasks)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, get_context("spawn")) as made:
        yield made


@pytest.fixture(params=["in process", "in processes", "ray", "spark"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    if request.param == "spark":
        return SparkRun(BlockStore(tmp_path, "training"), request.getfixturevalue("spark").url)
    if request.param == "in process":
        return partial(in_process, tmp_path)
    if request.param == "ray":
        request.getfixturevalue("ray")
        return RayRun(BlockStore(tmp_path, "training"))
    return partial(in_processes, request.getfixturevalue("pool"), tmp_path)


def on(run: Run, folder: Path) -> HalvesOf:
    return lambda problem, threads: StoredHalves(problem, BlockStore(folder, "training"), run, N_BLOCKS)


def model(**options: object) -> NMFModel:
    return NMFModel(7, 0, 6, 0.0, regularization=0.3, n_neighbors=0, n_threads=1, **options)


def assert_same(mine: NMFModel, theirs: NMFModel) -> None:
    np.testing.assert_array_equal(mine._users(), theirs._users())
    np.testing.assert_array_equal(mine._items(), theirs._items())
    assert mine.training_history == theirs.training_history


@pytest.mark.parametrize("classic", [False, True])
def test_gives_the_bits_of_one_process(run: Run, tmp_path: Path, classic: bool) -> None:
    asked = {"unobserved_weight": 1.0, "confidence": 0.0} if classic else {"l1_regularization": 0.01}

    theirs = model(**asked).fit(PLAYS, halves_of=on(run, tmp_path))

    assert_same(model(**asked).fit(PLAYS), theirs)


def test_twice_and_shuffled_is_the_same(run: Run, tmp_path: Path) -> None:
    def twice_and_shuffled(tasks: Sequence[BlockTask]) -> Iterable[Answer]:
        assert len(tasks) > 1
        often = [*tasks, *tasks]
        random.Random(len(often) + tasks[0].half).shuffle(often)
        return run(often)

    assert_same(model().fit(PLAYS), model().fit(PLAYS, halves_of=on(twice_and_shuffled, tmp_path)))


def test_a_killed_process_of_ray_changes_no_bit(ray: Any, tmp_path: Path) -> None:
    # given
    killed: list[int] = []

    def kill(tasks: Sequence[BlockTask]) -> Iterator[Answer]:
        answers = run(tasks)
        yield next(answers)
        if tasks[0].half in (3, 6):
            killed.extend(
                pid for pid in descendants(os.getpid()) if command_of(pid).startswith(("ray::solve", "ray::IDLE"))
            )
            for pid in killed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        yield from answers

    # when
    run = RayRun(BlockStore(tmp_path, "training"))
    theirs = model().fit(PLAYS, halves_of=on(kill, tmp_path))

    # then
    assert killed
    assert_same(model().fit(PLAYS), theirs)


def descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield int(child)
            with contextlib.suppress(OSError):
                yield from descendants(int(child))


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_an_error_names_its_block(run: Run, tmp_path: Path) -> None:
    def with_a_hole(tasks: Sequence[BlockTask]) -> Iterable[Answer]:
        if tasks[0].half == 4:
            (tmp_path / "training" / "half4.gram").write_bytes(b"nothing")
        return run(tasks)

    with pytest.raises(TrainingError, match=r"block \d of half-sweep 4 \(rows \d+ to \d+ of the items\) failed: "):
        model().fit(PLAYS, halves_of=on(with_a_hole, tmp_path))


@pytest.mark.parametrize("damage", ["a byte", "cut", "zeros", "empty"])
def test_a_damaged_block_is_noticed_and_named(pool: ProcessPoolExecutor, tmp_path: Path, damage: str) -> None:
    def with_damage(tasks: Sequence[BlockTask]) -> Iterable[Answer]:
        if tasks[0].half == 3:
            path = tmp_path / "training" / "users1.indices"
            written = bytearray(path.read_bytes())
            middle = len(written) // 2
            if damage == "a byte":
                written[middle] ^= 4
            elif damage == "zeros":
                written[middle : middle + 64] = bytes(64)
            else:
                del written[middle if damage == "cut" else 0 :]
            path.unlink()
            path.write_bytes(written)
        return in_processes(pool, tmp_path, tasks)

    with pytest.raises(TrainingError, match=r"block 1 of half-sweep 3 .* failed: .*users1.indices is damaged"):
        model().fit(PLAYS, halves_of=on(with_damage, tmp_path))


def test_a_block_without_an_answer_is_named_and_one_of_another_half_is_none(run: Run, tmp_path: Path) -> None:
    def late(tasks: Sequence[BlockTask]) -> Iterable[Answer]:
        answers = list(run(tasks))
        return [*answers[:-1], answers[-1] | {"half": 99}]

    with pytest.raises(TrainingError, match=r"block \d of half-sweep 1 .* has no answer"):
        model().fit(PLAYS, halves_of=on(late, tmp_path))


def test_a_process_with_another_version_of_timbral_solves_nothing(run: Run, tmp_path: Path) -> None:
    def of_another(tasks: Sequence[BlockTask]) -> Iterable[Answer]:
        return run([replace(task, code="another") for task in tasks])

    with pytest.raises(TrainingError, match=r"block \d of half-sweep 1 .* another version of timbral"):
        model().fit(PLAYS, halves_of=on(of_another, tmp_path))


def test_a_message_is_plain_and_one_that_is_none_is_refused(tmp_path: Path) -> None:
    seen: list[BlockTask] = []

    def look(tasks: Sequence[BlockTask]) -> Iterable[Answer]:
        seen.extend(tasks)
        return in_process(tmp_path, tasks)

    model().fit(PLAYS, halves_of=on(look, tmp_path))

    fields = seen[0].as_dict()
    assert BlockTask.from_dict(fields) == seen[0]
    for wrong in ({"side": "plays"}, {"start": -1}, {"more": 1}):
        with pytest.raises((TypeError, ValueError)):
            BlockTask.from_dict(fields | wrong)
    with pytest.raises(ParameterError, match="cannot be the name of a block"):
        BlockStore(tmp_path, "../elsewhere")


def test_little_is_left_while_it_goes_on_and_nothing_after(tmp_path: Path) -> None:
    most = 0

    def count(tasks: Sequence[BlockTask]) -> Iterable[Answer]:
        nonlocal most
        most = max(most, len(list((tmp_path / "training").iterdir())))
        return in_process(tmp_path, tasks)

    store = BlockStore(tmp_path, "training")
    model().fit(PLAYS, halves_of=on(count, tmp_path))
    assert most <= 2 * (4 * N_BLOCKS + 2) + 4, "the two sides, and what one half needs"

    store.close()
    assert not store.exists()
    remove_old_stores(tmp_path, -1)
    assert list(tmp_path.iterdir()) == []

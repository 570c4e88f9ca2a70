"""The reader of pickles: plain data comes back whole, and nothing that a pickle names is ever run."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
from collections import OrderedDict, defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from timbral.utils.plain_pickle import PlainPickleError, dumps, loads

PROTOCOLS = (2, 3, 4, 5)

atoms = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
hashable = atoms | st.tuples(atoms, atoms) | st.frozensets(atoms, max_size=3)
plain_data = st.recursive(
    atoms | st.frozensets(hashable) | st.binary().map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(hashable, max_size=4)
    ),
    max_leaves=12,
)


@given(plain_data, st.sampled_from(PROTOCOLS))
def test_plain_data_comes_back_as_it_was_from_every_protocol(value: Any, protocol: int) -> None:
    assert loads(pickle.dumps(value, protocol)) == value
    assert loads(dumps(value)) == value


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_plain_but_never_another_error(data: bytes) -> None:
    for start in (b"", b"\x80\x04", b"\x80\x05\x95"):
        try:
            loads(start + data)
        except PlainPickleError:
            continue


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_flipped_byte_is_refused_or_plain_but_never_another_error(place: int, byte: int) -> None:
    data = bytearray(pickle.dumps({"ids": [1, "b"], "v": np.arange(6, dtype="f4").reshape(2, 3)}, 4))
    data[place % len(data)] = byte
    try:
        loads(data)
    except PlainPickleError:
        return


ARRAYS = {
    "float32": np.arange(6, dtype="f4").reshape(2, 3),
    "big endian": np.arange(3, dtype=">i8"),
    "fortran order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "a slice": np.arange(20)[::3],
    "booleans": np.array([True, False]),
    "complex": np.array([1j, 2]),
    "half": np.array([0.5], "f2"),
    "text": np.array(["é", "abc"]),
    "bytes": np.array([b"a", b"bc"]),
    "days": np.array(["2024-02-29"], "M8[D]"),
    "25 s steps": np.array([3], "m8[25s]"),
    "no rows": np.zeros((0, 5), "f4"),
    "no dimension": np.array(3.5),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ARRAYS)
def test_numpy_arrays_come_back_with_dtype_and_shape_and_can_be_written(name: str, protocol: int) -> None:
    array = ARRAYS[name]
    for data in (pickle.dumps([array, array], protocol), dumps([array, array])):
        first, second = loads(data)
        assert first is second
        assert type(first) is np.ndarray
        assert (first.dtype, first.shape) == (array.dtype, array.shape)
        assert_array_equal(first, array)
        assert first.flags.writeable


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_scalars_come_back_as_numpy_scalars(protocol: int) -> None:
    values = [np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("é"), np.datetime64("2024-01-01")]
    found = loads(pickle.dumps(values, protocol))
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_module_names_of_numpy_1_are_known_too(protocol: int) -> None:
    data = pickle.dumps({"v": np.arange(3.0), "s": np.float32(2)}, protocol)
    # numpy 1 wrote numpy.core where numpy 2 writes numpy._core: one letter less in each length-prefixed name.
    old = data.replace(b"numpy._core", b"numpy.core")
    if protocol >= 4:
        for name in (b"numpy.core.multiarray", b"numpy.core.numeric"):
            old = old.replace(bytes([len(name) + 1]) + name, bytes([len(name)]) + name)
        old = old[:3] + struct.pack("<Q", len(old) - 11) + old[11:]
    assert old != data
    assert_array_equal(loads(old)["v"], [0.0, 1.0, 2.0])


class Runs:
    """Pickles into a call of ``function``."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def op(*parts: bytes | str | int) -> bytes:
    """A protocol 4 pickle of raw operations; a str becomes SHORT_BINUNICODE."""
    body = b""
    for part in parts:
        if isinstance(part, str):
            raw = part.encode()
            body += pickle.SHORT_BINUNICODE + bytes([len(raw)]) + raw
        elif isinstance(part, int):
            body += pickle.BININT + struct.pack("<i", part)
        else:
            body += part
    return b"\x80\x04" + body + b"."


def named(module: str, name: str) -> bytes:
    return op(module, name, pickle.STACK_GLOBAL)[2:-1]


RECONSTRUCT = named("numpy.core.multiarray", "_reconstruct")
NDARRAY = named("numpy", "ndarray")
NEW_ARRAY = op(RECONSTRUCT, NDARRAY, 0, b"\x85", pickle.SHORT_BINBYTES + b"\x01b", b"\x87", b"R")[2:-1]


def dtype_of(code: str, order: str = "<") -> bytes:
    made = op(named("numpy", "dtype"), code, b"\x89\x88\x87R", b"(", 3, order, b"NNN", -1, -1, 0, b"tb")
    return made[2:-1]


def raw(data: bytes) -> bytes:
    return pickle.SHORT_BINBYTES + bytes([len(data)]) + data


HOSTILE: dict[str, bytes] = {
    "eval by name": pickle.dumps(Runs(eval, "1/0"), 2),
    "getattr chain": pickle.dumps(Runs(getattr, str, "mro")),
    "numpy.load": pickle.dumps(Runs(np.load, "/etc/passwd")),
    "numpy.memmap": op(named("numpy", "memmap"), "/etc/passwd", b"\x85R"),
    "numpy.fromfile": op(named("numpy", "fromfile"), "/etc/passwd", b"\x85R"),
    "a dotted name": op(named("numpy.core.multiarray", "_reconstruct.__globals__")),
    "a dotted name in builtins": op(named("builtins", "set.__class__.__base__.__subclasses__")),
    "a module of numpy": op(named("numpy.core", "multiarray._reconstruct")),
    "another subtype": op(RECONSTRUCT, named("numpy", "memmap"), 0, b"\x85", raw(b"b"), b"\x87R"),
    "reconstruct with a shape": op(RECONSTRUCT, NDARRAY, 99999, b"\x85", raw(b"b"), b"\x87R"),
    "an array of objects": pickle.dumps(np.array([Path(), None], dtype=object)),
    "an object dtype by hand": op(NEW_ARRAY, b"(", 1, 1, b"\x85", dtype_of("O8", "|"), b"\x89", raw(b"\0" * 8), b"tb"),
    "an array with fields": pickle.dumps(np.zeros(2, dtype=[("a", "i4"), ("b", "O")])),
    "a dtype that evaluates": op(named("numpy", "dtype"), "f4,O", b"\x89\x88\x87R"),
    "a dtype with metadata": pickle.dumps(np.zeros(1, np.dtype("f4", metadata={"a": print}))),
    "more shape than bytes": op(NEW_ARRAY, b"(", 1, 2**30, b"\x85", dtype_of("f8"), b"\x89", raw(b"\0" * 8), b"tb"),
    "a negative shape": op(NEW_ARRAY, b"(", 1, -1, b"\x85", dtype_of("f8"), b"\x89", raw(b"\0" * 8), b"tb"),
    "an array without state": op(NEW_ARRAY),
    "an unfinished array in a list": op(b"]", NEW_ARRAY, b"a"),
    "an unfinished array from the memo": op(b"]", NEW_ARRAY, b"\x94h\x00aa"),
    "a masked array": pickle.dumps(np.ma.array([1], mask=[True])),
    "a datetime": pickle.dumps(datetime(2024, 1, 1)),
    "an OrderedDict": pickle.dumps(OrderedDict(a=1)),
    "a defaultdict": pickle.dumps(defaultdict(list)),
    "a path": pickle.dumps(Path("x")),
    "an exception": pickle.dumps(ValueError("x")),
    "a class alone": op(named("builtins", "set")),
    "a function in a list": op(b"]", named("builtins", "set"), b"a"),
    "a function in a dict": op(b"}", "k", named("builtins", "set"), b"s"),
    "a function in a tuple": op(named("builtins", "set"), b"\x85"),
    "state for a name": op(named("builtins", "set"), b"}b"),
    "state for a dict": op(b"}", b"}", "a", 1, b"sb"),
    "a call of a list": op(b"])R"),
    "bytes by length": op(named("builtins", "bytes"), 2**30, b"\x85R"),
    "bytearray by length": op(named("builtins", "bytearray"), 2**30, b"\x85R"),
    "another codec": op(named("_codecs", "encode"), "x", "idna", b"\x86R"),
    "an extension code": op(b"\x82\x01"),
    "an old instance": b"\x80\x02(ios\nsystem\n.",
    "an old object": b"\x80\x02(cos\nsystem\nX\x02\x00\x00\x00ido.",
    "a new object": op(named("builtins", "set"), b")\x81"),
    "a persistent id": b"\x80\x02Pwhatever\n.",
    "an out-of-band buffer": b"\x80\x05\x97.",
    "protocol 0": pickle.dumps([1], 0),
    "a text int": b"\x80\x02I" + b"9" * 5000 + b"\n.",
    "a huge int": b"\x80\x02\x8b" + struct.pack("<i", 1_000_000) + b"\1" * 1_000_000 + b".",
    "a string longer than the input": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.",
    "a bytearray longer than the input": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.",
    "a mark left over": op(b"(", 1),
    "a mark in a list": op(b"](a"),
    "a mark in the memo": op(b"](\x94"),
    "two values": op(1, 2),
    "no value": op(),
    "no end": b"\x80\x04K\x01",
    "an unknown memo entry": op(b"h\x07"),
    "an odd dict": op(b"}(", 1, b"u"),
    "an unhashable key": op(b"}]", 1, b"s"),
    "nothing at all": b"",
    "not a pickle": b"hello",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_plain_data_is_refused(name: str) -> None:
    with pytest.raises(PlainPickleError):
        loads(HOSTILE[name])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("function", [os.system, subprocess.getoutput, eval, exec], ids=lambda f: f.__name__)
def test_a_pickle_that_would_write_a_file_writes_none(tmp_path: Path, function: Any, protocol: int) -> None:
    written = tmp_path / "written"
    text = f"open({str(written)!r}, 'w').close()" if function in (eval, exec) else f"touch {written}"
    hostile = pickle.dumps({"vector": [1.0], "x": Runs(function, text)}, protocol)
    pickle.loads(hostile)
    assert written.exists(), "the pickle of this test is not hostile"
    written.unlink()
    with pytest.raises(PlainPickleError, match="names"):
        loads(hostile)
    assert not written.exists()


def test_a_tower_of_shared_tuples_as_a_key_takes_no_exponential_time() -> None:
    tower = b"K\x01\x85\x94" + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(60))
    with pytest.raises(PlainPickleError, match="key"):
        loads(b"\x80\x04](" + tower + b"e}h\x3cNs.")
    with pytest.raises(PlainPickleError, match="key"):
        loads(b"\x80\x04](" + tower + b"e(h\x3c\x91.")


def test_a_memo_with_a_far_index_costs_no_memory() -> None:
    assert loads(b"\x80\x02K\x05r\xff\xff\xff\x7f.") == 5


def test_a_very_deep_list_is_read_and_let_go() -> None:
    deep = loads(b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".")
    assert len(deep) == 1


def test_the_steps_of_one_pickle_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timbral.utils.plain_pickle.MAX_OPERATIONS", 1000)
    with pytest.raises(PlainPickleError, match="1000 steps"):
        loads(b"\x80\x04(" + b"]" * 1001 + b"t.")


@pytest.mark.parametrize(
    "value",
    [
        datetime(2024, 1, 1),
        Path("x"),
        OrderedDict(a=1),
        np.array([None]),
        np.ma.array([1]),
        print,
        np.zeros(1, "i4,f4"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_writer_refuses_what_the_reader_would(value: object) -> None:
    with pytest.raises(PlainPickleError):
        dumps({"x": [value]})


def test_without_numpy_plain_containers_are_read_and_arrays_say_what_to_install() -> None:
    array = pickle.dumps(np.arange(3))
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from timbral.utils.plain_pickle import dumps, loads\n"
        "assert loads(dumps({'a': [1, 2.5, ('x', b'y')]})) == {'a': [1, 2.5, ('x', b'y')]}\n"
        f"try: loads({array!r})\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "numpy is not installed" in done.stdout

"""Pickles of plain data, written and read without ever running what they say.

``pickle.loads`` calls whatever its input names. This reader has its own stack machine instead: it looks no name up,
calls nothing, and knows only how plain containers, scalars, strings and numpy arrays are spelt (protocols 2 to 5, numpy
1 and 2). Everything else is refused before it becomes an object. numpy is imported when a pickle holds an array, not
before.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any, Final

from timbral.utils import plain_arrays

__all__ = ["PlainPickleError", "dumps", "loads"]

MAX_OPERATIONS: Final = 20_000_000
"""Most steps of one pickle: a byte of input can ask for 200 bytes of memory, so its length alone bounds too little."""
MAX_INT_BYTES: Final = 1024
MAX_KEY_NODES: Final = 1000
"""Most parts of a dict key or set member: nested tuples that share their parts take exponential time to hash."""


class PlainPickleError(ValueError):
    """The bytes are no pickle of plain data; the text says what was found instead."""


def dumps(value: object) -> bytes:
    """Pickle plain data (protocol 5), so that ``loads`` can read it.

    Raises:
        PlainPickleError: something in it is not plain data; names its type.
    """
    buffer = io.BytesIO()
    try:
        _PlainPickler(buffer, protocol=5).dump(value)
    except (pickle.PicklingError, RecursionError) as error:
        raise PlainPickleError(str(error)) from None
    return buffer.getvalue()


def loads(data: bytes | bytearray | memoryview) -> Any:
    """The plain data in ``data``.

    Raises:
        PlainPickleError: it is damaged, or holds anything but plain containers, scalars, strings and numpy arrays.
    """
    try:
        return _Reader(bytes(data)).read()
    except PlainPickleError:
        raise
    except plain_arrays.NotPlainError as error:
        raise PlainPickleError(str(error)) from None
    except (IndexError, struct.error):
        raise PlainPickleError("the pickle is cut off or damaged") from None
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise PlainPickleError(f"the pickle is damaged: {error}") from None


class _PlainPickler(pickle.Pickler):
    """Refuses at the writer what the reader would refuse; called only for what is not a builtin container or scalar."""

    def reducer_override(self, value: Any) -> Any:
        if value is complex or type(value) is complex or plain_arrays.is_plain(value):
            return NotImplemented  # the usual way
        raise pickle.PicklingError(
            f"{type(value).__module__}.{type(value).__qualname__} is not plain data: "
            "use lists, dicts, sets, numbers, strings and numpy arrays without objects"
        )


class _Name(plain_arrays.Token):
    """A global that the pickle named: only a label here."""

    def __init__(self, label: str) -> None:
        self.label = label


class _Arguments(plain_arrays.Token):
    """A tuple that holds tokens: the arguments of a call, never data."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values


_NUMPY_MODULES: Final = ("numpy.core", "numpy._core")
_NAMES: Final[dict[tuple[str, str], str]] = {
    **{(f"{core}.multiarray", "_reconstruct"): "reconstruct" for core in _NUMPY_MODULES},
    **{(f"{core}.multiarray", "scalar"): "scalar" for core in _NUMPY_MODULES},
    **{(f"{core}.numeric", "_frombuffer"): "frombuffer" for core in _NUMPY_MODULES},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    **{
        (module, name): name
        for module in ("builtins", "__builtin__")  # protocol 2 keeps Python 2's name
        for name in ("set", "frozenset", "bytearray", "bytes", "complex")
    },
}
_MARK: Final = plain_arrays.Token()
_TOKENS: Final = plain_arrays.TOKENS | {_Name, _Arguments}


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self) -> Any:
        data, operations = self.data, _OPERATIONS
        if len(data) < 2 or data[0] != 0x80 or not 2 <= data[1] <= 5:
            raise PlainPickleError("it is no pickle of protocol 2 to 5")
        self.at = 2
        for _ in range(MAX_OPERATIONS):
            code = data[self.at]
            self.at += 1
            if code == _STOP:
                break
            operation = operations.get(code)
            if operation is None:
                raise PlainPickleError(f"operation {bytes((code,))!r} at byte {self.at - 1} has no place in plain data")
            operation(self)
        else:
            raise PlainPickleError(f"it takes more than {MAX_OPERATIONS} steps")
        if len(self.stack) != 1 or isinstance(self.stack[0], plain_arrays.Token):
            raise PlainPickleError("it ends with something that is not plain data")
        return self.stack[0]

    # Reading arguments

    def take(self, n_bytes: int) -> bytes:
        start, self.at = self.at, self.at + n_bytes
        if self.at > len(self.data):
            raise IndexError
        return self.data[start : self.at]

    def number(self, layout: struct.Struct) -> Any:
        (value,) = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return value

    def line(self) -> str:
        end = self.data.index(b"\n", self.at)
        text = self.data[self.at : end].decode()
        self.at = end + 1
        return text

    def pop_to_mark(self) -> list[Any]:
        stack = self.stack
        at = len(stack) - 1
        while stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError
        values = stack[at + 1 :]
        del stack[at:]
        return values

    # Scalars and strings

    def integer(self, layout: struct.Struct) -> None:
        self.stack.append(self.number(layout))

    def long_integer(self, size: struct.Struct) -> None:
        n_bytes = self.number(size)
        if not 0 <= n_bytes <= MAX_INT_BYTES:
            raise PlainPickleError(f"an int of {n_bytes} bytes; at most {MAX_INT_BYTES} are read")
        self.stack.append(int.from_bytes(self.take(n_bytes), "little", signed=True))

    def text(self, size: struct.Struct) -> None:
        self.stack.append(self.take(self.number(size)).decode("utf-8", "surrogatepass"))

    def raw(self, size: struct.Struct) -> None:
        self.stack.append(self.take(self.number(size)))

    def raw_mutable(self) -> None:
        self.stack.append(bytearray(self.take(self.number(_U64))))

    # Containers

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise PlainPickleError("it appends to something that is no list")
        target.extend(_data(values))

    def append(self) -> None:
        self.extend([self.stack.pop()])

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise PlainPickleError("it sets an item of something that is no dict")
        target.update(zip(_members(values[::2]), _data(values[1::2]), strict=True))

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def add_items(self) -> None:
        values = self.pop_to_mark()
        target = self.stack[-1]
        if type(target) is not set:
            raise PlainPickleError("it adds to something that is no set")
        target.update(_members(values))

    def tuple_of(self, n_items: int) -> None:
        if len(self.stack) < n_items:
            raise IndexError
        values = tuple(self.stack[-n_items:])
        del self.stack[-n_items:]
        self.push_tuple(values)

    def push_tuple(self, values: tuple[Any, ...]) -> None:
        self.stack.append(_Arguments(values) if _has_tokens(values) else values)

    # The memo

    def memoize(self, key: int | None = None) -> None:
        key, value = len(self.memo) if key is None else key, self.stack[-1]
        if value is _MARK:
            raise PlainPickleError("it keeps a mark")
        if isinstance(value, plain_arrays.Unbuilt):
            value.memo_keys.append(key)
        self.memo[key] = value

    def recall(self, layout: struct.Struct) -> None:
        value = self.memo[self.number(layout)]
        if isinstance(value, plain_arrays.Unbuilt):
            raise PlainPickleError("it uses an array before it is complete")
        self.stack.append(value)

    # Names, calls and states

    def name(self, module: str, name: str) -> None:
        label = _NAMES.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if label is None:
            raise PlainPickleError(f"it names {_shown(module)}.{_shown(name)}, which is not plain data")
        self.stack.append(_Name(label))

    def stack_name(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.name(module, name)

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        values = arguments.values if isinstance(arguments, _Arguments) else arguments
        if not isinstance(function, _Name) or type(values) is not tuple:
            raise PlainPickleError("it calls something that is no name")
        self.stack.append(self.called(function.label, values))

    def called(self, label: str, values: tuple[Any, ...]) -> Any:
        match label, values:
            case "set" | "frozenset", (list() as members,):
                made = set(_members(members))
                return made if label == "set" else frozenset(made)
            case "bytearray" | "bytes", ():
                return bytearray() if label == "bytearray" else b""
            case "bytearray", (bytes() as raw,):
                return bytearray(raw)
            case "bytearray", (str() as text, "latin-1" | "latin1"):
                return bytearray(text, "latin-1")
            case "encode", (str() as text, "latin1"):
                return text.encode("latin-1")
            case "complex", (float() as real, float() as imaginary):
                return complex(real, imaginary)
            case "reconstruct", (_Name(label="ndarray"), (0,), b"b"):
                return plain_arrays.UnbuiltArray()
            case "dtype", (str() as code, int(), int()):
                return plain_arrays.UnbuiltDType(code)
            case "scalar", (plain_arrays.DType() as dtype, bytes() as raw):
                return plain_arrays.scalar(dtype, raw)
            case "frombuffer", (
                bytes() | bytearray() as raw,
                plain_arrays.DType() as dtype,
                tuple() as shape,
                str() as order,
            ):
                return plain_arrays.array(dtype, shape, order, raw)
        raise PlainPickleError(f"it calls {label} with arguments that plain data never has")

    def build(self) -> None:
        state, unbuilt = self.stack.pop(), self.stack.pop()
        if not isinstance(unbuilt, plain_arrays.Unbuilt):
            raise PlainPickleError("it sets the state of something that has none")
        values = state.values if isinstance(state, _Arguments) else state
        built = unbuilt.build(values)
        for key in unbuilt.memo_keys:
            self.memo[key] = built
        self.stack.append(built)


def _has_tokens(values: list[Any] | tuple[Any, ...]) -> bool:
    return not _TOKENS.isdisjoint(map(type, values))


def _data(values: list[Any]) -> list[Any]:
    if _has_tokens(values):
        raise PlainPickleError("it puts something into a container that is not plain data")
    return values


def _members(values: list[Any]) -> list[Any]:
    for value in _data(values):
        if type(value) in _NESTABLE:
            _count_parts(value)
    return values


def _count_parts(key: tuple[Any, ...] | frozenset[Any]) -> None:
    open_parts, n_parts = [key], 0
    while open_parts:
        part = open_parts.pop()
        n_parts += len(part)
        if n_parts > MAX_KEY_NODES:
            raise PlainPickleError(f"a key of more than {MAX_KEY_NODES} parts")
        open_parts.extend(value for value in part if type(value) in _NESTABLE)


_NESTABLE: Final = (tuple, frozenset)


def _shown(text: object) -> str:
    shown = text if isinstance(text, str) and text.isprintable() else repr(text)
    return shown if len(shown) <= 60 else shown[:59] + "…"


_U8, _U16, _U32, _U64 = (struct.Struct(f"<{code}") for code in "BHIQ")
_I32, _F64 = struct.Struct("<i"), struct.Struct(">d")
_STOP: Final = pickle.STOP[0]

_OPERATIONS: Final[dict[int, Callable[[_Reader], None]]] = {
    code[0]: operation
    for code, operation in {
        pickle.FRAME: lambda r: r.number(_U64),
        pickle.NONE: lambda r: r.stack.append(None),
        pickle.NEWTRUE: lambda r: r.stack.append(True),
        pickle.NEWFALSE: lambda r: r.stack.append(False),
        pickle.BININT: lambda r: r.integer(_I32),
        pickle.BININT1: lambda r: r.integer(_U8),
        pickle.BININT2: lambda r: r.integer(_U16),
        pickle.LONG1: lambda r: r.long_integer(_U8),
        pickle.LONG4: lambda r: r.long_integer(_I32),
        pickle.BINFLOAT: lambda r: r.integer(_F64),
        pickle.SHORT_BINUNICODE: lambda r: r.text(_U8),
        pickle.BINUNICODE: lambda r: r.text(_U32),
        pickle.BINUNICODE8: lambda r: r.text(_U64),
        pickle.SHORT_BINBYTES: lambda r: r.raw(_U8),
        pickle.BINBYTES: lambda r: r.raw(_U32),
        pickle.BINBYTES8: lambda r: r.raw(_U64),
        pickle.BYTEARRAY8: _Reader.raw_mutable,
        pickle.MARK: lambda r: r.stack.append(_MARK),
        pickle.EMPTY_LIST: lambda r: r.stack.append([]),
        pickle.EMPTY_DICT: lambda r: r.stack.append({}),
        pickle.EMPTY_SET: lambda r: r.stack.append(set()),
        pickle.EMPTY_TUPLE: lambda r: r.stack.append(()),
        pickle.APPEND: _Reader.append,
        pickle.APPENDS: lambda r: r.extend(r.pop_to_mark()),
        pickle.SETITEM: _Reader.set_item,
        pickle.SETITEMS: lambda r: r.set_items(r.pop_to_mark()),
        pickle.ADDITEMS: _Reader.add_items,
        pickle.FROZENSET: lambda r: r.stack.append(frozenset(_members(r.pop_to_mark()))),
        pickle.TUPLE: lambda r: r.push_tuple(tuple(r.pop_to_mark())),
        pickle.TUPLE1: lambda r: r.tuple_of(1),
        pickle.TUPLE2: lambda r: r.tuple_of(2),
        pickle.TUPLE3: lambda r: r.tuple_of(3),
        pickle.MEMOIZE: _Reader.memoize,
        pickle.BINPUT: lambda r: r.memoize(r.number(_U8)),
        pickle.LONG_BINPUT: lambda r: r.memoize(r.number(_U32)),
        pickle.BINGET: lambda r: r.recall(_U8),
        pickle.LONG_BINGET: lambda r: r.recall(_U32),
        pickle.GLOBAL: lambda r: r.name(r.line(), r.line()),
        pickle.STACK_GLOBAL: _Reader.stack_name,
        pickle.REDUCE: _Reader.call,
        pickle.BUILD: _Reader.build,
    }.items()
}

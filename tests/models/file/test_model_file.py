"""What a model file holds, and that no other file is taken for one."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open

from timbral.errors import ModelFileError, ModelNotFoundError, ParameterError
from timbral.models.file import model_file

TENSORS = {
    "user_factors": np.arange(60, dtype=np.float32).reshape(12, 5),
    "item_factors": np.linspace(0, 1, 35, dtype=np.float32).reshape(5, 7),
    "counts": np.array([3, 1, 2], np.int64),
    "nothing": np.zeros((0, 4), np.float64),
    "codes": np.array([1, 255, 3], np.uint8),
}
METADATA = {"seed": "42", "name": "Björk ☃", "empty": ""}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "new folder" / "deep" / "production_model.pkl"
    model_file.write(path, TENSORS, METADATA)
    return path


def with_header(path: Path, content: object, data: bytes = b"\0" * 16) -> Path:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def tensor(
    dtype: object = "F32", shape: object = (2, 2), offsets: object = (0, 16), **more: object
) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


def test_what_is_written_is_read_back(path: Path) -> None:
    tensors, metadata = model_file.read(path, verify=True)

    assert metadata == METADATA
    assert tensors.keys() == TENSORS.keys()
    for name, written in TENSORS.items():
        assert tensors[name].dtype == written.dtype
        np.testing.assert_array_equal(tensors[name], written)


@given(
    tensors=st.dictionaries(
        st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=5),
        hnp.arrays(
            st.sampled_from(["<f4", ">f8", "<i4", "<i8", "u1", "<f2"]), hnp.array_shapes(min_side=0, max_side=4)
        ),
        max_size=4,
    ),
    metadata=st.dictionaries(st.text(max_size=5).map("m".__add__), st.text(st.characters(exclude_categories=["Cs"]))),
)
def test_any_arrays_and_texts_are_read_back(
    tmp_path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]
) -> None:
    metadata = {key: value for key, value in metadata.items() if key.isprintable()}
    model_file.write(tmp_path / "m", tensors, metadata)

    found, found_metadata = model_file.read(tmp_path / "m")

    assert found_metadata == metadata
    assert found.keys() == tensors.keys()
    for name, written in tensors.items():
        np.testing.assert_array_equal(found[name], written)
        assert found[name].shape == written.shape
        assert found[name].flags.aligned


def test_tensors_of_whole_cache_lines_start_at_one(tmp_path: Path) -> None:
    # Half as many cache lines are read by whoever reads vectors of 64 bytes from them.
    tensors = {
        "an index": np.zeros(3, np.int64),
        "blocks": np.ones((5, 4, 16), np.float32),
        "codes": np.ones((2, 64), np.uint8),
        "weights": np.ones(7, np.float32),
    }
    model_file.write(tmp_path / "model", tensors)

    found, _ = model_file.read(tmp_path / "model")

    assert [found[name].ctypes.data % 64 for name in ("blocks", "codes")] == [0, 0]


def test_the_safetensors_library_reads_our_files(path: Path) -> None:
    found = safetensors.numpy.load_file(path)

    for name, written in TENSORS.items():
        np.testing.assert_array_equal(found[name], written)
    with safe_open(path, "numpy") as file:
        assert file.metadata()["seed"] == "42"
        assert file.metadata()["timbral.format_version"] == "4"


def test_transposed_and_sliced_arrays_are_written_as_they_look(tmp_path: Path) -> None:
    grid = np.arange(24, dtype=np.float32).reshape(4, 6)

    model_file.write(tmp_path / "m", {"t": grid.T, "s": grid[::2, ::3]})

    found, _ = model_file.read(tmp_path / "m")
    np.testing.assert_array_equal(found["t"], grid.T)
    np.testing.assert_array_equal(found["s"], grid[::2, ::3])


def test_tensors_are_mapped_and_cannot_be_written_to(path: Path) -> None:
    tensors, _ = model_file.read(path)

    for found in tensors.values():
        assert not found.flags.writeable
        assert not found.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        tensors["user_factors"][0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        tensors["user_factors"].flags.writeable = True


def test_a_large_model_loads_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "large"
    model_file.write(path, {"user_factors": np.ones((400_000, 64), np.float32)})
    script = f"""
        import resource
        from timbral.models.file import model_file
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        tensors, _ = model_file.read({str(path)!r})
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    """

    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)

    mib = float(done.stdout)
    assert path.stat().st_size > 100e6
    assert mib < 40


def test_an_open_model_outlives_its_replacement_and_deletion(path: Path) -> None:
    old, _ = model_file.read(path)

    model_file.write(path, {"user_factors": np.zeros((1, 1), np.float32)})
    new, metadata = model_file.read(path)
    path.unlink()

    np.testing.assert_array_equal(old["user_factors"], TENSORS["user_factors"])
    assert new.keys() == {"user_factors"}
    assert metadata == {}


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"No model at .*none\.bin"):
        model_file.read(tmp_path / "none.bin")
    with pytest.raises(FileNotFoundError):
        model_file.read(str(tmp_path / "no folder" / "none.bin"))


HOSTILE_HEADERS: dict[str, object] = {
    "not JSON": b"{nonsense",
    "not UTF-8": b'{"a\xff": 1}',
    "a list": [1, 2],
    "a number": 7,
    "nested without end": b'{"a":' * 200_000,
    "a number without end": b'{"a":' + b"9" * 100_000 + b"}",
    "not a number": b'{"a": {"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}',
    "the same name twice": b'{"a": 1, "a": 2}',
    "a tensor that is a number": {"a": 1},
    "a missing field": {"a": {"dtype": "F32", "shape": [4]}},
    "a field too many": {"a": tensor(code="os.system")},
    "an unknown dtype": {"a": tensor("O")},
    "a dtype that is a list": {"a": tensor(["F32"])},
    "the wrong dtype": {"a": tensor("F64")},
    "a negative size": {"a": tensor(shape=[-2, -2])},
    "a size that is true": {"a": tensor(shape=[True, 4])},
    "a fractional size": {"a": tensor(shape=[2.0, 2.0])},
    "sizes that overflow": {"a": tensor(shape=[2**62, 2**62, 4])},
    "a size beyond 64 bits": {"a": tensor(shape=[2**70, 0], offsets=[0, 0])},
    "too many dimensions": {"a": tensor(shape=[1] * 60 + [4])},
    "offsets beyond the end": {"a": tensor(shape=[4, 4], offsets=[0, 64])},
    "offsets before the start": {"a": tensor(offsets=[-16, 0])},
    "offsets back to front": {"a": tensor(offsets=[16, 0])},
    "one offset": {"a": tensor(offsets=[16])},
    "overlapping tensors": {"a": tensor(), "b": tensor(shape=[2], offsets=[8, 16])},
    "a gap": {"a": tensor(shape=[1], offsets=[0, 4]), "b": tensor(shape=[2], offsets=[8, 16])},
    "bytes that no tensor has": {"a": tensor(shape=[2], offsets=[0, 8])},
    "an unaligned tensor": {"a": tensor("U8", [1], [0, 1]), "b": tensor("U8", [15], [1, 16])},
    "a name with NUL": {"a\0b": tensor()},
    "an empty name": {"": tensor()},
    "metadata that are a list": {"__metadata__": [], "a": tensor()},
    "metadata that are numbers": {"__metadata__": {"timbral.format": 1}, "a": tensor()},
    "no metadata": {"a": tensor()},
    "somebody else's metadata": {"__metadata__": {"format": "pt"}, "a": tensor()},
    "no version": {"__metadata__": {"timbral.format": "model"}, "a": tensor()},
    "a strange version": {"__metadata__": {"timbral.format": "model", "timbral.format_version": "-1"}, "a": tensor()},
    "no checksums": {"__metadata__": {"timbral.format": "model", "timbral.format_version": "3"}, "a": tensor()},
}


@pytest.mark.parametrize("case", HOSTILE_HEADERS)
def test_a_hostile_header_is_refused_by_name(tmp_path: Path, case: str) -> None:
    path = with_header(tmp_path / "hostile.bin", HOSTILE_HEADERS[case])

    with pytest.raises(ModelFileError, match=r"hostile\.bin: (is|was|has|cannot)") as caught:
        model_file.read(path)
    assert len(str(caught.value)) < 600


def test_a_model_of_a_newer_timbral_is_named_as_such(tmp_path: Path) -> None:
    metadata = {"timbral.format": "model", "timbral.format_version": "5"}
    path = with_header(tmp_path / "m", {"__metadata__": metadata, "a": tensor()})

    with pytest.raises(ModelFileError, match=r"newer timbral \(format 5; this one reads 4\)"):
        model_file.read(path)


def test_a_model_of_an_older_timbral_is_named_as_such_and_what_to_do(tmp_path: Path) -> None:
    metadata = {"timbral.format": "model", "timbral.format_version": "2"}
    path = with_header(tmp_path / "m", {"__metadata__": metadata, "a": tensor()})

    with pytest.raises(ModelFileError, match=r"older timbral \(format 2; this one reads 4\): train the model again"):
        model_file.read(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"user_factors": np.ones((3, 3), np.float32)}, tmp_path / "m")

    with pytest.raises(ModelFileError, match="not a model of timbral"):
        model_file.read(tmp_path / "m")


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("exploded",)


def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path = tmp_path / "model.pkl"
        path.write_bytes(pickle.dumps(Bomb(), protocol=protocol))
        with pytest.raises(ModelFileError, match=r"model\.pkl: is not a model file"):
            model_file.read(path)
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        struct.pack("<Q", 0),
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 2**64 - 1),
        struct.pack("<Q", 100) + b"{}",
    ],
)
def test_a_file_without_a_whole_header_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)

    with pytest.raises(ModelFileError, match="/m: is"):
        model_file.read(tmp_path / "m")


def test_what_is_not_a_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ModelFileError, match="is a folder"):
        model_file.read(tmp_path)
    with pytest.raises(ModelFileError, match="not a regular file"):
        model_file.read(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match="null"):
        model_file.read("a\0b")


def test_a_file_cut_off_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError):
            model_file.read(path)


def test_a_changed_byte_anywhere_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    header_stop = 8 + struct.unpack("<Q", whole[:8])[0]
    padding = range(len(whole[:header_stop].rstrip(b" ")), header_stop)
    for place in set(range(len(whole))) - set(padding):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ModelFileError):
            model_file.read(path)


def test_a_changed_byte_is_noticed_in_a_large_file_too_and_by_verify_in_the_largest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m"
    model_file.write(path, {"a": np.zeros(40 * 2**20, np.uint8)})
    with path.open("r+b") as file:
        file.seek(4 * 2**20)
        file.write(b"\1")

    with pytest.raises(ModelFileError, match="checksum of MiB 3 does not fit"):
        model_file.read(path)
    monkeypatch.setattr(model_file, "WHOLE_BLOCKS", 39)
    model_file.read(path)  # samples have missed it
    with pytest.raises(ModelFileError, match="checksum of MiB 3 does not fit"):
        model_file.read(path, verify=True)


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({"": np.ones(1)}, {}),
        ({"a\0": np.ones(1)}, {}),
        ({"__metadata__": np.ones(1)}, {}),
        ({"a": np.array([object()])}, {}),
        ({"a": np.array(["text"])}, {}),
        ({"a": np.ones(1)}, {"a": 1}),
        ({"a": np.ones(1)}, {"timbral.format": "other"}),
        ({"a": np.ones(1)}, {"a": "\ud800"}),
    ],
)
def test_what_the_format_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]
) -> None:
    with pytest.raises(ParameterError):
        model_file.write(tmp_path / "folder" / "m", tensors, metadata)
    assert list(tmp_path.iterdir()) == []

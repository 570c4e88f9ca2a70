from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyarrow import fs

from timbral.data.dataset_path import resolve_dataset
from timbral.errors import DataError, DatasetNotFoundError
from timbral.utils.data_loader import DataLoader


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "2026").mkdir(parents=True)
    (folder / "2026" / "plays.csv").write_text("user_id,item_id\n1,2\n")
    (tmp_path / "secret.csv").write_text("user_id,item_id\n9,9\n")
    (tmp_path / "data-of-others").mkdir()
    (tmp_path / "data-of-others" / "x.csv").write_text("user_id,item_id\n9,9\n")
    return folder


def test_a_path_below_the_data_folder_is_found_and_read(data_dir: Path) -> None:
    file = resolve_dataset("2026/plays.csv", data_dir)

    assert file.name == "2026/plays.csv"
    assert DataLoader().load_csr(file).n_rows == 1


def test_the_data_folder_may_be_relative_and_a_link(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data_dir.parent)
    (data_dir.parent / "link").symlink_to("data")

    assert DataLoader().load_csr(resolve_dataset("2026/plays.csv", "link")).n_rows == 1


def test_a_link_that_stays_below_is_followed(data_dir: Path) -> None:
    (data_dir / "current.csv").symlink_to("2026/plays.csv")

    assert DataLoader().load_csr(resolve_dataset("current.csv", data_dir)).n_rows == 1


@pytest.mark.parametrize(
    "dataset",
    [
        "../secret.csv",
        "2026/../../secret.csv",
        "2026/../2026/plays.csv",
        "~/plays.csv",
        "",
        "a\0b",
        "../data-of-others/x.csv",
    ],
)
def test_a_path_that_goes_up_is_refused(dataset: str, data_dir: Path) -> None:
    with pytest.raises(DataError):
        resolve_dataset(dataset, data_dir)


def test_an_absolute_path_is_refused_even_below(data_dir: Path) -> None:
    for path in (data_dir / "2026" / "plays.csv", data_dir.parent / "secret.csv"):
        with pytest.raises(DataError, match="must be a path below the data folder"):
            resolve_dataset(str(path), data_dir)


def test_a_link_that_leads_out_is_refused(data_dir: Path) -> None:
    (data_dir / "out.csv").symlink_to("../secret.csv")
    (data_dir / "dir").symlink_to("../data-of-others")

    for dataset in ("out.csv", "dir/x.csv"):
        with pytest.raises(DataError, match=f"{dataset}: is a link that leads out of the data folder"):
            resolve_dataset(dataset, data_dir)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to see what was opened")
def test_a_link_that_is_swapped_after_the_check_is_refused_too(data_dir: Path) -> None:
    file = resolve_dataset("2026/plays.csv", data_dir)
    (data_dir / "2026").rename(data_dir / "2025")
    (data_dir.parent / "data-of-others" / "plays.csv").write_text("user_id,item_id\n9,9\n")
    (data_dir / "2026").symlink_to("../data-of-others")

    with pytest.raises(DataError, match="does not lie below the data folder"):
        DataLoader().load_csr(file)


def test_a_folder_is_resolved_like_a_file(data_dir: Path) -> None:
    assert DataLoader().load_csr(resolve_dataset("2026", data_dir)).n_rows == 1


def test_a_link_in_a_folder_that_leads_out_is_not_followed(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("user_id,item_id\n1,2\n")
    (data_dir / "2026" / "z.csv").symlink_to(tmp_path / "secret.csv")

    with pytest.raises(DataError, match=r"2026/z\.csv: does not lie below the data folder"):
        DataLoader().load_csr(resolve_dataset("2026", data_dir))


def test_what_is_not_there_is_answered_with_what_is(data_dir: Path) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        resolve_dataset("2026/play.csv", data_dir)

    assert str(caught.value) == (
        f"No data set at 2026/play.csv: in the folder {data_dir.resolve()}/2026 there are plays.csv; "
        "did you mean 2026/plays.csv?"
    )


def test_pipes_and_what_is_not_there_are_refused(data_dir: Path) -> None:
    os.mkfifo(data_dir / "pipe.csv")
    (data_dir / "loop.csv").symlink_to("loop.csv")

    with pytest.raises(DataError, match=r"pipe\.csv: is not a regular file"):
        resolve_dataset("pipe.csv", data_dir)
    with pytest.raises(DataError, match=r"loop\.csv: cannot be opened"):
        resolve_dataset("loop.csv", data_dir)
    for dataset in ("none.csv", "2026/plays.csv/x"):
        with pytest.raises(DatasetNotFoundError, match=f"No data set at {dataset}"):
            resolve_dataset(dataset, data_dir)
    with pytest.raises(DatasetNotFoundError, match="there is no data folder"):
        resolve_dataset("plays.csv", data_dir / "none")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://plays-evil/x.csv",
        "s3://plays/2026x/x.csv",
        "s3://plays/2025/x.csv",
        "s3://plays/2026/../2025/x.csv",
        "s3://plays/2026/%2e%2e/2025/x.csv",
        "s3://plays/2026/..%2f2025/x.csv",
        "s3://plays/2026/x.csv?endpoint_override=evil.example",
        "s3://key:secret@plays/2026/x.csv",
        "s3://plays/2026/x.csv#y",
        "s3://plays/2026\\..\\x.csv",
        "gs://plays/2026/x.csv",
        "file:///etc/passwd",
        "https://plays/2026/x.csv",
        "s3://[plays/2026/x.csv",
    ],
)
def test_a_uri_under_no_allowed_prefix_is_refused(uri: str, data_dir: Path) -> None:
    with pytest.raises(DataError, match="is not under an allowed prefix") as caught:
        resolve_dataset(uri, data_dir, ["s3://plays/2026"])
    assert "secret" not in str(caught.value)
    with pytest.raises(DataError, match="none is allowed"):
        resolve_dataset(uri, data_dir)


@pytest.mark.parametrize(
    "prefix", ["s3://plays/2026", "s3://plays/2026/", "s3://plays", "S3://plays/", "s3://plays/2026/x.csv"]
)
def test_a_uri_under_an_allowed_prefix_goes_to_its_file_system(
    prefix: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Store:
        @staticmethod
        def from_uri(uri: str) -> tuple[fs.FileSystem, str]:
            assert uri == "s3://plays/2026/x.csv"
            return fs.SubTreeFileSystem(str(data_dir), fs.LocalFileSystem()), "2026/plays.csv"

    monkeypatch.setattr(fs, "FileSystem", Store)

    file = resolve_dataset("s3://plays/2026/x.csv", data_dir, ["gs://other", prefix])

    assert file.name == "s3://plays/2026/x.csv"
    assert DataLoader().load_csr(file).n_rows == 1


def test_a_scheme_that_nothing_reads_is_an_error_of_ours(data_dir: Path) -> None:
    with pytest.raises(DataError, match=r"ftp://host/x\.csv: cannot be opened"):
        resolve_dataset("ftp://host/x.csv", data_dir, ["ftp://host"])


def test_file_uris_are_read_below_their_prefix_and_their_links_stay_there(data_dir: Path) -> None:
    prefix = f"file://{data_dir}/2026"
    (data_dir / "2026" / "with space.csv").write_text("user_id,item_id\n1,2\n")
    (data_dir / "2026" / "out.csv").symlink_to("../../secret.csv")

    assert DataLoader().load_csr(resolve_dataset(f"{prefix}/plays.csv", "none", [prefix])).n_rows == 1
    assert DataLoader().load_csr(resolve_dataset(f"{prefix}/plays.csv", "none", [f"{prefix}/plays.csv"])).n_rows == 1
    assert DataLoader().load_csr(resolve_dataset(f"{prefix}/with%20space.csv", "none", [prefix])).n_rows == 1
    with pytest.raises(DataError, match=r"out\.csv: is a link that leads out"):
        resolve_dataset(f"{prefix}/out.csv", "none", [prefix])
    with pytest.raises(DatasetNotFoundError):
        resolve_dataset(f"{prefix}/none.csv", "none", [prefix])
    with pytest.raises(DataError, match="not under an allowed prefix"):
        resolve_dataset(f"file://{data_dir}-of-others/x.csv", "none", [f"file://{data_dir}"])

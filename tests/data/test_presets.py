"""The forms of data sets that many people have, as docs/data.md shows them."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from timbral.data.presets import PRESETS
from timbral.errors import DataError, ParameterError
from timbral.utils.data_loader import DataLoader

DOCS = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
SAMPLES = dict(re.findall(r"<!-- sample: (\S+) -->\n```\n(.*?)```", DOCS, re.DOTALL))
SHA1 = "00000c289a1829a808ac09c00daf10bc3c4e223b"
MSD_USER = "b80344d063b5ccb3212f76538f3d9e43d87dca9e"
EXPECTED: dict[str, tuple[dict[tuple[Any, Any], float], bool, int]] = {
    "lastfm-360k": (
        {(SHA1, "3bd73256-3905-4f3a-97e2-8b341527f805"): 2137.0, (SHA1, "die Ärzte"): 1099.0}, False, 0,
    ),
    "lastfm-1k": (
        {("user_000001", "Deep Dish – Say Hello"): 1.0, ("user_000001", "4a3f3d1c-1b2d-4e5f-8a9b-0c1d2e3f4a5b"): 1.0}, True, 0,
    ),
    "msd": ({(MSD_USER, "SOAKIMP12A8C130995"): 1.0, (MSD_USER, "SOAPDEY12A81C210A9"): 2.0}, False, 0),
    "movielens-100k": ({(196, 242): 3.0, (186, 302): 4.0}, True, 0),
    "movielens-1m": ({(1, 1193): 5.0, (1, 661): 3.0}, True, 0),
    "listenbrainz": ({("rob", "8f3471b5-7e6a-48da-86a9-c1c07a0f47ae"): 1.0, ("rob", "A – U"): 1.0}, True, 0),
    "spotify-extended": ({("ann", "spotify:track:1"): 1.0}, True, 1),
    "spotify-account": ({("me", "A – T"): 1.0, ("me", "A – U"): 1.0}, True, 0),
}  # fmt: skip


def sample(preset: str, folder: Path, name: str | None = None) -> Path:
    file = next(file for file in SAMPLES if file.startswith(f"{preset}."))
    path = folder / (name or file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SAMPLES[file], encoding="utf-8")
    return path


def entries(read: Any) -> dict[tuple[Any, Any], float]:
    coo = read.matrix.tocoo()
    pairs = zip(read.user_ids.ids(coo.row), read.item_ids.ids(coo.col), strict=True)
    return dict(zip(pairs, coo.data.tolist(), strict=True))


def test_every_preset_has_a_sample() -> None:
    assert sorted(Path(file).stem for file in SAMPLES) == sorted(PRESETS) == sorted(EXPECTED)


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("name", PRESETS)
def test_a_sample_is_read_whether_its_preset_is_said_or_not(name: Any, said: bool, tmp_path: Path) -> None:
    path = sample(name, tmp_path)
    expected, has_times, n_dropped = EXPECTED[name]

    read = DataLoader().load_csr(path, preset=name if said else None)

    assert entries(read) == expected
    assert read.report()["preset"] == name
    assert read.report()["rows_dropped"] == n_dropped
    assert (read.times is not None) == has_times


@pytest.mark.parametrize("name", PRESETS)
def test_a_sample_is_a_frame_that_makes_a_matrix(name: Any, tmp_path: Path) -> None:
    loader = DataLoader()

    frame = loader.load_user_interactions(sample(name, tmp_path), preset=name)
    matrix = loader.create_user_item_matrix(frame)

    assert {(user, item): matrix.loc[user, item] for user, item in EXPECTED[name][0]} == EXPECTED[name][0]


def test_podcasts_are_refused_where_asked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'spotify_track_uri', data row 2: an id is missing"):
        DataLoader().load_csr(sample("spotify-extended", tmp_path), on_missing="refuse")


def test_what_is_said_overrules_the_preset(tmp_path: Path) -> None:
    path = sample("lastfm-360k", tmp_path)

    read = DataLoader().load_csr(path, preset="lastfm-360k", item_col="artist_name", value_col=None)

    assert list(read.item_ids) == ["betty blowtorch", "die Ärzte"]
    assert read.matrix.sum() == 2


def test_a_data_set_s_own_files_are_found_among_others(tmp_path: Path) -> None:
    folder = tmp_path / "ml-1m"
    sample("movielens-1m", folder, "ratings.dat")
    (folder / "movies.dat").write_text("1::Toy Story (1995)::Animation\n")
    (folder / "README").write_text("read me")
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"ml-1m/{file.name}")

    for path in (folder, tmp_path / "ml-1m.zip"):
        assert entries(DataLoader().load_csr(path)) == EXPECTED["movielens-1m"][0]


def test_each_person_s_export_may_lie_in_a_folder_of_theirs(tmp_path: Path) -> None:
    sample("spotify-account", tmp_path / "all" / "username=ann", "StreamingHistory0.json")
    sample("spotify-account", tmp_path / "all" / "username=bob", "StreamingHistory0.json")
    shutil.copy(
        tmp_path / "all" / "username=bob" / "StreamingHistory0.json", tmp_path / "all" / "username=bob" / "x.txt"
    )

    read = DataLoader().load_csr(tmp_path / "all", preset="spotify-account")

    assert list(read.user_ids) == ["ann", "bob"]


def test_podcasts_beside_the_music_of_an_account_are_left_out(tmp_path: Path) -> None:
    sample("spotify-account", tmp_path / "account", "StreamingHistory_music_0.json")
    (tmp_path / "account" / "StreamingHistory_podcast_0.json").write_text(
        '[{"endTime": "2021-01-01 10:00", "podcastName": "P", "episodeName": "E", "msPlayed": 1}]'
    )

    assert list(DataLoader().load_csr(tmp_path / "account", user_col=None, item_col=None).item_ids) == [
        "A – T",
        "A – U",
    ]


def test_an_unknown_preset_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"preset must be one of lastfm-360k, .*got 'lastfm'"):
        DataLoader().load_csr(tmp_path / "x.csv", preset="lastfm")


def test_columns_with_names_of_their_own_are_no_preset(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"user_id": 1, "item_id": 2, "track_metadata": {}}')

    assert DataLoader().load_csr(path).report()["preset"] is None

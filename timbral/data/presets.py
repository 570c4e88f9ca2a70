"""The forms of data sets that many people have: which columns, in which order, with which separator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from timbral.errors import ParameterError
from timbral.messages import PresetName

__all__ = ["PRESETS", "Preset", "preset_called", "preset_of_keys", "preset_of_lines"]

SHA1: Final = r"[0-9a-f]{40}"
UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Preset:
    """A data set's form.

    Attributes:
        name: what it is called.
        format: "csv" or "json".
        user, item, value, time: where they are read from, as ColumnSource writes it. ``value`` None: each row counts 1.
        separator, columns: of a csv file; it has no header.
        drops: rows without an item are none of music (podcasts), and are left out unless asked otherwise.
        line: what every line of a csv file looks like.
        keys: what the first object of a json file has.
        files: the data set's own names for its file; told from others in a folder or a zip.
    """

    name: PresetName
    format: Literal["csv", "json"]
    user: str
    item: str
    value: str | None = None
    time: str | None = None
    separator: str | None = None
    columns: tuple[str, ...] = ()
    drops: bool = False
    line: str | None = None
    keys: frozenset[str] = frozenset()
    files: tuple[str, ...] = ()


_RECORDING = (
    "track_metadata.additional_info.recording_mbid | track_metadata.mbid_mapping.recording_mbid | recording_mbid | "
    "track_metadata.artist_name + track_metadata.track_name"
)

_ALL = (
    Preset(
        "lastfm-360k",
        "csv",
        user="user_id",
        item="artist_mbid | artist_name",
        value="plays",
        separator="\t",
        columns=("user_id", "artist_mbid", "artist_name", "plays"),
        line=rf"{SHA1}\t(?:{UUID})?\t[^\t]*\t\s*\d+\s*",
        files=("usersha1-artmbid-artname-plays.tsv*",),
    ),
    Preset(
        "lastfm-1k",
        "csv",
        user="user_id",
        item="track_mbid | artist_name + track_name",
        time="timestamp",
        separator="\t",
        columns=("user_id", "timestamp", "artist_mbid", "artist_name", "track_mbid", "track_name"),
        line=rf"user_\d+\t\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ\t(?:{UUID})?\t[^\t]*\t(?:{UUID})?\t[^\t]*",
        files=("userid-timestamp-artid-artname-traid-traname.tsv*",),
    ),
    Preset(
        "msd",
        "csv",
        user="user_id",
        item="song_id",
        value="plays",
        separator="\t",
        columns=("user_id", "song_id", "plays"),
        line=rf"{SHA1}\tSO[A-Z0-9]{{16}}\t\d+",
        files=("train_triplets.txt*",),
    ),
    Preset(
        "movielens-100k",
        "csv",
        user="user_id",
        item="item_id",
        value="rating",
        time="timestamp",
        separator="\t",
        columns=("user_id", "item_id", "rating", "timestamp"),
        line=r"\d+\t\d+\t[0-5]\t\d{8,10}",
        files=("u.data",),
    ),
    Preset(
        "movielens-1m",
        "csv",
        user="user_id",
        item="item_id",
        value="rating",
        time="timestamp",
        separator="::",
        columns=("user_id", "item_id", "rating", "timestamp"),
        line=r"\d+::\d+::[0-5](?:\.[05])?::\d{8,10}",
        files=("ratings.dat*",),
    ),
    Preset(
        "listenbrainz",
        "json",
        user="user_name | user_id | 'me'",
        item=_RECORDING,
        time="listened_at | timestamp",
        drops=True,
        keys=frozenset({"track_metadata"}),
        files=("listens/*", "*/listens/*", "*.listens*"),
    ),
    Preset(
        "spotify-extended",
        "json",
        user="username | 'me'",
        item="spotify_track_uri",
        time="ts",
        drops=True,
        keys=frozenset({"ts", "ms_played", "spotify_track_uri"}),
        files=("Streaming_History_Audio*.json", "endsong*.json"),
    ),
    Preset(
        "spotify-account",
        "json",
        user="username | 'me'",
        item="artistName + trackName",
        time="endTime",
        drops=True,
        keys=frozenset({"endTime", "artistName", "trackName", "msPlayed"}),
        files=("StreamingHistory[0-9]*.json", "StreamingHistory_music*.json"),
    ),
)
PRESETS: Final[dict[str, Preset]] = {preset.name: preset for preset in _ALL}
assert set(PRESETS) == set(get_args(PresetName))  # noqa: S101 - one list, written twice for the type checker


def preset_called(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ParameterError: there is none; says which there are.
    """
    if name not in PRESETS:
        raise ParameterError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]


def preset_of_lines(lines: Sequence[str]) -> Preset | None:
    """The preset whose form all of a csv file's first lines have."""
    for preset in _ALL:
        if preset.line is not None and lines and all(re.fullmatch(preset.line, line) for line in lines):
            return preset
    return None


def preset_of_keys(keys: set[str]) -> Preset | None:
    """The preset whose keys a json file's first object has."""
    return next((preset for preset in _ALL if preset.keys and preset.keys <= keys), None)

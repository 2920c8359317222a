"""The command line as its users meet it: real processes, their words and their exit statuses."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fpserver.audio.encode import encode
from tests.opened import song_file
from tests.process.running import Running, serving
from tests.synth import RATE_HZ, noise, song

COMMANDS = (
    "serve",
    "work",
    "identify",
    "fingerprint",
    "ingest",
    "tracks",
    "remove",
    "export",
    "import",
    "import-metadata",
    "import-feedback",
    "describe",
    "train",
    "keys",
    "doctor",
    "demo",
)


def fpserver(*arguments: str | Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fpserver", *map(str, arguments)],
        env=os.environ | {"COLUMNS": "200"} | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli") / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Running]:
    """A server on the data folder, so that store and server are both there to be asked."""
    with serving(data) as running:
        yield running


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs in folders, and what is no audio by its name."""
    folder = tmp_path_factory.mktemp("music")
    (folder / "b").mkdir()
    song_file(folder, 1)
    song_file(folder / "b", 2, kind="flac")
    (folder / "cover.jpg").write_bytes(b"no audio")
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp3"
    path.write_bytes(
        encode(song(1, 12.0)[3 * RATE_HZ : 10 * RATE_HZ], RATE_HZ, container="mp3", bitrate=64_000)
    )
    return path


def test_help_lists_every_command() -> None:
    shown = fpserver("--help")
    assert shown.returncode == 0
    assert all(f"    {command}" in shown.stdout for command in COMMANDS)


def test_a_folder_is_ingested_and_a_second_run_sends_nothing(
    server: Running, data: Path, music: Path
) -> None:
    first = fpserver("ingest", music, "--data", data)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("2 files: 2 indexed, 0 there already, 0 duplicates, 0 failed;")
    second = fpserver("ingest", music, "--server", server.address)
    assert second.returncode == 0, second.stderr
    assert second.stdout.startswith("2 files: 0 indexed, 2 there already, 0 duplicates, 0 failed;")


def test_the_same_recording_under_another_name_is_reported_with_the_existing_id(
    server: Running, data: Path, music: Path, tmp_path: Path
) -> None:
    fpserver("ingest", music, "--data", data)
    (tmp_path / "same bytes.wav").write_bytes((music / "song-1.wav").read_bytes())
    (tmp_path / "same sound.flac").write_bytes(encode(song(1, 12.0), RATE_HZ, container="flac"))
    shown = fpserver("ingest", tmp_path, "--server", server.address)
    assert shown.returncode == 0, shown.stderr
    assert "0 indexed, 1 there already, 1 duplicates, 0 failed" in shown.stdout
    (track,) = _tracks("--data", data, "--q", "song-1", "--status", "indexed")
    assert f"same bytes.wav is track {track['track_id']}\n" in shown.stdout
    assert f"same sound.flac is track {track['track_id']}\n" in shown.stdout


@pytest.mark.parametrize("where", ["data", "server"])
def test_files_that_fail_are_listed_with_the_reason_and_the_status_says_so(
    server: Running, data: Path, tmp_path: Path, where: str
) -> None:
    (tmp_path / "bad.mp3").write_bytes(b"no audio at all")
    shown = fpserver("ingest", tmp_path, f"--{where}", data if where == "data" else server.address)
    assert shown.returncode == 1
    assert "0 indexed, 0 there already, 0 duplicates, 1 failed" in shown.stdout
    assert f"{tmp_path / 'bad.mp3'}: not an audio file" in shown.stdout


@pytest.mark.parametrize("where", ["data", "server"])
def test_a_clip_is_identified_in_words(
    server: Running, data: Path, music: Path, clip: Path, where: str
) -> None:
    fpserver("ingest", music, "--data", data)
    shown = fpserver("identify", clip, f"--{where}", data if where == "data" else server.address)
    assert shown.returncode == 0, shown.stderr
    assert re.match(r"“song-1”\n    where   0:0[23] to 0:", shown.stdout), shown.stdout
    assert "sure?   certain" in shown.stdout


def test_a_fingerprint_is_identified_as_its_clip_is(
    server: Running, data: Path, music: Path, clip: Path, tmp_path: Path
) -> None:
    fpserver("ingest", music, "--data", data)
    body = tmp_path / "clip.fingerprint"
    assert fpserver("fingerprint", clip, "-o", body).returncode == 0
    answers = [
        json.loads(fpserver("identify", path, "--json", "--server", server.address).stdout)
        for path in (clip, body)
    ]
    assert answers[0]["matches"] == answers[1]["matches"] != []
    assert answers[0]["matches"][0]["track_offset_s"] == pytest.approx(3.0, abs=0.1)


def test_fingerprints_of_a_folder_are_a_stream_that_a_server_ingests(
    tmp_path: Path, music: Path, clip: Path
) -> None:
    (tmp_path / "music").mkdir()
    for n, path in enumerate((music / "song-1.wav", music / "b" / "song-2.flac")):
        (tmp_path / "music" / f"{n} {path.name}").write_bytes(path.read_bytes())
    (tmp_path / "music" / "bad.mp3").write_bytes(b"no audio at all")
    out = tmp_path / "all.stream"
    shown = fpserver("fingerprint", tmp_path / "music", "-o", out)
    assert shown.returncode == 1
    assert shown.stdout == f"{out}: 2 of 3 files, {out.stat().st_size:,} bytes\n"
    assert re.match(rf"fpserver: {tmp_path}/music/bad.mp3: not an audio file", shown.stderr), shown.stderr
    with serving(tmp_path / "data") as running:
        request = urllib.request.Request(
            f"{running.address}/v1/ingest",
            data=out.read_bytes(),
            headers={"Content-Type": "application/vnd.fpserver.fingerprint+msgpack"},
        )
        with urllib.request.urlopen(request) as response:
            batch_id = json.load(response)["batch_id"]
        batch: dict[str, Any] = {}
        give_up = time.monotonic() + 60
        while not batch.get("done"):
            assert time.monotonic() < give_up, batch
            time.sleep(0.1)
            with urllib.request.urlopen(f"{running.address}/v1/ingest/{batch_id}") as response:
                batch = json.load(response)
        assert batch["counts"]["indexed"] == 2
        assert "song-1" in fpserver("identify", clip, "--server", running.address).stdout


def test_of_one_file_that_has_no_fingerprint_nothing_is_written(tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"no audio at all")
    shown = fpserver("fingerprint", bad)
    assert shown.returncode == 1
    assert "not an audio file" in shown.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.mp3"]


def test_a_clip_of_nothing_known_ends_with_1(server: Running, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "noise.wav"
    path.write_bytes(encode(noise(5, 6.0), RATE_HZ, container="wav"))
    shown = fpserver("identify", path, "--data", data)
    assert shown.returncode == 1
    assert shown.stdout.startswith("no match")


@pytest.mark.parametrize("where", ["data", "server"])
def test_tracks_are_removed_by_id_and_unknown_ids_are_named(
    server: Running, data: Path, tmp_path: Path, where: str
) -> None:
    asked = (f"--{where}", data if where == "data" else server.address)
    song_file(tmp_path, 7)
    assert fpserver("ingest", tmp_path, *asked).returncode == 0
    (track,) = _tracks(*asked, "--q", "song-7")
    shown = fpserver("remove", str(track["track_id"]), "99999", *asked)
    assert shown.returncode == 1
    assert shown.stdout == f"removed track {track['track_id']}\n"
    assert shown.stderr == "fpserver: there is no track 99999\n"
    assert _tracks(*asked, "--q", "song-7") == []


def test_a_catalogue_is_carried_to_another_store(
    server: Running, data: Path, music: Path, clip: Path, tmp_path: Path
) -> None:
    fpserver("ingest", music, "--data", data)
    file = tmp_path / "songs.fpcatalogue"
    shown = fpserver("export", file, "--q", "song-1", "--data", data)
    assert (shown.returncode, shown.stdout) == (0, f"tracks: 1, 0:12, written to {file}\n")
    other = tmp_path / "other"
    for words in ("1 indexed, 0:12; 0 there already, 0 failed", "0 indexed, 0:00; 1 there already, 0 failed"):
        shown = fpserver("import", file, "--data", other)
        assert (shown.returncode, shown.stdout) == (0, f"tracks: {words}\n")
    answer = json.loads(fpserver("identify", clip, "--json", "--data", other).stdout)
    assert answer["matches"][0]["track_offset_s"] == pytest.approx(3.0, abs=0.1)
    file.write_bytes(b"RIFF")
    shown = fpserver("import", file, "--data", other)
    assert shown.returncode == 2
    assert shown.stderr == f"fpserver: {file} is no file that `fpserver export` has written\n"


def test_metadata_come_from_a_table_and_bad_rows_are_listed(
    server: Running, data: Path, music: Path, tmp_path: Path
) -> None:
    fpserver("ingest", music, "--data", data)
    (track,) = _tracks("--data", data, "--q", "song-1", "--status", "indexed")
    table, bad = tmp_path / "songs.csv", tmp_path / "wrong.csv"
    table.write_text(f"track_id,tags\n{track['track_id']},calm\n999999,calm\n")
    shown = fpserver("import-metadata", table, "--bad-rows", bad, "--data", data)
    assert shown.returncode == 1, shown.stderr
    assert shown.stdout == (f"2 rows: 1 changed their track, 0 found it so; 1 bad rows, listed in {bad}\n")
    assert bad.read_text() == "line,reason,track_id,tags\n3,there is no track 999999,999999,calm\n"
    (found,) = _tracks("--server", server.address, "--tag", "Calm")
    assert (found["track_id"], found["tags"]) == (track["track_id"], "calm")


def test_feedback_comes_from_a_table_also_while_a_server_runs(
    server: Running, data: Path, music: Path, tmp_path: Path
) -> None:
    fpserver("ingest", music, "--data", data)
    (track,) = _tracks("--data", data, "--q", "song-1", "--status", "indexed")
    table = tmp_path / "events.csv"
    table.write_text(f"user,track_id,kind\nann,{track['track_id']},like\nann,999999,like\n")
    shown = fpserver("import-feedback", table, "--data", data)
    assert shown.returncode == 1, shown.stderr
    listed = f"1 bad rows, listed in {table}.bad.csv"
    assert shown.stdout == f"2 rows: 1 taken, 0 there already; {listed}\n"
    with urllib.request.urlopen(f"{server.address}/v1/users/ann") as answer:
        (event,) = json.load(answer)["events"]
    assert (event["track_id"], event["kind"]) == (track["track_id"], "like")
    again = fpserver("import-feedback", table, "--data", data)
    assert again.stdout == f"2 rows: 0 taken, 1 there already; {listed}\n"


def test_the_table_of_tracks_shows_titles_as_they_are(server: Running, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "[bold]loud.wav"
    song_file(tmp_path, 8).rename(path)
    assert fpserver("ingest", path, "--data", data).returncode == 0
    shown = fpserver("tracks", "--data", data)
    assert "[bold]loud" in shown.stdout
    assert "0:12" in shown.stdout


def test_doctor_is_content_and_names_what_is_wrong(server: Running, data: Path) -> None:
    well = fpserver("doctor", "--data", data)
    assert well.returncode == 0, well.stdout
    assert well.stdout.endswith("all well\n")
    unwell = fpserver("doctor", "--data", data, FPSERVER_FINGERPRINT__HOP="128")
    assert unwell.returncode == 1
    assert "fingerprint.hop" in unwell.stdout
    assert unwell.stdout.endswith("1 of 7 checks failed\n")


@pytest.mark.parametrize(
    ("arguments", "settings", "status", "words"),
    [
        (["tracks"], {"FPSERVER_WEB__PROT": "1"}, 2, "prot"),
        (["tracks", "--status", "lost"], {}, 2, "--status is 'lost', must be one of queued"),
        (["ingest", "/no/such/folder"], {}, 2, "/no/such/folder is neither a file nor a folder"),
        (["tracks", "--config", "/no/such/file"], {}, 2, "/no/such/file"),
        (["import-feedback", "/no/such.csv"], {}, 2, "/no/such.csv cannot be read: No such file"),
        (["import-metadata", "/no/such.csv"], {}, 2, "/no/such.csv cannot be read: No such file"),
        (["identify", "/no/such/clip"], {}, 1, "/no/such/clip is not there"),
        (["tracks", "--server", "http://127.0.0.1:1"], {}, 3, "no answer from http://127.0.0.1:1"),
        (
            ["tracks"],
            {"FPSERVER_REDIS__URL": "redis://127.0.0.1:1/0", "FPSERVER_REDIS__TIMEOUT_S": "0.5"},
            3,
            "redis://127.0.0.1:1/0",
        ),
        (["tracks"], {"FPSERVER_LOG__LEVEL": "loud"}, 2, "log.level is 'loud'"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_status(
    arguments: list[str], settings: dict[str, str], status: int, words: str
) -> None:
    shown = fpserver(*arguments, **settings)
    assert shown.returncode == status
    assert shown.stdout == ""
    assert shown.stderr.startswith("fpserver: ")
    assert shown.stderr.count("\n") == 1
    assert words in shown.stderr


def test_a_second_server_on_the_same_folder_is_refused(server: Running, data: Path) -> None:
    shown = fpserver("serve", "--data", data, "--port", "0")
    assert shown.returncode == 2
    assert f"runs already at {server.address}" in shown.stderr


def test_a_port_that_is_taken_is_named(server: Running, tmp_path: Path) -> None:
    port = server.address.rpartition(":")[2]
    shown = fpserver("serve", "--data", tmp_path / "other", "--port", port)
    assert shown.returncode == 2
    assert f"port {port}: address already in use" in shown.stderr


def _tracks(*arguments: str | Path) -> list[dict[str, object]]:
    shown = fpserver("tracks", "--json", *arguments)
    assert shown.returncode == 0, shown.stderr
    return [json.loads(line) for line in shown.stdout.splitlines()]


def test_train_says_what_came_of_it_beside_a_running_server(server: Running, data: Path) -> None:
    left = fpserver("train", "--data", data, "--leave")
    assert (left.returncode, left.stdout) == (0, "asked for: the next worker that looks trains\n"), left
    done = fpserver("train", "--data", data)
    assert done.returncode == 0, done
    assert re.fullmatch(
        r"nobody likes anything yet: \d+ events of \d+ users\n"
        r"|model [0-9a-f]+, [0-9.]+ MB: trained on [1-9]\d* events of [1-9]\d* users and [1-9]\d* tracks "
        r"in [0-9.]+ s\n",
        done.stdout,
    ), done


def test_a_training_that_breaks_its_limits_is_one_line(server: Running, data: Path) -> None:
    failed = fpserver("train", "--data", data, FPSERVER_RECOMMEND__TRAIN_TIMEOUT_S="0.01")
    if failed.returncode:  # else the server's own worker was first
        assert failed.returncode == 1
        assert re.fullmatch(
            r"fpserver: training on \d+ events of \d+ users and \d+ tracks: "
            r"training took longer than 0\.01 s, the limit",
            failed.stderr.splitlines()[-1],
        ), failed.stderr


def test_keys_are_made_listed_rotated_and_revoked(data: Path, server: Running) -> None:
    made = fpserver("keys", "create", "the app", "--scope", "identify", "--per-day", "7", "--data", data)
    assert made.returncode == 0, made.stderr
    (secret,) = made.stdout.split()
    key_id = secret.split("_")[1]
    assert key_id in made.stderr and secret not in made.stderr
    (listed,) = map(json.loads, fpserver("keys", "list", "--json", "--data", data).stdout.splitlines())
    assert (listed["key_id"], listed["name"], listed["scopes"]) == (key_id, "the app", ["identify"])
    assert listed["limits"]["per_day"] == 7 and listed["revoked_at"] is None
    rotated = fpserver("keys", "rotate", key_id, "--grace", "5", "--data", data)
    assert rotated.returncode == 0 and rotated.stdout.split()[0] not in (secret, "")
    assert fpserver("keys", "revoke", key_id, "--data", data).returncode == 0
    shown = fpserver("keys", "list", "--data", data).stdout
    assert key_id in shown and "revoked" in shown and secret not in shown


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("create", "x"), 2, "--scope"),
        (("create", "x", "--scope", "all"), 2, "invalid choice"),
        (("create", "x", "--scope", "admin", "--rate", "0"), 2, "rate_per_s of a key is 0"),
        (("revoke", "nobody"), 1, "no key 'nobody'"),
        (("rotate", "nobody"), 1, "no key 'nobody'"),
    ],
)
def test_what_keys_cannot_do_is_one_sentence(
    data: Path, server: Running, arguments: tuple[str, ...], status: int, said: str
) -> None:
    result = fpserver("keys", *arguments, "--data", data)
    assert result.returncode == status and said in result.stderr and "Traceback" not in result.stderr


def test_a_server_beyond_loopback_wants_a_key_and_then_asks_for_it(tmp_path: Path, clip: Path) -> None:
    data = tmp_path / "data"
    refused = fpserver("serve", "--host", "0.0.0.0", "--port", "0", "--data", data)
    assert refused.returncode == 2 and "fpserver keys create" in refused.stderr
    secret = fpserver("keys", "create", "me", "--scope", "identify", "--data", data).stdout.strip()
    key_file = tmp_path / "key"
    key_file.write_text(secret)
    with serving(data, "--host", "0.0.0.0") as running:
        without = fpserver("identify", clip, "--server", running.address)
        assert without.returncode == 1 and "this needs a key" in without.stderr
        by_file = fpserver("identify", clip, "--server", running.address, "--key-file", key_file)
        by_variable = fpserver("identify", clip, "--server", running.address, FPSERVER_KEY=secret)
        for result in (by_file, by_variable):
            assert result.returncode == 1 and "nothing" in result.stdout.lower(), result
        nothing = fpserver("identify", clip, "--server", running.address, "--key-file", tmp_path / "none")
        assert nothing.returncode == 2 and "key file" in nothing.stderr

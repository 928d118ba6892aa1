"""A disk that is full, read-only or gone: a clear error, nothing lost, and the run goes on afterwards."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cai.digest import digest
from cai.errors import StoreError
from cai.store import Store
from tests.toy_source import write_run

CAI = [sys.executable, "-c", "from cai.cli import main; main()"]
KEYS = [digest("disk", i) for i in range(4000)]


def _cai(*words: object, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CAI, *map(str, words)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        preexec_fn=before,
        check=False,
    )


def _mounted(folder: Path, size: str) -> bool:
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two mebibytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not _mounted(folder, "2m"):
        pytest.skip("mounting is not allowed here; the limit on file sizes tests the same")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_store_on_a_full_disk_keeps_what_was_acknowledged_and_goes_on_after_room_is_made(
    small_disk: Path,
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_500_000))
    folder = small_disk / "store"
    acknowledged = 0
    store = Store(folder, writable=True)
    with pytest.raises(StoreError, match="No space left") as said:  # noqa: PT012 (which of them fails is the disk's affair)
        for key in KEYS:
            store.put(key, {"text": "x" * 300}, {})
            store.commit()
            acknowledged += 1
    assert "Make room" in said.value.remedy
    store.close()
    assert 100 < acknowledged < len(KEYS)
    with Store(folder) as reader:
        assert [key in reader for key in KEYS[: acknowledged + 1]] == [True] * acknowledged + [False]
    ballast.unlink()
    with Store(folder, writable=True) as store:
        assert store.damage == []
        for key in KEYS[acknowledged : acknowledged + 500]:
            store.put(key, {"text": "y"}, {})
    shutil.rmtree(folder / "index")
    with Store(folder) as reader:
        assert reader.damage == []
        assert all(key in reader for key in KEYS[: acknowledged + 500])


def test_a_run_on_a_full_disk_stops_with_one_sentence_and_goes_on_after_room_is_made(
    small_disk: Path, tmp_path: Path
) -> None:
    run = write_run(small_disk, rows=40)
    whole = write_run(tmp_path / "whole", rows=40)
    assert _cai("run", whole).returncode == 0
    room = os.statvfs(small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - 150_000))
    done = _cai("run", run)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    ballast.unlink()
    again = _cai("run", run)
    assert again.returncode == 0, again.stderr
    for path in (whole / "dataset").rglob("*.parquet"):
        assert (run / path.relative_to(whole)).read_bytes() == path.read_bytes()


def _file_limit() -> None:
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


def test_a_run_over_its_quota_of_file_size_says_so_and_goes_on_without_the_limit(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=40)
    done = _cai("run", run, before=_file_limit)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert os.strerror(errno.EFBIG) in done.stderr
    size = (run / "store" / "segment-000001.jsonl").stat().st_size
    assert size <= 60_000
    again = _cai("run", run)
    assert again.returncode == 0, again.stderr
    checked = _cai("store", "verify", run)
    assert (checked.returncode, "0 are damaged" in checked.stdout) == (0, True)


def test_a_read_only_disk_is_said_and_reading_still_works(small_disk: Path) -> None:
    run = write_run(small_disk, rows=4)
    assert _cai("run", run).returncode == 0
    again = ["mount", "-o", "remount,ro", str(small_disk)]
    if subprocess.run(again, capture_output=True, check=False).returncode != 0:
        pytest.skip("remounting is not allowed here")
    done = _cai("run", run)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "Read-only" in done.stderr
    assert _cai("status", run).returncode == 0
    assert _cai("store", "verify", run).returncode == 0


def test_a_run_folder_that_vanishes_is_said(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=60)
    script = (run / "script.py").read_text()
    gone = f"    import shutil; shutil.rmtree({str(run / 'store')!r}, ignore_errors=True)\n"
    (run / "script.py").write_text(script.replace("def score(request):\n", "def score(request):\n" + gone))
    done = _cai("run", run)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "store" in done.stderr

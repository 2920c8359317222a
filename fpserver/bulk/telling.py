"""A bulk run for the eye: a bar while it runs, and at the end a summary that names what went wrong."""

from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fpserver.bulk.run import Report

MAX_LISTED = 20  # of what is no failure; failures are all listed


class IngestBar(AbstractContextManager["IngestBar"]):
    """Files, hours of audio, × real time, time left, failures: on standard error, when that is a terminal."""

    def __init__(self, n_files: int) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("ingest"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} files · {task.fields[told]} ·"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("ingest", total=n_files, told="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, report: Report) -> None:
        """Move the bar."""
        n_failed = report.progress.n_failed + report.n_unreadable
        self._bar.update(self._task, completed=report.n_ended, told=f"{_audio(report)} · {n_failed} failed")


def summary(report: Report) -> str:
    """What became of the files, and the names of those that were known, doubled or refused."""
    progress = report.progress
    n_failed = progress.n_failed + report.n_unreadable
    n_duplicates = len(report.duplicates)
    lines = [
        f"{report.n_files} files: {progress.n_indexed} indexed, {len(report.known)} there already, "
        f"{n_duplicates} duplicates, {n_failed} failed; {_audio(report)}, {report.elapsed_s:.1f} s"
    ]
    if progress.n_cancelled:
        lines.append(f"{progress.n_cancelled} were cancelled meanwhile")
    lines += _some("there already:", [f"{_shown(path)} is track {id_}" for path, id_ in report.known.items()])
    lines += _some(
        "duplicates:", [f"{_shown(name)} is track {id_}" for name, id_ in report.duplicates.items()]
    )
    if report.failures:
        lines += ["failed:", *(f"  {_shown(name)}: {reason}" for name, reason in report.failures)]
    return "\n".join(lines)


def _audio(report: Report) -> str:
    audio_s = report.progress.audio_s
    hours = f"{audio_s / 3600:.1f} h" if audio_s >= 3600 else f"{audio_s / 60:.1f} min"
    return f"{hours} of audio, {audio_s / max(report.elapsed_s, 1e-3):.0f} x real time"


def _some(heading: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    more = [f"  … and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []
    return [heading, *(f"  {line}" for line in lines[:MAX_LISTED]), *more]


def _shown(name: Path | str) -> str:
    """A path as the reader would type it."""
    try:
        return str(Path(name).relative_to(Path.cwd()))
    except ValueError:
        return str(name)

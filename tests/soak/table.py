"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.soak.judge import FaultResult, Run
from tests.soak.outcomes import Ending
from tests.soak.samples import MEBIBYTE, Series, Slope

__all__ = ["lines"]


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _transfers(run: Run) -> Iterator[str]:
    tally = run.tally
    mebibytes = tally.size / MEBIBYTE
    rate = mebibytes / run.seconds if run.seconds else 0.0
    yield (
        f"transfers: {tally.count}; {tally.endings[Ending.OK]} ok, {tally.endings[Ending.ERROR]} failed with a correct"
        f" error, {tally.endings[Ending.WRONG]} wrong, {tally.endings[Ending.CORRUPT]} corrupt; {mebibytes:.0f} MiB"
        f" checked, {rate:.1f} MiB/s; the slowest tunnel took {tally.slowest_opening:.1f} s"
    )
    kinds = sorted({kind for kind, _ in tally.kinds})
    rows = [["kind", *(ending.value for ending in Ending)]]
    rows += [[kind, *(str(tally.kinds[kind, ending]) for ending in Ending)] for kind in kinds]
    yield from _columns(rows)
    if tally.errors:
        yield "errors: " + ", ".join(f"{why} ({count})" for why, count in tally.errors.most_common())
    yield from tally.wrong


def _result(fault: FaultResult) -> str:
    if fault.skipped is not None:
        return f"not run: {fault.skipped}"
    return "BREACH" if fault.breaches else "held"


def _slope(slope: Slope | None) -> str:
    return "-" if slope is None else f"{slope.per_hour:+.1f} ± {slope.error:.1f}"


def _process(series: Series) -> list[str]:
    resident = series.last.resident / MEBIBYTE if series.last is not None else 0.0
    files, drift = series.last.files if series.last is not None else 0, series.files_drift()
    return [
        series.name, f"{series.covered / 60:.0f}", f"{resident:.1f}", f"{series.highest / MEBIBYTE:.1f}",
        _slope(series.memory_slope()), str(files), "-" if drift is None else f"{drift.first:.0f} to {drift.last:.0f}",
        f"{series.share:.0%}",
    ]  # fmt: skip


def lines(run: Run) -> Iterator[str]:
    """What a person reads."""
    yield from _transfers(run)
    if run.faults:
        yield "faults:"
        rows = [["number", "fault", "result", "figures"]]
        rows += [[fault.number, fault.name, _result(fault), fault.figures] for fault in run.faults]
        yield from _columns(rows)
    yield f"restarts of nodes: {run.restarts.done}"
    yield "processes (slopes through the steady minutes since their last start; files in rest):"
    head = ["process", "minutes", "MiB", "most MiB", "MiB/h", "files", "files in rest", "processor"]
    yield from _columns([head, *map(_process, run.series)])
    breaches = run.breaches()
    for breach in breaches:
        yield f"BREACH: {breach}"
    yield "passed" if not breaches else f"failed: {len(breaches)} breaches"

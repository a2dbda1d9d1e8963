"""The table of `speed.py`: its lines, where they are kept, and the page made of them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import _common as common
import numpy as np

CACHE = common.RESULTS / ".cache_speed.json"
PEERS = ("umap-learn", "manifolds-rs", "torchdr")
HEADER = ("what", "sc_nembed", "peer", "times as fast", "sc_nembed : peer, and more", "bars", "runs", "verdict", "load")
BITS_HEADER = ("what", "1 thread", "2 threads", "8 threads", "verdict")


@dataclass(frozen=True)
class Quality:
    """A number that must not be worse than the peer's."""

    name: str
    ours: float
    peer: float
    digits: str = ".4f"
    larger_is_better: bool = False

    @property
    def passes(self) -> bool:
        return self.ours >= self.peer if self.larger_is_better else self.ours <= self.peer

    @property
    def bar(self) -> str:
        return f"{self.name} not {'below' if self.larger_is_better else 'above'}"

    def __str__(self) -> str:
        return f"{self.name} {self.ours:{self.digits}} : {self.peer:{self.digits}}"


def versus(
    what: str, ours: list[float], peer: str, theirs: list[float], bar: float, quality: Quality | None = None,
    *, unit: str = "s", also: str = "",
) -> list[str]:  # fmt: skip
    """A line of seconds against a peer's; `also` goes beside the quality and is no bar."""
    ratio = np.median(theirs) / np.median(ours)
    passes = ratio >= bar and (quality is None or quality.passes)
    return [
        what, spread(ours, unit), f"{peer} {spread(theirs, unit)}", f"{ratio:.1f}",
        "; ".join(part for part in (str(quality or ""), also) if part),
        f"≥ {bar:g}" + (f", {quality.bar}" if quality else ""),
        f"{len(ours)} : {len(theirs)}", "pass" if passes else "FAIL",
    ]  # fmt: skip


def within(what: str, seconds: list[float], most_seconds: float, peaks: list[float], most_gib: float, also: str):
    """A line without a peer: seconds and GiB with limits."""
    passes = np.median(seconds) <= most_seconds and max(peaks) <= most_gib
    return [
        what, f"{spread(seconds)}, peak {max(peaks):.2f} GiB", "none", "", also,
        f"≤ {most_seconds:g} s, ≤ {most_gib:g} GiB", f"{len(seconds)}", "pass" if passes else "FAIL",
    ]  # fmt: skip


def spread(seconds: list[float], unit: str = "s") -> str:
    scale, digits = (1000, 1) if unit == "ms" else (1, 2)
    values = [scale * value for value in seconds]
    if len(values) == 1:
        return f"{values[0]:.{digits}f} {unit}"
    return f"{np.median(values):.{digits}f} ({min(values):.{digits}f} – {max(values):.{digits}f}) {unit}"


def circumstances(options) -> dict:
    """What a row is kept with."""
    return {
        "load": os.getloadavg()[0],
        "machine": common.hardware(),
        "threads": options.jobs,
        "versions": common.versions(*PEERS),
        "source": common.source_state(),
    }


def kept() -> dict[str, dict]:
    return json.loads(CACHE.read_text()) if CACHE.exists() else {}


def keep(name: str, measured: dict) -> None:
    CACHE.parent.mkdir(exist_ok=True)
    CACHE.write_text(json.dumps(kept() | {name: measured}, indent=1) + "\n")


def show(name: str, measured: dict) -> None:
    for line in measured["lines"]:
        print(f"{name}: {' | '.join(line)}")
    for what, found in measured["bits"].items():
        print(f"{name}: {what}: {found}", flush=True)


def page(found: dict[str, dict]) -> list[str]:
    """The paragraphs of results/speed.md."""
    lines = [[*line, f"{row['load']:.1f}"] for row in found.values() for line in row["lines"]]
    n_failed = sum("FAIL" in line for line in lines)
    return [
        "The tools take turns. Median (smallest – largest). KL: exact, float64 over all pairs. runs: of sc_nembed and "
        "of the peer. load: one-minute load average at the start of the row. "
        f"**{n_failed or 'None'} failed of {len(lines)}.**",
        common.markdown_table(HEADER, lines),
        "The same bits for 1, 2 and 8 threads (the first digits of the embedding's SHA-256):",
        common.markdown_table(BITS_HEADER, [line for row in found.values() for line in _bits(row["bits"])]),
        *_circumstances(found),
    ]


def _bits(bits: dict[str, dict[str, str]]) -> list[list[str]]:
    return [
        [what, *found.values(), "same" if len(set(found.values())) == 1 else "FAIL"] for what, found in bits.items()
    ]


def _circumstances(found: dict[str, dict]) -> list[str]:
    """Machine, threads, versions and state of the source; where rows differ, which have which."""
    paragraphs = []
    for name, said in (
        ("machine", "Machine: {}."), ("threads", "Threads of every tool: {}."), ("versions", "Versions: {}."),
        ("source", "State of sc_nembed's source: {}."),
    ):  # fmt: skip
        groups: dict[str, list[str]] = {}
        for row, about in found.items():
            groups.setdefault(str(about[name]), []).append(row)
        for value, members in groups.items():
            paragraphs.append(said.format(value) + (f" (Rows {', '.join(members)}.)" if len(groups) > 1 else ""))
    return paragraphs

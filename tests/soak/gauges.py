"""Memory, threads and open files of the site's processes, measured while they work."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.soak.parts import Parts

_WINDOW: Final = (
    60.0  # seconds, of a process's life: the first for warming up, the second to compare
)
_LONG_ENOUGH: Final = 3 * _WINDOW
MEMORY_MAY_GROW: Final = (1.10, 8.0)
"""After its first minute a process may grow by this factor and so many MB."""
THREADS_MAY_GROW: Final = 8
FILES_MAY_GROW: Final = 24
"""Pools have more connections at one time than at another, and lose all with a server."""
MOST_THREADS: Final = 60
MOST_FILES: Final = 150
_PAGE: Final = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process.

    Attributes:
        age: seconds since it was first seen.
        memory: MB of it in RAM.
    """

    age: float
    memory: float
    threads: int
    files: int


@dataclass(frozen=True, slots=True)
class Course:
    """How a process went.

    Attributes:
        memory, threads, files: of its second minute and of its last: the median of memory, of the
            others the least, as connections that broke keep theirs until the collector comes by.
    """

    part: str
    process: int
    age: float
    memory: tuple[float, float]
    threads: tuple[float, float]
    files: tuple[float, float]
    most_threads: int
    most_files: int

    @property
    def is_long(self) -> bool:
        """Whether it lived long enough to tell if anything grows."""
        return self.age >= _LONG_ENOUGH

    def problems(self) -> list[str]:
        """What grew that should not have."""
        found = []
        if self.most_threads > MOST_THREADS:
            found.append(f"it had {self.most_threads} threads")
        if self.most_files > MOST_FILES:
            found.append(f"it had {self.most_files} open files")
        if self.is_long:
            factor, more = MEMORY_MAY_GROW
            if self.memory[1] > self.memory[0] * factor + more:
                found.append(
                    f"its memory grew from {self.memory[0]:.1f} to {self.memory[1]:.1f} MB"
                )
            if self.threads[1] > self.threads[0] + THREADS_MAY_GROW:
                found.append(f"its threads grew from {self.threads[0]:g} to {self.threads[1]:g}")
            if self.files[1] > self.files[0] + FILES_MAY_GROW:
                found.append(f"its files grew from {self.files[0]:g} to {self.files[1]:g}")
        return [f"{self.part} {self.process}: {problem}" for problem in found]


class Gauges:
    """Looks at every process of the site now and then, in a thread."""

    def __init__(self, parts: Parts, every: float) -> None:
        self._parts, self._every = parts, every
        self._names: dict[int, str] = {}
        self._first: dict[int, float] = {}
        self._samples: dict[int, list[Sample]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            with suppress(RuntimeError):  # a part is being started
                for process, name in self._parts.processes().items():
                    with suppress(OSError):
                        self._look(process, name)

    def _look(self, process: int, name: str) -> None:
        folder, now = Path("/proc", str(process)), time.monotonic()
        self._names[process] = name
        first = self._first.setdefault(process, now)
        sample = Sample(
            now - first,
            int((folder / "statm").read_text().split()[1]) * _PAGE,
            len(list((folder / "task").iterdir())),
            len(list((folder / "fd").iterdir())),
        )
        self._samples.setdefault(process, []).append(sample)

    def courses(self) -> list[Course]:
        """How each process went."""
        return [self._course(process) for process in sorted(self._samples)]

    def _course(self, process: int) -> Course:
        samples = self._samples[process]
        age = samples[-1].age
        early = [s for s in samples if _WINDOW <= s.age < 2 * _WINDOW] or samples
        late = [s for s in samples if s.age >= age - _WINDOW]

        def both(name: str, level: Callable[[list[float]], float]) -> tuple[float, float]:
            return (
                level([getattr(sample, name) for sample in early]),
                level([getattr(sample, name) for sample in late]),
            )

        return Course(
            self._names[process],
            process,
            age,
            both("memory", statistics.median),
            both("threads", min),
            both("files", min),
            max(sample.threads for sample in samples),
            max(sample.files for sample in samples),
        )

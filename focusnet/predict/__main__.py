"""The command ``python -m focusnet.predict``: writes scene probabilities of audio files."""

import argparse
import csv
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from focusnet.errors import ConfigError, FocusNetError
from focusnet.predict.windows import UnreadableAudio, Window, windows
from focusnet.system.atomic import replacing

# Windows to probabilities, (n, scenes)
Network = Callable[[Sequence[Window]], NDArray[np.float64]]

EXAMPLE = """examples:
  python -m focusnet.predict exported/focus25 recordings/ --out predictions.csv
  python -m focusnet.predict exported/focus25 evaluation/audio --format dcase --out output.csv

Files may have any sample rate, any number of channels (they are averaged) and any length. Longer
files are cut into windows of a training clip's length, and the probabilities of the windows are
averaged. Shorter files are repeated until they fill a window. A folder stands for all audio files
below it. Files that cannot be read are left out and listed at the end.

exit status: 0 done, 1 some files could not be read, 2 wrong input, 130 interrupted"""


@dataclass
class _File:
    """A file that is being classified."""

    name: str
    total: NDArray[np.float64]  # sum of the probabilities of computed windows
    windows: int = 0  # windows read so far
    computed: int = 0  # windows computed so far
    problem: str | None = None  # why it cannot be read


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m focusnet.predict",
        description="Write the probability of each scene for audio files.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="DIR", help="exported model")
    parser.add_argument("clips", nargs="+", type=Path, help="audio files, or folders of them")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="file to write")
    parser.add_argument(
        "--format",
        choices=("csv", "dcase"),
        default="csv",
        help="csv: file names and probabilities; dcase: system output of DCASE Task 1, separated "
        "by tabs",
    )
    parser.add_argument("--window", type=float, metavar="S", help="window length in seconds")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="windows per batch")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(arguments)
    try:
        files = _check(options)
        if options.format == "dcase":
            _check_names(files)
        problems = _predict(files, options)
    except FocusNetError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    print(f"wrote {options.out}: {len(files) - len(problems):,} of {len(files):,} files")
    if problems:
        print(f"{len(problems):,} files could not be read:", file=sys.stderr)
        print("\n".join(f"  {name}: {why}" for name, why in problems), file=sys.stderr)
        return 1
    return 0


def _check(options: argparse.Namespace) -> list[tuple[str, Path]]:
    """The files to classify, or one error that lists everything wrong with the options."""
    problems = []
    if options.batch_size < 1:
        problems.append(f"--batch-size: must be at least 1, received {options.batch_size}")
    if not options.model.is_dir():
        problems.append(f"{options.model}: no such folder; give an exported model")
    files: list[tuple[str, Path]] = []
    try:
        files = find_files(options.clips)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return files


def find_files(clips: Sequence[Path]) -> list[tuple[str, Path]]:
    """Find audio files; gives name and path of each, sorted within a folder.

    Names are paths as given, or relative to the folder if a single folder is given.

    Raises:
        ConfigError: paths are missing, or folders hold no audio (all are named).
    """
    endings = {f".{name.lower()}" for name in soundfile.available_formats()} | {".aif", ".mp3"}
    found: list[tuple[str, Path]] = []
    problems = []
    for path in clips:
        if path.is_dir():
            inside = sorted(
                one for one in path.rglob("*") if one.suffix.lower() in endings and one.is_file()
            )
            for one in inside:
                name = one.relative_to(path) if len(clips) == 1 else one
                found.append((name.as_posix(), one))
            if not inside:
                problems.append(f"{path}: holds no audio files")
        elif path.exists():
            found.append((path.as_posix(), path))
        else:
            problems.append(f"{path}: no such file or folder")
    if problems:
        raise ConfigError(problems)
    return found


def _check_names(files: Sequence[tuple[str, Path]]) -> None:
    """Refuse files of the same name: DCASE's format has no folders."""
    times = Counter(path.name for _, path in files)
    twice = [f"{name} ({count} files)" for name, count in times.items() if count > 1]
    if twice:
        raise ConfigError(
            "--format dcase: file names must be unique, because folders are left out; received "
            f"{', '.join(twice[:5])}{' and others' if len(twice) > 5 else ''}"
        )


def _predict(
    files: Sequence[tuple[str, Path]], options: argparse.Namespace
) -> list[tuple[str, str]]:
    """Classify ``files`` and write the output; returns files that cannot be read, with reasons."""
    # Imported late: torch takes seconds, and wrong options should be reported at once.
    import torch

    from focusnet.exported import load_model
    from focusnet.system.device import pick_device

    model = load_model(options.model)
    device = pick_device(options.device)
    model.to(device)
    length = model.window
    if options.window is not None:
        length = round(options.window * model.sample_rate)
        shortest = model.shortest
        if not shortest <= length <= model.longest:
            raise ConfigError(
                f"--window: must be {shortest / model.sample_rate:.3g} to "
                f"{model.longest / model.sample_rate:.3g} s, received {options.window:g}"
            )

    def network(batch: Sequence[Window]) -> NDArray[np.float64]:
        with torch.inference_mode():
            logits = model(torch.from_numpy(np.stack(batch)).to(device))
            return torch.softmax(logits.double(), dim=1).cpu().numpy()

    problems: list[tuple[str, str]] = []
    console = Console(stderr=True)
    columns = TextColumn("files"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        replacing(options.out) as part,
        part.open("w", encoding="utf-8", newline="") as out,
        Progress(*columns, console=console, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("files", total=len(files))
        write = _writer(out, options.format, model.classes)
        reading = _read_windows(files, model.sample_rate, length, len(model.classes))
        for file in _classify(reading, network, options.batch_size):
            bar.advance(task)
            if file.problem is not None:
                problems.append((file.name, file.problem))
            else:
                write(file.name, file.total / file.computed)
    return problems


def _read_windows(
    files: Sequence[tuple[str, Path]], sample_rate: int, length: int, n_classes: int
) -> Iterator[tuple[_File, Window | None]]:
    """Yield each file's windows, then None; by then a damaged file has its ``problem`` set."""
    for name, path in files:
        file = _File(name, np.zeros(n_classes))
        try:
            for window in windows(path, sample_rate, length):
                yield file, window
        except UnreadableAudio as error:
            file.problem = str(error)
        yield file, None


def _classify(
    reading: Iterable[tuple[_File, Window | None]], network: Network, batch_size: int
) -> Iterator[_File]:
    """Yield the files in order, each as soon as all its windows are computed."""
    waiting: deque[_File] = deque()
    batch: list[tuple[_File, Window]] = []

    def flush() -> None:
        if batch:
            for (file, _), row in zip(batch, network([w for _, w in batch]), strict=True):
                file.total += row
                file.computed += 1
            batch.clear()

    for file, window in reading:
        if window is None:
            waiting.append(file)
        else:
            file.windows += 1
            batch.append((file, window))
        if len(batch) == batch_size:
            flush()
        while waiting and waiting[0].computed == waiting[0].windows:
            yield waiting.popleft()
    flush()
    yield from waiting


def _writer(
    out: TextIO, form: str, classes: Sequence[str]
) -> Callable[[str, NDArray[np.float64]], None]:
    """Write the header; returns a function that writes a file's row.

    A row of DCASE's system output is the file name without its folder, the scene, and the
    probabilities of all scenes in alphabetical order, separated by tabs.
    """
    table = csv.writer(out, delimiter="\t" if form == "dcase" else ",", lineterminator="\n")
    table.writerow(["filename", *(["scene_label"] if form == "dcase" else []), *classes])

    def write(name: str, probabilities: NDArray[np.float64]) -> None:
        cells = [f"{value:.6g}" for value in probabilities]
        if form == "dcase":
            scene = classes[int(probabilities.argmax())]
            table.writerow([name.rpartition("/")[2], scene, *cells])
        else:
            table.writerow([name, *cells])

    return write


if __name__ == "__main__":
    sys.exit(main())

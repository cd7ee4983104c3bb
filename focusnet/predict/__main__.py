"""Scenes of audio files with an exported network: ``python -m focusnet.predict``."""

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

Compute = Callable[[Sequence[Window]], NDArray[np.float64]]  # windows to (n, scenes)

EXAMPLE = """examples:
  python -m focusnet.predict exported/focus25 recordings/ --out predictions.csv
  python -m focusnet.predict exported/focus25 evaluation/audio --format dcase --out output.csv

Any rate, any number of channels (they are averaged), any length: longer files are cut into windows
as long as a training clip, and the probabilities of their windows are averaged; shorter files are
repeated until they fill one. A folder stands for all audio files below it. Files that cannot be
read are left out and listed at the end.

exit status: 0 done, 1 done but for files that could not be read, 2 the input is wrong"""


@dataclass
class _File:
    """A file on its way: what its windows have given so far."""

    name: str
    total: NDArray[np.float64]
    windows: int = 0  # that wait for the network or have been computed
    computed: int = 0
    problem: str | None = None


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m focusnet.predict",
        description="Write the probability of each scene for audio files.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="DIR", help="what focusnet.export has written")
    parser.add_argument("clips", nargs="+", type=Path, help="audio files, or folders of them")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE")
    parser.add_argument(
        "--format",
        choices=("csv", "dcase"),
        default="csv",
        help="csv: file and probabilities; dcase: DCASE Task 1's system output, tab separated",
    )
    parser.add_argument("--window", type=float, metavar="S", help="seconds instead of a clip's")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="windows at a time")
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
    print(f"{options.out}: {len(files) - len(problems):,} of {len(files):,} files")
    if problems:
        print(f"{len(problems):,} files could not be read:", file=sys.stderr)
        print("\n".join(f"  {name}: {why}" for name, why in problems), file=sys.stderr)
        return 1
    return 0


def _check(options: argparse.Namespace) -> list[tuple[str, Path]]:
    """The files to classify, or one error with all that is wrong on the command line."""
    problems = []
    if options.batch_size < 1:
        problems.append(f"--batch-size: must be at least 1, received {options.batch_size}")
    if not options.model.is_dir():
        problems.append(f"{options.model}: no such folder; name one that focusnet.export has made")
    files: list[tuple[str, Path]] = []
    try:
        files = find_files(options.clips)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return files


def find_files(clips: Sequence[Path]) -> list[tuple[str, Path]]:
    """Names and paths of audio files, those of a folder in the order of their names.

    Names are paths as given; where a single folder is given they start from it.

    Raises:
        ConfigError: paths that are not there, and folders without audio, all of them.
    """
    endings = {f".{name.lower()}" for name in soundfile.available_formats()} | {".aif", ".mp3"}
    found: list[tuple[str, Path]] = []
    problems = []
    for path in clips:
        if path.is_dir():
            start = path if len(clips) == 1 else None
            inside = sorted(
                one for one in path.rglob("*") if one.suffix.lower() in endings and one.is_file()
            )
            named = [one.relative_to(start) if start else one for one in inside]
            found += [(name.as_posix(), one) for name, one in zip(named, inside, strict=True)]
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
    """DCASE's output names files without their folders."""
    times = Counter(path.name for _, path in files)
    twice = [f"{name} ({count} files)" for name, count in times.items() if count > 1]
    if twice:
        raise ConfigError(
            f"--format dcase: names files without their folders, and several are called "
            f"{', '.join(twice[:5])}{' and others' if len(twice) > 5 else ''}"
        )


def _predict(
    files: Sequence[tuple[str, Path]], options: argparse.Namespace
) -> list[tuple[str, str]]:
    # torch takes seconds to import: a mistake is told before.
    import torch

    from focusnet.exported import load_model
    from focusnet.system.device import pick_device

    model = load_model(options.model)
    device = pick_device(options.device)
    model.to(device)
    length = model.window
    if options.window is not None:
        length = round(options.window * model.sample_rate)
        shortest = 16 * model.mel.hop_length
        if not shortest <= length <= model.longest:
            raise ConfigError(
                f"--window: must be {shortest / model.sample_rate:.3g} to "
                f"{model.longest / model.sample_rate:.3g} s, received {options.window:g}"
            )

    def compute(batch: Sequence[Window]) -> NDArray[np.float64]:
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
        reading = _reading(files, model.sample_rate, length, len(model.classes))
        for file in _computed(reading, compute, options.batch_size):
            bar.advance(task)
            if file.problem is not None:
                problems.append((file.name, file.problem))
            else:
                write(file.name, file.total / file.computed)
    return problems


def _reading(
    files: Sequence[tuple[str, Path]], sample_rate: int, length: int, n_classes: int
) -> Iterator[tuple[_File, Window | None]]:
    """Each file's windows, then None; a file that turns out to be damaged has a problem by then."""
    for name, path in files:
        file = _File(name, np.zeros(n_classes))
        try:
            for window in windows(path, sample_rate, length):
                yield file, window
        except UnreadableAudio as error:
            file.problem = str(error)
        yield file, None


def _computed(
    reading: Iterable[tuple[_File, Window | None]], compute: Compute, batch_size: int
) -> Iterator[_File]:
    """The files, in order, once all of their windows are computed."""
    waiting: deque[_File] = deque()
    batch: list[tuple[_File, Window]] = []

    def flush() -> None:
        if batch:
            for (file, _), row in zip(batch, compute([w for _, w in batch]), strict=True):
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
    """What writes a file's line.

    DCASE's system output has a header, then the name without its folder, the scene and the
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

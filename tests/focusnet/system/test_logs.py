"""What is logged reaches a file and the terminal, and only while somebody asked for it."""

import io
import logging
import os
import re

import pyte

from focusnet.system.logs import ON_STATUS_LINE, log_to_file, log_to_terminal, wrap

logger = logging.getLogger("focusnet.some.module")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_file_gets_each_line_with_time_and_level_and_keeps_what_it_had(tmp_path):
    path = tmp_path / "trial.log"
    path.write_text("before\n")
    with log_to_file(path):
        logger.info("epoch %d of %d", 1, 2)
        logger.debug("detail")
    logger.warning("too late")
    first, second = path.read_text().splitlines()
    assert first == "before"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO    epoch 1 of 2", second)


def test_a_file_that_cannot_be_written_ends_nothing(tmp_path, capsys):
    with log_to_file(tmp_path / "not there" / "trial.log"):
        logger.info("lost")
    with log_to_file(tmp_path):  # a folder
        logger.info("lost")
    assert capsys.readouterr().err == ""


def test_a_file_that_is_replaced_meanwhile_gets_the_next_line(tmp_path):
    path = tmp_path / "trial.log"
    with log_to_file(path):
        logger.info("one")
        (tmp_path / "downloaded").write_text("from another machine\n")
        (tmp_path / "downloaded").replace(path)
        logger.info("two")
    first, second = path.read_text().splitlines()
    assert first == "from another machine"
    assert second.endswith("INFO    two")


def test_a_file_gets_each_line_once_whoever_asks_for_it(tmp_path):
    path = tmp_path / "trial.log"
    with log_to_file(path):
        with log_to_file(path):
            logger.info("inside")
        logger.info("outside")
    assert [line.split()[-1] for line in path.read_text().splitlines()] == ["inside", "outside"]


def test_a_stream_that_is_no_terminal_gets_plain_lines():
    stream = io.StringIO()
    with log_to_terminal(stream=stream):
        logger.info("[weight] %s", "x" * 200)
        logger.warning("disk is nearly full")
    assert stream.getvalue() == f"[weight] {'x' * 200}\nwarning: disk is nearly full\n"


def test_a_clock_leads_each_line():
    for stream in (io.StringIO(), Terminal()):
        with log_to_terminal(stream=stream, clock=True):
            logger.warning("FAILED")
        shown = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
        assert re.fullmatch(r"\[00:0\d\] FAILED\s*", shown)


def test_a_closed_pipe_ends_nothing(capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream, log_to_terminal(stream=stream):
        logger.info("lost")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # or close() would raise
    assert capsys.readouterr().err == ""


def test_the_terminal_shows_brackets_as_they_are():
    stream = Terminal()
    with log_to_terminal(stream=stream):
        logger.info("space [bold]focus[/bold]")
    assert "space [bold]focus[/bold]" in stream.getvalue()


def test_the_level_decides_what_is_shown():
    stream = io.StringIO()
    with log_to_terminal(logging.WARNING, stream):
        logger.info("quiet")
        with log_to_terminal(logging.DEBUG, stream):
            logger.debug("once")
        logger.debug("quiet again")
    assert stream.getvalue() == "once\n"


def test_a_long_line_goes_on_under_the_text_of_its_last_column():
    line = "[00:05] done     subset25-weight1.53: template 36.7 %, FocusNet 35.0 %, 16 s"
    assert wrap(line, 60) == (
        "[00:05] done     subset25-weight1.53: template 36.7 %,\n    FocusNet 35.0 %, 16 s"
    )
    assert (
        wrap("  disk         /tmp: 3 GB, 5 GB free", 80) == "  disk         /tmp: 3 GB, 5 GB free"
    )
    wide = wrap("  disk         " + "word " * 20, 80).splitlines()
    assert [len(one) - len(one.lstrip()) for one in wide] == [2, 15]
    assert max(map(len, wrap("x" * 90 + " y", 40).splitlines())) <= 40


def test_the_status_line_is_rewritten_below_the_log_and_gone_at_the_end(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with log_to_terminal(stream=stream) as terminal:
        with terminal.status_line() as show:
            show("10 s left | search 1 of 4 and much more")
            logger.info("a trial is done")
            logger.info("the same state", extra={ON_STATUS_LINE: True})
            show("5 s left | search 2 of 4")
        logger.info("the end", extra={ON_STATUS_LINE: True})
    screen = pyte.Screen(30, 10)
    pyte.Stream(screen).feed(stream.getvalue().replace("\n", "\r\n"))
    assert [line.rstrip() for line in screen.display if line.strip()] == [
        "a trial is done",
        "the end",
    ]
    assert "10 s left | search 1 of 4 and…" in stream.getvalue()
    assert "the same state" not in stream.getvalue()


def test_a_terminal_that_cannot_rewrite_lines_gets_plain_ones(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    with log_to_terminal(stream=stream) as terminal:
        logger.info("x" * 200)
    assert terminal is None
    assert stream.getvalue() == "x" * 200 + "\n"

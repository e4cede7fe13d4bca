"""Descriptors of a process that are closed or full."""

import errno
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def _python(code: str, to: str) -> str:
    """What such a process writes to descriptor 9, which is ours."""
    line = f"{{ {sys.executable} -c '{code}' {to}; }} 9>&1"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("to", ["2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
def test_a_file_that_is_opened_takes_no_number_of_what_was_closed(to: str) -> None:
    code = "import os, llmkit.commands.descriptors as d; d.prepare(); "
    code += 'f = open("/dev/null"); f = open("/dev/null"); os.write(9, b"%d" % f.fileno())'
    assert int(_python(code, to)) > 2


def test_nothing_is_written_to_a_descriptor_that_is_discarded() -> None:
    code = "import os, llmkit.commands.descriptors as d; print(1, flush=True); d.discard(1); "
    code += 'print(2, flush=True); os.write(9, b"end")'
    assert _python(code, "") == "1\nend"


def test_what_is_written_to_a_closed_stdout_fails_and_to_a_closed_stderr_is_lost() -> None:
    code = "import os, sys, llmkit.commands.descriptors as d; d.prepare()\n"
    code += "print(1, file=sys.stderr, flush=True)\n"
    code += (
        'try: print(1, flush=True)\nexcept OSError as error: os.write(9, b"%d" % error.errno); d.discard(1)'
    )
    assert _python(code, "1>&- 2>&-") == "9"


@pytest.mark.parametrize("to", ["2> >(exec true)", "2>/dev/full"])
def test_a_stderr_that_takes_nothing_ends_no_work(to: str) -> None:
    code = "import os, sys, time, llmkit.commands.descriptors as d; d.prepare()\n"
    code += "time.sleep(0.5)\nfor _ in range(3): print(1, file=sys.stderr, flush=True)\n"
    code += 'os.write(9, b"end")'
    assert _python(code, to) == "end"


@pytest.mark.parametrize(
    "locale", ["LC_ALL=C PYTHONUTF8=0", "PYTHONIOENCODING=latin-1", "PYTHONIOENCODING=utf-8"]
)
def test_what_is_said_is_utf_8_whatever_the_locale_and_a_name_is_its_bytes(locale: str) -> None:
    code = "import sys, llmkit.commands.descriptors as d; d.prepare(); print(chr(233), chr(0xdcff))\n"
    code += "print(chr(233), chr(0xdcff), file=sys.stderr)"
    line = f"{locale} {sys.executable} -c '{code}' 2>&1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    assert sorted(done.stdout.splitlines()) == [b"\xc3\xa9 \\udcff", b"\xc3\xa9 \xff"]


@pytest.mark.parametrize("unbuffered", ["", "PYTHONUNBUFFERED=1"])
def test_what_stdout_takes_a_part_of_is_an_error(unbuffered: str, tmp_path: Path) -> None:
    code = "import os, sys, llmkit.commands.descriptors as d; d.prepare()\n"
    code += 'try: sys.stdout.buffer.write(b"x" * 3000); sys.stdout.flush(); os.write(9, b"all of it")\n'
    code += 'except OSError as error: os.write(9, b"%d" % error.errno); d.discard(1)'
    line = f"ulimit -f 1; {{ {unbuffered} {sys.executable} -c '{code}' > out; }} 9>&1"
    run = partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True, check=True, env=BUFFERED)
    done = run(["bash", "-c", line])
    assert (done.stdout, (tmp_path / "out").stat().st_size) == (str(errno.EFBIG), 1024)

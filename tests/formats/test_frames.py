"""Messages between processes."""

import io

from llmkit.formats.frames import read_frame, write_frame


def test_frames_are_whole_or_absent() -> None:
    stream = io.BytesIO()
    write_frame(stream, b"abc")
    write_frame(stream, b"")
    whole = stream.getvalue()
    stream.seek(0)
    assert [read_frame(stream) for _ in range(3)] == [b"abc", b"", None]
    assert read_frame(io.BytesIO(whole[:5])) is None

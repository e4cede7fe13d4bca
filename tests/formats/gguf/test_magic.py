"""A GGUF file is known by its first bytes, whatever it is called."""

from pathlib import Path

from llmkit.formats.gguf.magic import is_gguf


def test_a_gguf_file_is_known_by_its_bytes_or_its_name(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"GGUF\x03\0\0\0")
    (tmp_path / "damaged.gguf").write_bytes(b"")
    (tmp_path / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    (tmp_path / "folder.gguf").mkdir()
    found = {path.name for path in tmp_path.iterdir() if is_gguf(path)}
    assert found == {"blob", "damaged.gguf"}
    assert not is_gguf(tmp_path / "absent.gguf")

"""The served model of the server's own tests, here for clients that people use."""

from tests.server.conftest import model, serving, tokenizer, tokenizer_folder

__all__ = ["model", "serving", "tokenizer", "tokenizer_folder"]

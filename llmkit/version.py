"""The version of llmkit, read by the package build and by `llmkit --version`."""

__version__ = "0.1.0"

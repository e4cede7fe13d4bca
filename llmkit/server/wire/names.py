"""What each endpoint calls the settings that have other names inside: errors are told in its words."""

from collections.abc import Mapping

from llmkit.engine.config import SamplingConfig
from llmkit.errors import LlmkitError
from llmkit.server.errors import ApiError, as_api_error, renamed

TEXTS = {"stop_ids": "stop_token_ids", "samples": "n"}
"""Of `/v1/completions` and `/v1/chat/completions`, from the name inside to the name in the body."""
RESPONSES = {"max_tokens": "max_output_tokens", "messages": "input"}
"""Of `/v1/responses`."""
MESSAGES = {"stop": "stop_sequences"}
"""Of `/v1/messages`."""


def named_error(error: LlmkitError, names: Mapping[str, str]) -> ApiError:
    """Our refusal of a setting in the words of a request.

    Args:
        error: whose problem begins with the setting that it is about.
        names: from the name inside to the name in the body.
    """
    return renamed(as_api_error(error, setting_of(error.problem)), names)


def setting_of(problem: str) -> str | None:
    """The setting that a problem begins with; None: it begins with something else."""
    word = problem.split(maxsplit=1)[0].rstrip(":") if problem.strip() else ""
    return word if word in SamplingConfig.__dataclass_fields__ else None

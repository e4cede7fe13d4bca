"""What a message says, where it says it in parts: `[{"type": "text", "text": TEXT}, …]`."""

from typing import Any

from llmkit.errors import DataError

_NOT_TEXT = frozenset(
    ("image", "image_url", "input_image", "video", "video_url", "audio", "audio_url", "input_audio", "file")
)
"""Types of the parts of a content that no model here reads; many templates write them as Python does."""


def joined_parts(content: Any) -> Any:
    """Parts that are all text as one text, which every template takes; anything else as it is."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        match part:
            case {"type": "text", "text": str() as text}:
                texts.append(text)
            case _:
                return content
    return "".join(texts)


def check_parts(content: Any, where: str) -> None:
    """Refuse what is no text, such as an image.

    Raises:
        DataError: naming the part.
    """
    if not isinstance(content, list):
        return
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind in _NOT_TEXT:
            raise DataError(
                f"{where}[{number}]: of type {kind!r}: only text is read here",
                hint='a message is {"role": "user", "content": TEXT}',
            )

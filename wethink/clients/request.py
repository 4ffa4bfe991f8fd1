"""Chat-completion request as data, with a key that covers all that its response depends on."""

import base64
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wethink.common.jsonl import dumps

PIXELS_PER_TOKEN = 28 * 28  # of a merged visual token of Qwen2.5-VL; an estimate for others
CHARS_PER_TOKEN = 3.5  # of English prose, for estimates
OVERHEAD_TOKENS = 64  # of the chat template


def text_tokens(chars: int) -> int:
    """Estimate the tokens of a text by its length in characters."""
    return math.ceil(chars / CHARS_PER_TOKEN)


@dataclass(frozen=True)
class Picture:
    """An image to send; `load` reads the bytes on demand.

    `id` is the sha256 of the stored image, with the size if it was scaled.
    """

    id: str
    load: Callable[[], tuple[bytes, str]]  # → bytes, media type
    pixels: int

    def data_url(self) -> str:
        """Return the image as a `data:` URL (RFC 2397)."""
        data, media_type = self.load()
        return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


@dataclass(frozen=True)
class Request:
    """One request to one model. Requests with equal keys share one response."""

    role: str  # of the annotator team, for the ledger; not part of the key
    endpoint: str  # not part of the key: the same model at another endpoint is the same model
    model: str
    revision: str | None
    system: str
    user: str
    picture: Picture | None
    schema_name: str
    schema: Mapping[str, Any] = field(hash=False)  # JSON schema of the reply
    temperature: float
    max_tokens: int
    sample: int = 0  # index among several samples of the same prompt

    @property
    def key(self) -> str:
        """Id of the call in rows, in the store and in the ledger: 40 hex digits."""
        image = self.picture.id if self.picture else None
        sampling = [self.temperature, self.max_tokens, self.sample]
        asked = [self.model, self.revision, self.system, self.user, image, self.schema_name, dict(self.schema)]
        return hashlib.sha256(dumps([asked, sampling]).encode()).hexdigest()[:40]

    @property
    def make(self) -> tuple[object, ...]:
        """What a server may refuse beside the contents: requests of one make are all refused for it, or none is."""
        shown = self.picture is not None
        return (self.schema_name, self.temperature, self.max_tokens, bool(self.system), shown)

    def prompt_tokens(self) -> int:
        """Estimate the prompt's tokens."""
        return self._image_tokens() + text_tokens(len(self.system) + len(self.user))

    def most_prompt_tokens(self) -> int:
        """Bound the prompt's tokens: no tokenizer gives more tokens than bytes."""
        return self._image_tokens() + len(self.system.encode()) + len(self.user.encode())

    def _image_tokens(self) -> int:
        return OVERHEAD_TOKENS + (math.ceil(self.picture.pixels / PIXELS_PER_TOKEN) if self.picture else 0)

    def body(self) -> dict[str, Any]:
        """Return the arguments of `chat.completions.create`."""
        content: list[dict[str, Any]] = [{"type": "text", "text": self.user}]
        if self.picture:
            content.insert(0, {"type": "image_url", "image_url": {"url": self.picture.data_url()}})
        form = {"name": self.schema_name, "schema": dict(self.schema), "strict": True}
        return {
            "model": self.model,
            "messages": [{"role": "system", "content": self.system}, {"role": "user", "content": content}],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            # extra_body is sent unchanged: otherwise openai walks the whole schema on every call.
            "extra_body": {"response_format": {"type": "json_schema", "json_schema": form}},
            **({"seed": self.sample} if self.temperature > 0 else {}),
        }

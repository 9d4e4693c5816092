"""Records that cannot become events, set aside in the dead-letter topic as they came."""

from typing import cast

from faust.types import Message

from services.clients.topics import DEAD_LETTER_TOPIC, MAX_RECORD_BYTES
from services.contracts.headers import Headers, dead_letter_headers, failures, split_error_context

from .publish import Record
from .rejection import Rejection

# What Kafka adds to key, value and headers of a record: lengths, offsets, the batch's frame. Far less than this.
_FRAMING_BYTES = 1024


def dead_letter(message: Message, rejection: Rejection) -> Record:
    """The record with its key, its bytes and its headers (repeated ones too), and after them why and from where.

    The context that a retried record carries gives way to the new one, which counts its attempts on.

    A value that unpacked to more than Kafka takes is left out, and the reason says so: its place in the articles topic,
    which the headers name, holds it for as long as that topic keeps records.
    """
    # `message.headers` and not `event.headers`: that is a dict, where repeated headers vanish.
    original, earlier = split_error_context(cast(Headers, list(message.headers or ())))
    reason = rejection.message
    value = message.value or b""
    left_out_bytes = None
    size = sum(len(name) + len(content or b"") for name, content in original) + len(message.key or b"") + len(value)
    if size + len(reason.encode()) + _FRAMING_BYTES > MAX_RECORD_BYTES:
        reason = f"{reason} (the value is left out here: {len(value)} bytes are more than a record may have)"
        left_out_bytes, value = len(value), b""
    context = dead_letter_headers(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        stage=rejection.stage.value,
        exception=rejection.exception,
        message=reason,
        attempt=failures(earlier) + 1,
        left_out_bytes=left_out_bytes,
    )
    return Record(topic=DEAD_LETTER_TOPIC, key=message.key, value=value, headers=original + context)

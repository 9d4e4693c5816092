"""Windows to tensors: batches by a budget of word pieces, as little padding as possible. The buckets live here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .config import TidingsConfig
from .windows import Window

# 32 windows of 128 pieces: chosen to bound memory, not yet tuned for speed.
MAX_BATCH_PIECES = 4096

CLS, SEP = 1, 1  # one special token on each side of a window


@dataclass(slots=True)
class Batch:
    """Tensors of B windows, P pieces (special tokens included), W words.

    `pieces`, `casings`, `attention` are [B, P]; `first_piece` is [B, W], 0 for padding.
    """

    pieces: Tensor
    casings: Tensor
    attention: Tensor
    first_piece: Tensor


def plan(windows: Sequence[Window], *, max_pieces: int = MAX_BATCH_PIECES) -> Iterator[list[int]]:
    """Indices of windows, shortest first, in batches whose padded size stays within `max_pieces`."""
    order = sorted(range(len(windows)), key=lambda index: len(windows[index].pieces))
    batch: list[int] = []
    for index in order:
        width = len(windows[index].pieces) + CLS + SEP
        if batch and width * (len(batch) + 1) > max_pieces:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def collate(windows: Sequence[Window], config: TidingsConfig) -> Batch:
    """Pad windows to one rectangle."""
    width = max(len(window.pieces) for window in windows) + CLS + SEP
    words = max(len(window.first_piece) for window in windows)

    def rectangle(rows: list[list[int]], columns: int, fill: int) -> Tensor:
        return torch.tensor([row + [fill] * (columns - len(row)) for row in rows])

    return Batch(
        pieces=rectangle([[config.cls_id, *window.pieces, config.sep_id] for window in windows], width, config.pad_id),
        casings=rectangle([[0, *window.casings, 0] for window in windows], width, 0),
        attention=rectangle([[1] * (len(window.pieces) + CLS + SEP) for window in windows], width, 0),
        first_piece=rectangle([[CLS + first for first in window.first_piece] for window in windows], words, 0),
    )

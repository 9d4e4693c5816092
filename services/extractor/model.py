"""The network: one encoder pass over a window, a typed trigger tagger, a light decoder to fill each event's slots."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from .batching import Batch
from .config import CASINGS, TidingsConfig
from .windows import Window

# 98 % of the fillers in the news corpus lie in the trigger's sentence or within eight words of it; reading no more
# saves two thirds of the decoder's work.
CROP_MARGIN = 8
# Distances to the trigger beyond this share one embedding: they say "far", and few examples would teach each.
MAX_DISTANCE = 32


@dataclass(slots=True)
class Crops:
    """For E events: which window, which words of it the decoder reads, where the trigger is. All are [E], words of the
    window, ends exclusive."""

    window: Tensor
    start: Tensor
    end: Tensor
    trigger_start: Tensor
    trigger_end: Tensor


@dataclass(slots=True)
class EventLogits:
    """For E events over L cropped words: `slots` [E, L, 1 + 2 × slots] (O, then B and I of each), `realis`, `root` and
    `mode` [E, classes]; class 0 of root and mode is "none"."""

    slots: Tensor
    realis: Tensor
    root: Tensor
    mode: Tensor


def crop(windows: list[Window], triggers: list[tuple[int, int, int]]) -> Crops:
    """Crops for triggers given as `(window, first word, end word)`."""
    rows = []
    for index, start, end in triggers:
        window = windows[index]
        first, last = window.sentence_words(start)[0], window.sentence_words(end - 1)[1]
        rows.append((index, max(0, first - CROP_MARGIN), min(len(window.starts), last + CROP_MARGIN), start, end))
    columns = torch.tensor(rows).reshape(-1, 5).T
    return Crops(*columns)


class TidingsModel(PreTrainedModel):
    """Triggers with types from the encoder; slots, realis, PLOVER root and mode from the decoder's states."""

    config_class = TidingsConfig
    config: TidingsConfig

    def __init__(self, config: TidingsConfig) -> None:
        super().__init__(config)
        encoder = dict(config.encoder)
        self.encoder = AutoModel.from_config(AutoConfig.for_model(encoder.pop("model_type"), **encoder))
        if hasattr(self.encoder, "pooler"):
            self.encoder.pooler = None  # never used
        hidden = self.encoder.config.hidden_size
        width = config.decoder_width
        self.casing = nn.Embedding(CASINGS, hidden)
        self.dropout = nn.Dropout(config.head_dropout)
        self.trigger = nn.Linear(hidden, 1 + len(config.types))
        self.continuation = nn.Linear(hidden, 1)
        self.project = nn.Linear(hidden, width)
        self.distance = nn.Embedding(2 * MAX_DISTANCE + 1, width)
        self.type_embedding = nn.Linear(len(config.types), width, bias=False)
        self.decoder = nn.ModuleList(_decoder_layer(width, config.decoder_heads) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(width)
        self.slots = nn.Linear(width, 1 + 2 * len(config.slots))
        self.realis = nn.Linear(width, len(config.realis))
        self.root = nn.Linear(width, 1 + len(config.roots))
        self.mode = nn.Linear(width, 1 + len(config.modes))
        self.post_init()  # type: ignore[no-untyped-call]

    def words(self, batch: Batch) -> Tensor:
        """Encoder states of the words, [B, W, hidden]."""
        embedded = self.encoder.get_input_embeddings()(batch.pieces) + self.casing(batch.casings)
        states = self.encoder(inputs_embeds=embedded, attention_mask=batch.attention).last_hidden_state
        index = batch.first_piece.unsqueeze(-1).expand(-1, -1, states.shape[-1])
        words: Tensor = self.dropout(states.gather(1, index))
        return words

    def triggers(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of each word: type, [B, W, 1 + types] (class 0: no trigger), and whether it continues the trigger
        before it, [B, W]."""
        return self.trigger(words), self.continuation(words).squeeze(-1)

    def events(self, words: Tensor, crops: Crops, type_probabilities: Tensor) -> EventLogits:
        """Decode E events. `type_probabilities` is [E, types], without the "no trigger" class."""
        length = int((crops.end - crops.start).max())
        positions = crops.start.unsqueeze(1) + torch.arange(length, device=words.device)
        padding = positions >= crops.end.unsqueeze(1)
        positions = positions.clamp(max=words.shape[1] - 1)
        # Projected once a window, before the words are repeated for each of its events.
        states = self.project(words)[crops.window.unsqueeze(1), positions]
        before = (positions - crops.trigger_start.unsqueeze(1)).clamp(max=0)
        after = (positions - crops.trigger_end.unsqueeze(1) + 1).clamp(min=0)
        distance = (before + after).clamp(-MAX_DISTANCE, MAX_DISTANCE) + MAX_DISTANCE
        states = states + self.distance(distance) + self.type_embedding(type_probabilities).unsqueeze(1)
        for layer in self.decoder:
            states = layer(states, src_key_padding_mask=padding)
        states = self.dropout(self.norm(states))
        inside = (positions >= crops.trigger_start.unsqueeze(1)) & (positions < crops.trigger_end.unsqueeze(1))
        weights = (inside & ~padding).to(states.dtype)
        at_trigger = torch.einsum("el,elw->ew", weights, states) / weights.sum(1, keepdim=True)
        return EventLogits(
            slots=self.slots(states),
            realis=self.realis(at_trigger),
            root=self.root(at_trigger),
            mode=self.mode(at_trigger),
        )


def _decoder_layer(width: int, heads: int) -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        width, heads, 2 * width, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
    )
    layer.self_attn.dropout = 0.0  # torch's fused attention has none
    return layer

"""What a model is made of and which labels it gives: the model's own description, kept in its `config.json`."""

from typing import Any

from transformers import PretrainedConfig

# Casing classes of a word: see `windows.casing`.
CASINGS = 5


class TidingsConfig(PretrainedConfig):
    """Architecture and label vocabularies. The order of each vocabulary is the order of the logits.

    `encoder` is the pretrained encoder's configuration, as a dictionary with its `model_type`; the ids are those of the
    special tokens around and after a window.
    """

    model_type = "tidings"

    def __init__(
        self,
        *,
        encoder: dict[str, Any] | None = None,
        types: list[str] | None = None,
        slots: list[str] | None = None,
        realis: list[str] | None = None,
        roots: list[str] | None = None,
        modes: list[str] | None = None,
        taxonomy_version: str = "",
        cls_id: int = 0,
        sep_id: int = 0,
        pad_id: int = 0,
        decoder_width: int = 256,
        decoder_layers: int = 2,
        decoder_heads: int = 4,
        head_dropout: float = 0.3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder or {"model_type": "bert"}
        self.types = types or []
        self.slots = slots or []
        self.realis = realis or []
        self.roots = roots or []
        self.modes = modes or []
        self.taxonomy_version = taxonomy_version
        self.cls_id = cls_id
        self.sep_id = sep_id
        self.pad_id = pad_id
        self.decoder_width = decoder_width
        self.decoder_layers = decoder_layers
        self.decoder_heads = decoder_heads
        self.head_dropout = head_dropout

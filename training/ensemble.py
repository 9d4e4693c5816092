"""Several models as one network: the mean of their probabilities. It stands in for a `TidingsModel` in an Extractor."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from services.extractor.batching import Batch
from services.extractor.confidence import uncalibrated
from services.extractor.config import TidingsConfig
from services.extractor.extractor import Extractor, ModelCard
from services.extractor.model import Crops, EventLogits, TidingsModel

# The best of 0.5 and 0.6 on news/dev (type F1 70.7 and 70.8: no difference) for bge's eight layers and MPNet.
THRESHOLD = 0.6


class Ensemble(nn.Module):
    """Networks with the same labels and the same words, though each may number its word pieces in its own way."""

    def __init__(self, networks: Sequence[TidingsModel], tokenizers: Sequence[Tokenizer]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.config = networks[0].config
        self.widths = [network.encoder.config.hidden_size for network in networks]
        self.pieces = [
            _translation(tokenizers[0], tokenizer, self.config, network.config)
            for network, tokenizer in zip(networks, tokenizers, strict=True)
        ]

    def words(self, batch: Batch) -> Tensor:
        """Encoder states of the words, [B, W, sum of the hidden sizes]."""
        return torch.cat(
            [
                network.words(replace(batch, pieces=pieces[batch.pieces]))  # type: ignore[operator]
                for network, pieces in zip(self.networks, self.pieces, strict=True)
            ],
            dim=-1,
        )

    def triggers(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """As `TidingsModel.triggers`."""
        parts = [
            network.triggers(part)  # type: ignore[operator]
            for network, part in zip(self.networks, words.split(self.widths, dim=-1), strict=True)
        ]
        return _mean([types for types, _ in parts]), torch.stack([also.float().sigmoid() for _, also in parts]).mean(
            0
        ).logit(1e-6)

    def events(self, words: Tensor, crops: Crops, type_probabilities: Tensor) -> EventLogits:
        """As `TidingsModel.events`; all are given the ensemble's belief in the types."""
        parts = [
            network.events(part, crops, type_probabilities)  # type: ignore[operator]
            for network, part in zip(self.networks, words.split(self.widths, dim=-1), strict=True)
        ]
        return EventLogits(
            slots=_mean([part.slots for part in parts]),
            realis=_mean([part.realis for part in parts]),
            root=_mean([part.root for part in parts]),
            mode=_mean([part.mode for part in parts]),
        )


def load_ensemble(folders: Sequence[Path], *, any_labels: bool = False) -> Extractor:
    """An extractor of several model directories, uncalibrated; one alone is loaded as it is.

    Raises ModelError as `Extractor.load`, ValueError if the models' labels or words differ.
    """
    members = [Extractor.load(folder, any_labels=any_labels) for folder in folders]
    if len(members) == 1:
        return members[0]
    network = Ensemble([member.network for member in members], [member.tokenizer for member in members])
    card = ModelCard(
        name="+".join(member.model.name for member in members),
        weights_sha256="+".join(member.model.revision for member in members),
        taxonomy_version=members[0].model.taxonomy_version,
        trigger_threshold=THRESHOLD,
        calibration=uncalibrated(len(network.config.slots)),
    )
    return Extractor(network, folders[0] / "tokenizer.json", card)  # type: ignore[arg-type]


def _mean(logits: list[Tensor]) -> Tensor:
    return torch.stack([part.float().softmax(-1) for part in logits]).mean(0).clamp(min=1e-9).log()


def _translation(first: Tokenizer, other: Tokenizer, ours: TidingsConfig, theirs: TidingsConfig) -> Tensor:
    """For each piece of the first tokenizer, the other's number of it."""
    if (ours.types, ours.slots, ours.realis) != (theirs.types, theirs.slots, theirs.realis):
        raise ValueError("the models of an ensemble must have the same labels: train them for one taxonomy")
    vocabulary = other.get_vocab()
    special = {ours.cls_id: theirs.cls_id, ours.sep_id: theirs.sep_id, ours.pad_id: theirs.pad_id}
    ids = torch.zeros(max(first.get_vocab().values()) + 1, dtype=torch.long)
    for piece, index in first.get_vocab().items():
        if index not in special and piece in vocabulary:
            ids[index] = vocabulary[piece]
    for index, target in special.items():
        ids[index] = target
    missing = [piece for piece, index in first.get_vocab().items() if index not in special and piece not in vocabulary]
    # Marks of the pretraining, such as [MASK], stand in no text.
    if any(not piece.startswith("[") for piece in missing):
        raise ValueError(f"the models of an ensemble must have the same word pieces: {missing[:5]} are in one only")
    return ids

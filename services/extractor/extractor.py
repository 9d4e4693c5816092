"""Articles in, event mentions out, in three steps with pure ends: prepare, infer, decode."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from transformers.utils.logging import disable_progress_bar

from services.contracts import Article
from services.taxonomy import load_taxonomy

from .batching import collate, plan
from .confidence import Calibration, argument_features, event_features, probability
from .decoding import Floats, find_triggers, tagged_spans, trimmed, viterbi
from .mention import Extraction, Filler, Mention, ModelIdentity
from .model import TidingsModel, crop
from .precision import fastest_dtype
from .windows import Features, Window, load_tokenizer, prepare

# Events decoded at once, which bounds memory where a batch of windows is full of triggers; not yet tuned for speed.
_EVENTS_AT_ONCE = 128
# The logarithm of a probability of 0 would be infinite.
_LEAST = 1e-30

# First word, end word, and the type's index where that is given, too.
GivenTrigger = tuple[int, int, int | None]


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What `tidings.json` in a model directory says of the model beside Hugging Face's own files."""

    name: str
    weights_sha256: str
    taxonomy_version: str
    trigger_threshold: float
    calibration: Calibration


class ModelError(Exception):
    """The model directory cannot be used; the message says why and what to do."""


@dataclass(slots=True)
class EventScores:
    """One predicted trigger of a window and all that was scored for it.

    `start`, `end` are words of the window, `crop_start` its first word that the decoder read; `types` [types], `slots`
    [L, tags], `realis`, `root`, `mode` are log-probabilities; `trigger` is the probability that it is one.
    """

    window: int
    start: int
    end: int
    crop_start: int
    trigger: float
    types: Floats
    slots: Floats
    realis: Floats
    root: Floats
    mode: Floats


class Extractor:
    """A loaded model. `extract` is `decode(infer(prepare(...)))`."""

    def __init__(self, model: TidingsModel, tokenizer_file: Path, card: ModelCard) -> None:
        self.network = model.eval()  # type: ignore[no-untyped-call]
        self.tokenizer = load_tokenizer(str(tokenizer_file))
        self.threshold = card.trigger_threshold
        self.calibration = card.calibration
        self.model = ModelIdentity(
            name=card.name, revision=card.weights_sha256[:12], taxonomy_version=card.taxonomy_version
        )

    @classmethod
    def load(cls, model_dir: Path, *, any_labels: bool = False) -> "Extractor":
        """Load a model directory, in the precision that this processor computes fastest; with `any_labels`, also one
        that was taught other labels than the taxonomy's, to score it.

        Raises ModelError if the directory is incomplete, its weights are not those it describes, or its labels are not
        those of the taxonomy in force.
        """
        try:
            card = msgspec.json.decode((model_dir / "tidings.json").read_bytes(), type=ModelCard)
            weights = (model_dir / "model.safetensors").read_bytes()
        except (FileNotFoundError, msgspec.MsgspecError) as error:
            raise ModelError(
                f"no usable model in {model_dir}: {error}. Set TIDINGS_MODEL_DIR to a model directory."
            ) from error
        if hashlib.sha256(weights).hexdigest() != card.weights_sha256:
            raise ModelError(f"the weights in {model_dir} are not those that its tidings.json names: fetch them again.")
        taxonomy = load_taxonomy()
        if card.taxonomy_version != taxonomy.version and not any_labels:
            raise ModelError(
                f"the model in {model_dir} was trained for taxonomy {card.taxonomy_version}, Tidings has "
                f"{taxonomy.version}: use a model that fits."
            )
        disable_progress_bar()  # of loading, which takes a second: it would stand among the log's lines
        # Encoder and heads are made by different code, each with its own idea of a precision: set one for all.
        model = TidingsModel.from_pretrained(model_dir).to(fastest_dtype())  # type: ignore[arg-type]
        if not card.calibration.fits(len(model.config.slots)):
            raise ModelError(f"the confidence in {model_dir} was fitted for another version: run training.calibration.")
        return cls(model, model_dir / "tokenizer.json", card)

    def extract(self, articles: Sequence[Article]) -> list[Extraction]:
        """The mentions of each article, in the order given. An article of any length is read to its end."""
        features = self.prepare(articles)
        return self.decode(self.infer(features), features, articles)

    def prepare(self, articles: Sequence[Article]) -> Features:
        return prepare([article.body for article in articles], self.tokenizer)

    @torch.inference_mode()
    def infer(self, features: Features, triggers: Sequence[Sequence[GivenTrigger]] | None = None) -> list[EventScores]:
        """Find the triggers of every window, then score their events; windows share batches across articles.

        `triggers` of each window are to be taken as they are.
        """
        scores: list[EventScores] = []
        for indices in plan(features.windows):
            windows = [features.windows[index] for index in indices]
            words = self.network.words(collate(windows, self.network.config))
            type_logits, continuation_logits = self.network.triggers(words)
            types, continuation = type_logits.float().softmax(-1).numpy(), continuation_logits.float().sigmoid().numpy()
            events = [
                (row, *trigger)
                for row, (index, window) in enumerate(zip(indices, windows, strict=True))
                for trigger in (
                    [
                        (start, end, None)
                        for start, end in find_triggers(
                            types[row, : len(window.starts)],
                            continuation[row, : len(window.starts)],
                            threshold=self.threshold,
                        )
                    ]
                    if triggers is None
                    else triggers[index]
                )
            ]
            for chunk in range(0, len(events), _EVENTS_AT_ONCE):
                scores.extend(
                    self._score_events(words, windows, indices, events[chunk : chunk + _EVENTS_AT_ONCE], types)
                )
        return scores

    def _score_events(
        self,
        words: torch.Tensor,
        windows: list[Window],
        indices: list[int],
        triggers: list[tuple[int, int, int, int | None]],
        types: Floats,
    ) -> list[EventScores]:
        crops = crop(windows, [(row, start, end) for row, start, end, _ in triggers])
        rows, firsts = crops.window.numpy(), crops.trigger_start.numpy()
        given_trigger = types[rows, firsts, 1:] / types[rows, firsts, 1:].sum(1, keepdims=True)
        for event, (*_, kind) in enumerate(triggers):
            if kind is not None:
                given_trigger[event] = np.eye(given_trigger.shape[1])[kind]
        logits = self.network.events(words, crops, torch.from_numpy(given_trigger).to(words.dtype))
        slots, realis, root, mode = (
            part.float().log_softmax(-1).numpy() for part in (logits.slots, logits.realis, logits.root, logits.mode)
        )
        return [
            EventScores(
                window=indices[row],
                start=start,
                end=end,
                crop_start=int(crops.start[event]),
                trigger=float(1 - types[row, start, 0]),
                types=np.log(given_trigger[event].clip(_LEAST)),
                slots=slots[event, : int(crops.end[event] - crops.start[event])],
                realis=realis[event],
                root=root[event],
                mode=mode[event],
            )
            for event, (row, start, end, _) in enumerate(triggers)
        ]

    def decode(
        self, scores: Sequence[EventScores], features: Features, articles: Sequence[Article]
    ) -> list[Extraction]:
        """Scores to mentions with offsets into each article's body, in the order of their triggers."""
        mentions: list[list[Mention]] = [[] for _ in articles]
        for event, tags in zip(scores, best_tags(scores), strict=True):
            window = features.windows[event.window]
            mentions[window.article].append(self.mention(event, tags, window, features.sentences[window.article]))
        return [
            # All sentences were cut into windows and all windows were scored: nothing was left out.
            Extraction(mentions=sorted(found, key=lambda mention: mention.trigger_start), chars_read=len(article.body))
            for article, found in zip(articles, mentions, strict=True)
        ]

    def mention(
        self, event: EventScores, tags: NDArray[np.int64], window: Window, sentences: list[tuple[int, int]]
    ) -> Mention:
        """The mention of one event, with `tags` [L] for the words that its decoder read."""
        config = self.network.config
        sentence = window.sentences[event.start]
        kind = int(event.types.argmax())
        root = int(event.root.argmax())
        root_name = config.roots[root - 1] if root else None
        confidence = probability(self.calibration.event, event_features(event.trigger, event.types))
        return Mention(
            type=config.types[kind],
            realis=config.realis[int(event.realis.argmax())],
            root=root_name,
            mode=self._mode(event, root_name),
            confidence=confidence,
            trigger_start=window.starts[event.start],
            trigger_end=window.ends[event.end - 1],
            fillers=[
                Filler(
                    role=config.slots[slot],
                    start=window.starts[event.crop_start + start],
                    end=window.ends[event.crop_start + end - 1],
                    confidence=probability(
                        self.calibration.argument,
                        argument_features(logs, slot, len(config.slots), confidence),
                    ),
                )
                for slot, start, end, logs in filler_spans(event, tags, window)
            ],
            sentence_start=sentences[sentence][0],
            sentence_end=sentences[sentence][1],
            sentence_index=sentence,
        )

    def _mode(self, event: EventScores, root: str | None) -> str | None:
        """The best mode that the root has, if it is likelier than none."""
        if root is None:
            return None
        allowed = load_taxonomy().plover.modes.get(root, [])
        candidates = [0, *(index for index, mode in enumerate(self.network.config.modes, start=1) if mode in allowed)]
        best = max(candidates, key=lambda index: float(event.mode[index]))
        return self.network.config.modes[best - 1] if best else None


def best_tags(scores: Sequence[EventScores]) -> list[NDArray[np.int64]]:
    """Viterbi over all events at once, padded with certain O."""
    if not scores:
        return []
    longest = max(len(event.slots) for event in scores)
    padded = np.full((len(scores), longest, scores[0].slots.shape[1]), -1e9, dtype=np.float32)
    padded[:, :, 0] = 0
    for row, event in enumerate(scores):
        padded[row, : len(event.slots)] = event.slots
    return [tags[: len(event.slots)] for event, tags in zip(scores, viterbi(padded), strict=True)]


def filler_spans(event: EventScores, tags: NDArray[np.int64], window: Window) -> Iterator[tuple[int, int, int, Floats]]:
    """`(slot, start, end, log-probabilities of its tags)` of each filler, in words of the crop."""
    looseness = window.looseness[event.crop_start :]
    for slot, first, last in tagged_spans(tags):
        if span := trimmed(first, last, looseness):
            start, end = span
            yield slot, start, end, event.slots[np.arange(start, end), tags[start:end]]

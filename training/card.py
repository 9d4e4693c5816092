"""The model card: what the model is, what it learnt from, how well it does, what it may be used for."""

from datetime import UTC, datetime
from pathlib import Path

from .scoring import Scores

_TEMPLATE = """---
language: en
library_name: transformers
pipeline_tag: token-classification
---
# {name}

Finds events in English news: trigger, type (49), PLOVER root and mode, realis, and the spans that fill 11
slots. One encoder pass over windows of whole sentences, a typed trigger tagger on words, and for each trigger
a decoder of two small layers that tags the slots (word-level BIO, Viterbi) and reads realis, root and mode
off its state at the trigger.

| | |
|---|---|
| encoder | {base} |
| parameters | {parameters:.1f} M, stored in bfloat16 |
| taxonomy | {taxonomy_version} |
| trigger threshold | {threshold}, tuned on the development set below |
| trained on | {train_passages:,} passages of world news, {train_events:,} events, {epochs} epochs, seed {seed} |

## Scores

On {passages} passages of world news ({events:,} events, development set, no article shared with training),
{date}, by `python -m training.evaluate`. The threshold was chosen on the same passages, so trigger and type
are a little flattered.

| measure | per cent |
|---|---|
{scores}
| expected calibration error, events | {event_error:.1f} |
| expected calibration error, arguments | {argument_error:.1f} |

A trigger is right if it overlaps the gold trigger (one to one); root, realis and mode are judged on those,
mode only where the gold event has one. A filler is right if its event's trigger is, its slot is, and its
words are the same but for a leading article (exact) or overlap. Two independent annotations of like passages
agree at trigger F1 95, type F1 92, root 98 %, realis 96 %, slots 82 exact and 86 overlapping. Calibration errors are
over ten bins of equal mass, each article judged by weights fitted on the others.

| realis | found, per cent | matched gold events |
|---|---|---|
{realis}

| type | F1 | precision | recall | gold events |
|---|---|---|---|---|
{types}

## Data and licence

Learnt from a corpus of news passages annotated by the project's codebook (model-assisted, read twice; dates
2004 to 2022). Some of its passages come from public event corpora (WikiEvents, M2E2, RAMS, CASIE) that state
no licence for their texts or CC BY-SA for their annotations. No text is part of this model directory. The
encoder's own licence is Apache-2.0 (MiniLM) or MIT (bge).

## What to know before you use it

- English only; other languages are not read.
- It reads windows of about 190 word pieces. A filler in another window than its trigger is not found.
- Rare types, and background and hedged claims taken for facts (the tables above), are its weak side.
- Confidence was fitted to the development set: on other kinds of text it may be off.
- It says what a text says, not what is true. Do not act on a person because of its output.
"""


def write_card(
    out: Path,
    scores: Scores,
    *,
    calibration_errors: tuple[float, float],
    base: str,
    parameters: int,
    threshold: float,
    taxonomy_version: str,
    passages: int,
    train_passages: int,
    train_events: int,
    epochs: int,
    seed: int,
) -> None:
    """Write `README.md` into the model directory."""
    summary = scores.summary()
    by_size = sorted(scores.types.items(), key=lambda item: -item[1].gold)
    text = _TEMPLATE.format(
        name=out.name,
        base=base,
        parameters=parameters / 1e6,
        taxonomy_version=taxonomy_version,
        threshold=threshold,
        train_passages=train_passages,
        train_events=train_events,
        epochs=epochs,
        seed=seed,
        passages=passages,
        events=scores.trigger.gold,
        date=datetime.now(UTC).date().isoformat(),
        scores="\n".join(f"| {name.replace('_', ' ')} | {value:.1f} |" for name, value in summary.items()),
        event_error=100 * calibration_errors[0],
        argument_error=100 * calibration_errors[1],
        realis="\n".join(
            f"| {name} | {count.recall():.0f} | {count.gold} |"
            for name, count in sorted(scores.realis.items(), key=lambda item: -item[1].gold)
        ),
        types="\n".join(
            f"| {name} | {count.f1():.0f} | {count.precision():.0f} | {count.recall():.0f} | {count.gold} |"
            for name, count in by_size
        ),
    )
    (out / "README.md").write_text(text)

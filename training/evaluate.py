"""Score a model on corpus files: `python -m training.evaluate --model DIR… --data FILE…`."""

import argparse
import json
from pathlib import Path

from services.contracts import Article
from services.extractor.extractor import Extractor
from services.extractor.mention import Mention
from services.extractor.windows import Window

from .corpus import GoldEvent, Passage, read_passages
from .ensemble import load_ensemble
from .examples import words_of
from .scoring import ScoredEvent, Scores, add_passage

PASSAGES_AT_ONCE = 64


def evaluate(extractor: Extractor, passages: list[Passage], *, gold_triggers: bool = False) -> Scores:
    """Extract every passage as an article of its own and count; with `gold_triggers`, only label and fill those."""
    scores = Scores()
    for first in range(0, len(passages), PASSAGES_AT_ONCE):
        chunk = passages[first : first + PASSAGES_AT_ONCE]
        articles = [Article(id=passage.id, text=passage.text) for passage in chunk]
        features = extractor.prepare(articles)
        triggers = [_gold_triggers(window, chunk[window.article]) for window in features.windows]
        found = extractor.infer(features, triggers if gold_triggers else None)
        extractions = extractor.decode(found, features, articles)
        for passage, extraction in zip(chunk, extractions, strict=True):
            gold = [scored for event in passage.events if (scored := scored_gold(event))]
            add_passage(scores, passage.text, list(map(scored_mention, extraction.mentions)), gold)
    return scores


def _gold_triggers(window: Window, passage: Passage) -> list[tuple[int, int]]:
    spans = {words_of(window, event.trigger) for event in passage.events if event.trigger and event.type}
    return sorted(span for span in spans if span)


def scored_gold(event: GoldEvent) -> ScoredEvent | None:
    """A gold event as the scorer sees it; none without a trigger or a type."""
    if event.trigger is None or event.type is None:
        return None
    return ScoredEvent(
        start=event.trigger[0],
        end=event.trigger[1],
        type=event.type,
        root=event.plover,
        mode=event.mode,
        realis=event.realis or "",
        fillers=[(slot, start, end) for slot, spans in event.slots.items() for start, end in spans],
    )


def scored_mention(mention: Mention) -> ScoredEvent:
    """A mention as the scorer sees it."""
    return ScoredEvent(
        start=mention.trigger_start,
        end=mention.trigger_end,
        type=mention.type,
        root=mention.root,
        mode=mention.mode,
        realis=mention.realis,
        fillers=[(filler.role, filler.start, filler.end) for filler in mention.fillers],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, nargs="+", help="model directory; several are averaged")
    parser.add_argument("--data", type=Path, required=True, nargs="+", help="corpus files, gzipped or not")
    parser.add_argument(
        "--gold-triggers", action="store_true", help="give the triggers: what they are and who fills them"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    passages = [passage for path in options.data for passage in read_passages(path)]
    scores = evaluate(load_ensemble(options.model), passages, gold_triggers=options.gold_triggers)
    summary = {name: round(value, 1) for name, value in scores.summary().items()}
    if options.json:
        print(json.dumps({"passages": len(passages), "events": scores.trigger.gold, **summary}))
        return
    print(f"{len(passages)} passages, {scores.trigger.gold} events; per cent")
    for name, value in summary.items():
        print(f"{name:24}{value:6.1f}")
    print("\ntype, F1 (precision / recall), gold events")
    for name, count in sorted(scores.types.items(), key=lambda item: -item[1].gold):
        print(f"{name:24}{count.f1():6.1f} ({count.precision():.0f} / {count.recall():.0f}), {count.gold}")


if __name__ == "__main__":
    main()

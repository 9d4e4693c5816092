"""Score a model on corpus files: `python -m training.evaluate --model DIR… --data FILE…`."""

import argparse
import json
from pathlib import Path

from services.contracts import Article
from services.extractor.extractor import Extractor, GivenTrigger
from services.extractor.mention import Mention
from services.extractor.windows import Window

from .corpus import GoldEvent, Passage, read_passages
from .ensemble import load_ensemble
from .examples import words_of
from .scoring import ScoredEvent, Scores, add_passage
from .source import Mapping, read_mapping, relabelled, translated

PASSAGES_AT_ONCE = 64


def evaluate(
    extractor: Extractor,
    passages: list[Passage],
    *,
    gold_triggers: bool = False,
    gold_types: bool = False,
    mapping: Mapping | None = None,
) -> Scores:
    """Extract every passage as an article of its own and count; with `gold_triggers`, only label and fill those, with
    `gold_types`, only fill them. With a mapping, what is extracted is translated before it is counted."""
    scores = Scores()
    for first in range(0, len(passages), PASSAGES_AT_ONCE):
        chunk = passages[first : first + PASSAGES_AT_ONCE]
        articles = [Article(id=passage.id, text=passage.text) for passage in chunk]
        features = extractor.prepare(articles)
        kinds = extractor.network.config.types if gold_types else []
        triggers = [_gold_triggers(window, chunk[window.article], kinds) for window in features.windows]
        found = extractor.infer(features, triggers if gold_triggers or gold_types else None)
        extractions = extractor.decode(found, features, articles)
        for passage, extraction in zip(chunk, extractions, strict=True):
            gold = [scored for event in passage.events if (scored := scored_gold(event))]
            predicted = [scored_mention(mention) for mention in extraction.mentions]
            if mapping:
                predicted = [event for mention in predicted if (event := translated(mention, mapping))]
            add_passage(scores, passage.text, predicted, gold)
    return scores


def _gold_triggers(window: Window, passage: Passage, kinds: list[str]) -> list[GivenTrigger]:
    """The triggers of a window, once each; with the type of those in `kinds`."""
    given = {
        (*span, kinds.index(event.type) if event.type in kinds else None)
        for event in passage.events
        if event.trigger and event.type and (span := words_of(window, event.trigger))
    }
    return sorted(given, key=lambda trigger: (trigger[0], trigger[1], -1 if trigger[2] is None else trigger[2]))


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
    parser.add_argument("--gold-types", action="store_true", help="give the triggers and their types: who fills them")
    parser.add_argument(
        "--source-labels",
        action="store_true",
        help="score by a public set's own types and roles, as TextEE does",
    )
    parser.add_argument("--mapping", type=Path, help="what the source calls our labels")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    passages = [passage for path in options.data for passage in read_passages(path)]
    if options.source_labels:
        passages = [relabelled(passage) for passage in passages]
    scores = evaluate(
        load_ensemble(options.model, any_labels=options.source_labels),
        passages,
        gold_triggers=options.gold_triggers,
        gold_types=options.gold_types,
        mapping=read_mapping(options.mapping) if options.mapping else None,
    )
    summary = {name: round(value, 1) for name, value in scores.summary().items()}
    if options.source_labels:
        summary = {
            "textee_tc_f1": round(scores.trigger_classification.f1(), 1),
            "textee_ac_f1": round(scores.argument_classification.f1(), 1),
            **{name: value for name, value in summary.items() if name.endswith("_f1")},
        }
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

from training.scoring import ScoredEvent, Scores, add_passage

TEXT = "The army attacked the town on Monday and the army fled."


def event(start: int, end: int, kind: str = "conflict.attack", **changes: object) -> ScoredEvent:
    values: dict[str, object] = {"root": "ASSAULT", "mode": None, "realis": "asserted", "fillers": []}
    return ScoredEvent(start=start, end=end, type=kind, **{**values, **changes})  # type: ignore[arg-type]


def scores(predicted: list[ScoredEvent], gold: list[ScoredEvent]) -> dict[str, float]:
    result = Scores()
    add_passage(result, TEXT, predicted, gold)
    return result.summary()


def test_an_overlapping_trigger_of_another_type_is_a_trigger_but_not_a_type() -> None:
    result = scores([event(9, 17, "conflict.yield")], [event(9, 15)])
    assert (result["trigger_f1"], result["type_f1"]) == (100, 0)


def test_one_prediction_cannot_match_two_golds() -> None:
    assert round(scores([event(0, 55)], [event(9, 17), event(50, 54)])["trigger_f1"], 1) == 66.7


def test_of_two_overlapping_predictions_the_one_with_the_right_type_is_matched() -> None:
    assert scores([event(9, 17, "life.die"), event(9, 17)], [event(9, 17)])["type_f1"] == 200 / 3


def test_a_leading_article_does_not_make_a_filler_wrong() -> None:
    result = scores([event(9, 17, fillers=[("actor", 0, 8)])], [event(9, 17, fillers=[("actor", 4, 8)])])
    assert result["slots_exact_f1"] == 100


def test_a_part_of_a_filler_overlaps_but_is_not_exact() -> None:
    result = scores([event(9, 17, fillers=[("time", 30, 36)])], [event(9, 17, fillers=[("time", 27, 36)])])
    assert (result["slots_exact_f1"], result["slots_overlapping_f1"]) == (0, 100)


def test_the_right_words_in_the_wrong_slot_are_wrong() -> None:
    result = scores([event(9, 17, fillers=[("actor", 22, 26)])], [event(9, 17, fillers=[("recipient", 22, 26)])])
    assert result["slots_overlapping_f1"] == 0


def test_fillers_of_an_unmatched_event_are_spurious() -> None:
    result = scores([event(50, 54, fillers=[("actor", 4, 8)])], [event(9, 17, fillers=[("actor", 4, 8)])])
    assert result["slots_exact_f1"] == 0


def test_labels_are_judged_on_matched_events_only() -> None:
    predicted = [event(9, 17, realis="future"), event(50, 54)]
    result = scores(predicted, [event(9, 17)])
    assert (result["realis_accuracy"], result["root_accuracy"]) == (0, 100)

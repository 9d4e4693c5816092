"""A shorter form of `make chaos`."""

from pathlib import Path

from .chaos import run


def test_kills_outages_and_bad_input_lose_nothing(tmp_path: Path) -> None:
    report = run(tmp_path, articles=150, bad_inputs=20, kills=4, outage_seconds=3, seed=1)
    assert report.kills == 4
    assert report.in_mid_batch
    assert not report.lost, report.table()
    assert report.found == report.expected
    assert report.differing == 0
    assert report.dead_letters >= report.bad_inputs

"""How fast the shipped model reads the seeds: `python -m benchmarks.extractor`. Compare the ratios, not the seconds."""

import time
from collections.abc import Callable

import torch

from services.contracts import Article
from services.extractor.extractor import Extractor
from services.extractor.precision import fastest_dtype
from services.producer.sources import read_articles
from services.settings import ROOT, Settings

# The 25 seeds make 80 windows; four times that is enough for full batches and still ends in seconds.
COPIES = 4
# The best of several rounds is least disturbed by what else the machine does.
ROUNDS = 3


def best_seconds(work: Callable[[], object]) -> float:
    def seconds() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return min(seconds() for _ in range(ROUNDS))


def main() -> None:
    articles = [a for a in read_articles([ROOT / "seeds"]) if isinstance(a, Article)] * COPIES
    extractor = Extractor.load(Settings().model_dir)
    features = extractor.prepare(articles)
    pieces = sum(len(window.pieces) for window in features.windows)
    print(f"{len(articles)} articles, {pieces} word pieces, {torch.get_num_threads()} threads")
    baseline = 0.0
    for dtype in (torch.float32, torch.bfloat16) if fastest_dtype() == torch.bfloat16 else (torch.float32,):
        extractor.network.to(dtype)
        scores = extractor.infer(features)
        parts = {
            "prepare": best_seconds(lambda: extractor.prepare(articles)),
            "infer": best_seconds(lambda: extractor.infer(features)),
            "decode": best_seconds(lambda scores=scores: extractor.decode(scores, features, articles)),
        }
        total = sum(parts.values())
        baseline = baseline or total
        shares = ", ".join(f"{name} {100 * value / total:.0f} %" for name, value in parts.items())
        print(f"{dtype}: {pieces / total:.0f} pieces/s, {baseline / total:.2f} × float32; {shares}")


if __name__ == "__main__":
    main()

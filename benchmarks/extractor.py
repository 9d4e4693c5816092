"""How fast the shipped model reads the seeds, in each precision and beside an MPNet-base with the same heads:
`python -m benchmarks.extractor`. Compare the ratios, not the seconds."""

import time
from collections.abc import Callable

import torch

from services.contracts import Article
from services.extractor.config import TidingsConfig
from services.extractor.extractor import Extractor, GivenTrigger
from services.extractor.model import TidingsModel
from services.extractor.precision import fastest_dtype
from services.producer.sources import read_articles
from services.settings import ROOT, Settings

# The 25 seeds make 80 windows; twice that is enough for full batches, and MPNet-base ends in minutes.
COPIES = 2
# The best of several rounds is least disturbed by what else the machine does.
ROUNDS = 3


def best_seconds(work: Callable[[], object]) -> float:
    def seconds() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return min(seconds() for _ in range(ROUNDS))


def mpnet_base(config: TidingsConfig) -> TidingsModel:
    """An MPNet-base (109 million parameters, the defaults of its configuration) under the same heads, untrained: what
    the weights say does not change how long they take."""
    return TidingsModel(TidingsConfig(**config.to_dict() | {"encoder": {"model_type": "mpnet"}})).eval()  # type: ignore[no-untyped-call]


def main() -> None:
    articles = [a for a in read_articles([ROOT / "seeds"]) if isinstance(a, Article)] * COPIES
    extractor = Extractor.load(Settings().model_dir)
    features = extractor.prepare(articles)
    pieces = sum(len(window.pieces) for window in features.windows)
    print(f"{len(articles)} articles, {pieces} word pieces, {torch.get_num_threads()} threads")
    # Both networks decode the same events.
    triggers: list[list[GivenTrigger]] = [[] for _ in features.windows]
    for event in extractor.infer(features):
        triggers[event.window].append((event.start, event.end, None))
    shipped, large = extractor.network, mpnet_base(extractor.network.config)
    rates: dict[tuple[str, torch.dtype], float] = {}
    for dtype in (torch.float32, torch.bfloat16) if fastest_dtype() == torch.bfloat16 else (torch.float32,):
        for name, network in (("shipped", shipped), ("MPNet-base", large)):
            extractor.network = network.to(dtype)
            scores = extractor.infer(features, triggers)
            parts = {
                "prepare": best_seconds(lambda: extractor.prepare(articles)),
                "infer": best_seconds(lambda: extractor.infer(features, triggers)),
                "decode": best_seconds(lambda scores=scores: extractor.decode(scores, features, articles)),
            }
            total = sum(parts.values())
            rates[name, dtype] = pieces / total
            shares = ", ".join(f"{part} {100 * value / total:.0f} %" for part, value in parts.items())
            print(f"{name} in {str(dtype).removeprefix('torch.')}: {pieces / total:.0f} pieces/s; {shares}", flush=True)
    best = {
        name: max(rate for (other, _), rate in rates.items() if other == name) for name in ("shipped", "MPNet-base")
    }
    print(f"each in its fastest precision: {best['shipped'] / best['MPNet-base']:.1f} × MPNet-base")


if __name__ == "__main__":
    main()

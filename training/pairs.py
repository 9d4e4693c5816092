"""Which PLOVER root relates a marked source to a marked target: the task of PLV, 15 classes, macro-F1.

`python -m training.pairs train --base ENCODER --corpus CORPUS --out DIR`, then
`python -m training.pairs score --model DIR --data FILE`.

The encoder reads the sentence with an embedding added to every piece of the source and of the target; the class comes
from its states at the first piece, over the source and over the target. It learns from PLV's own training part and from
the news corpus, where every event with an actor and a recipient in its sentence is a pair, too.
"""

import argparse
import json
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from services.extractor.batching import collate
from services.extractor.config import TidingsConfig
from services.extractor.model import TidingsModel
from services.extractor.precision import fastest_dtype
from services.extractor.windows import Window, load_tokenizer, prepare, split_sentences

from .corpus import Passage, Span, read_passages
from .examples import MAX_PIECES, words_of
from .scoring import Count
from .train import HEAD_RATE, WARM_UP, new_model

SOURCE, TARGET = 1, 2
BATCH_PAIRS = 16
ENCODER_RATE = 5e-5
# PLV has a fifth as many pairs as the news corpus, and is what is asked for.
PLV_REPEATS = 3
# PLV's YIELD is both of these in the codebook's edition of PLOVER.
YIELD = ("CONCEDE", "RETREAT")


@dataclass(frozen=True, slots=True)
class Pair:
    """A sentence with a source and a target, in code points, and the root between them."""

    text: str
    source: Span
    target: Span
    root: str


class PairModel(nn.Module):
    """An encoder that is told who is who, and a classifier."""

    def __init__(self, base: TidingsModel, roots: Sequence[str]) -> None:
        super().__init__()
        hidden = base.encoder.config.hidden_size
        self.config: TidingsConfig = base.config
        self.encoder, self.casing = base.encoder, base.casing
        self.roots = list(roots)
        self.side = nn.Embedding(3, hidden)
        nn.init.zeros_(self.side.weight)  # the encoder starts as it was
        self.classify = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(3 * hidden, hidden), nn.GELU(), nn.Dropout(0.1), nn.Linear(hidden, len(roots))
        )

    def forward(self, windows: Sequence[Window], sides: Sequence[list[int]]) -> Tensor:
        """Logits of the roots, [B, roots]; `sides` has one of 0, SOURCE, TARGET for each piece of a window."""
        batch = collate(windows, self.config)
        width = batch.pieces.shape[1]
        marks = torch.tensor([[0, *row] + [0] * (width - 1 - len(row)) for row in sides])
        embedded = self.encoder.get_input_embeddings()(batch.pieces) + self.casing(batch.casings) + self.side(marks)
        states = self.encoder(inputs_embeds=embedded, attention_mask=batch.attention).last_hidden_state
        parts = [states[:, 0]]
        for side in (SOURCE, TARGET):
            inside = (marks == side).to(states.dtype)
            parts.append(torch.einsum("bp,bph->bh", inside, states) / inside.sum(1, keepdim=True).clamp(min=1))
        logits: Tensor = self.classify(torch.cat(parts, dim=-1))
        return logits


def plv_pairs(passages: Iterable[Passage]) -> Iterator[Pair]:
    """The pairs of a PLV file."""
    for passage in passages:
        for event in passage.events:
            if event.source_type and event.slots.get("actor") and event.slots.get("recipient"):
                yield Pair(passage.text, event.slots["actor"][0], event.slots["recipient"][0], event.source_type)


def news_pairs(passages: Iterable[Passage]) -> Iterator[Pair]:
    """First actor and first recipient of every event with a root, where both stand in the trigger's sentence; a pair
    with two roots in one sentence is left out."""
    for passage in passages:
        sentences = split_sentences(passage.text)
        found: dict[tuple[Span, Span, Span], set[str]] = {}
        for event in passage.events:
            if not (event.trigger and event.plover and event.slots.get("actor") and event.slots.get("recipient")):
                continue
            source, target = event.slots["actor"][0], event.slots["recipient"][0]
            for start, end in sentences:
                if all(start <= span[0] and span[1] <= end for span in (event.trigger, source, target)):
                    root = "YIELD" if event.plover in YIELD else event.plover
                    found.setdefault(((start, end), source, target), set()).add(root)
        for ((start, end), source, target), roots in found.items():
            if len(roots) == 1:
                yield Pair(
                    passage.text[start:end],
                    (source[0] - start, source[1] - start),
                    (target[0] - start, target[1] - start),
                    roots.pop(),
                )


def mark(pair: Pair, tokenizer: Tokenizer) -> tuple[Window, list[int]]:
    """The pair's window and the side of each of its pieces. Raises ValueError where a span touches no word."""
    [window, *_] = prepare([pair.text], tokenizer, max_pieces=MAX_PIECES).windows
    sides = [0] * len(window.pieces)
    ends = [*window.first_piece[1:], len(window.pieces)]
    for side, span in ((SOURCE, pair.source), (TARGET, pair.target)):
        touched = words_of(window, span)
        if touched is None:
            raise ValueError(f"{span} marks no word of {pair.text!r}")
        for piece in range(window.first_piece[touched[0]], ends[touched[1] - 1]):
            sides[piece] = side
    return window, sides


def train(model: PairModel, pairs: list[Pair], tokenizer: Tokenizer, *, epochs: int, seed: int) -> None:
    """Fit the model, in random order."""
    dtype = fastest_dtype()
    marked = [(*mark(pair, tokenizer), model.roots.index(pair.root)) for pair in pairs]
    model.encoder.get_input_embeddings().requires_grad_(False)
    encoder = [p for p in model.encoder.parameters() if p.requires_grad]
    heads = [p for n, p in model.named_parameters() if not n.startswith("encoder.")]
    optimizer = torch.optim.AdamW(
        [{"params": encoder, "lr": ENCODER_RATE}, {"params": heads, "lr": HEAD_RATE}], weight_decay=0.01
    )
    steps = epochs * (len(marked) // BATCH_PAIRS)
    warm = WARM_UP * steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warm) * max(0.0, 1 - step / steps)
    )
    order = random.Random(seed)
    torch.manual_seed(seed)
    model.train()
    step, started = 0, time.monotonic()
    for _ in range(epochs):
        order.shuffle(marked)
        for first in range(0, len(marked) - BATCH_PAIRS + 1, BATCH_PAIRS):
            windows, sides, roots = zip(*marked[first : first + BATCH_PAIRS], strict=True)
            with sdpa_kernel(SDPBackend.MATH):
                with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
                    logits = model(windows, sides)
                loss = functional.cross_entropy(logits.float(), torch.tensor(roots))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_([*encoder, *heads], 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            if step % 50 == 0:
                print(f"step {step}/{steps} loss {loss.item():.2f} {time.monotonic() - started:.0f} s", flush=True)


@torch.inference_mode()
def predict(model: PairModel, pairs: list[Pair], tokenizer: Tokenizer) -> list[str]:
    """The likeliest root of each pair."""
    model.eval()
    roots = []
    for first in range(0, len(pairs), BATCH_PAIRS):
        windows, sides = zip(*(mark(pair, tokenizer) for pair in pairs[first : first + BATCH_PAIRS]), strict=True)
        roots += [model.roots[index] for index in model(windows, sides).argmax(-1).tolist()]
    return roots


def scores(pairs: list[Pair], predicted: list[str]) -> dict[str, Count]:
    """Counts of each root that a pair has."""
    counts = {root: Count() for root in sorted({pair.root for pair in pairs})}
    for pair, guess in zip(pairs, predicted, strict=True):
        counts[pair.root].gold += 1
        counts[pair.root].hits += guess == pair.root
        if guess in counts:
            counts[guess].predicted += 1
    return counts


def report(pairs: list[Pair], predicted: list[str]) -> str:
    """Macro-F1, accuracy and F1 of each root, in per cent."""
    counts = scores(pairs, predicted)
    macro = sum(count.f1() for count in counts.values()) / len(counts)
    accuracy = 100 * sum(count.hits for count in counts.values()) / len(pairs)
    lines = [f"{len(pairs)} pairs, {len(counts)} roots; macro-F1 {macro:.1f}, accuracy {accuracy:.1f} per cent"]
    lines += [f"{root:12}{count.f1():6.1f}, {count.gold}" for root, count in counts.items()]
    return "\n".join(lines)


def save(model: PairModel, tokenizer_file: Path, out: Path) -> None:
    """Write a folder that `load` reads: weights in bfloat16."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: value.to(torch.bfloat16).contiguous() for name, value in model.state_dict().items()}
    save_file(weights, out / "pairs.safetensors")
    model.config.save_pretrained(out)
    (out / "roots.json").write_text(json.dumps(model.roots))
    (out / "tokenizer.json").write_text(tokenizer_file.read_text())


def load(folder: Path) -> tuple[PairModel, Tokenizer]:
    """A saved model and its tokenizer."""
    base = TidingsModel(TidingsConfig.from_pretrained(folder))
    model = PairModel(base, json.loads((folder / "roots.json").read_text()))
    model.load_state_dict(load_file(folder / "pairs.safetensors"))
    return model, load_tokenizer(str(folder / "tokenizer.json"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    training = commands.add_parser("train")
    training.add_argument("--base", required=True, help="pretrained encoder, or a model directory of training.train")
    training.add_argument("--corpus", type=Path, required=True, help="folder with news/ and public/")
    training.add_argument("--out", type=Path, required=True, help="folder to write")
    training.add_argument("--epochs", type=int, default=4)
    training.add_argument("--seed", type=int, default=1)
    scoring = commands.add_parser("score")
    scoring.add_argument("--model", type=Path, required=True)
    scoring.add_argument("--data", type=Path, required=True, help="PLV in the corpus format")
    options = parser.parse_args()
    if options.command == "train":
        torch.manual_seed(options.seed)
        base, tokenizer_file = new_model(options.base)
        plv = list(plv_pairs(read_passages(options.corpus / "public" / "train" / "plv.jsonl.gz")))
        roots = sorted({pair.root for pair in plv})
        news = [
            pair for pair in news_pairs(read_passages(options.corpus / "news" / "train.jsonl.gz")) if pair.root in roots
        ]
        print(f"{len(plv)} pairs of PLV, {len(news)} of the news corpus", flush=True)
        model, tokenizer = PairModel(base, roots), load_tokenizer(str(tokenizer_file))
        train(model, [*plv * PLV_REPEATS, *news], tokenizer, epochs=options.epochs, seed=options.seed)
        save(model, tokenizer_file, options.out)
        dev = list(plv_pairs(read_passages(options.corpus / "public" / "dev" / "plv.jsonl.gz")))
        print(report(dev, predict(model, dev, tokenizer)))
    else:
        model, tokenizer = load(options.model)
        pairs = list(plv_pairs(read_passages(options.data)))
        print(report(pairs, predict(model, pairs, tokenizer)))


if __name__ == "__main__":
    main()

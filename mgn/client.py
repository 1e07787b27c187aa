"""Embeds or compares images by a model server: `python -m mgn.client --server HOST:PORT ...`."""

import argparse
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from mgn.system import cli
from mgn.system.errors import InputError
from mgn.system.files import atomic_write, refuse_existing
from mgn.system.numbers import decimal_number

_AT_ONCE = 8  # requests under way, which the server may join into a batch


def main(arguments: list[str]) -> int:
    """Parse, send each image in a request of its own, print."""
    flags = parse(arguments)

    import numpy as np

    from mgn.serving import remote

    server = (remote.Rest if flags.rest else remote.Grpc)(
        flags.server, flags.model_name, flags.timeout
    )
    with closing(remote.RemoteEmbedder(server)) as embed, ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            rows = [*pool.map(embed, flags.images)]
        finally:
            pool.shutdown(cancel_futures=True)
    if flags.threshold is not None:
        distance = float(np.linalg.norm(rows[0] - rows[1]))
        verdict = "same" if distance <= flags.threshold else "different"
        print(f"{verdict}: distance {distance:.4f}, threshold {flags.threshold:g}")
    elif flags.output:
        with (
            atomic_write(flags.output, flags.overwrite) as temporary,
            temporary.open("wb") as stream,
        ):
            np.savez(stream, pictures=[str(path) for path in flags.images], features=np.stack(rows))
        print(f"{flags.output}: {len(rows)} embeddings")
    else:
        for path, row in zip(flags.images, rows, strict=True):
            print(
                json.dumps({"picture": str(path), "embedding": [round(float(x), 8) for x in row]})
            )
    return cli.DONE


def parse(arguments: list[str]) -> argparse.Namespace:
    """Flags, checked as far as they can be without TensorFlow."""
    what = "Embed images by a model server (TensorFlow Serving), or compare two: the same person?"
    parser = cli.Parser(what, prog="python -m mgn.client")
    add = parser.add_argument
    lines = "files; a line of JSON for each, or see --output"
    add("images", nargs="+", type=cli.existing_path, help=lines)
    server = {"type": _address, "required": True, "metavar": "HOST:PORT"}
    add("--server", **server, help="port 8500 by custom, 8501 for --rest")
    add("--rest", action="store_true", help="speak REST, not gRPC")
    add("--model_name", default="mgn", help="as the server calls it")
    timeout = {"type": _seconds, "default": 30.0, "metavar": "SECONDS"}
    add("--timeout", **timeout, help="for each answer (default: 30)")
    same = "up to this distance two images show the same person; evaluate.py measures one"
    add("--threshold", type=_distance, metavar="DISTANCE", help=same)
    add("--output", type=Path, help="file (.npz) to make of the embeddings: pictures, features")
    add("--overwrite", action="store_true", help="replace --output")
    flags = parser.parse_args(arguments)
    if flags.threshold is not None and (len(flags.images) != 2 or flags.output):
        parser.error("--threshold compares two images, and makes no --output")
    if flags.output:
        refuse_existing(flags.output, flags.overwrite)
        if flags.output.suffix != ".npz":
            raise InputError(f"--output {flags.output}: must end in .npz")
    return flags


def _address(text: str) -> str:
    if not re.fullmatch(r"[^\s/]+:[0-9]{1,5}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return text


def _seconds(text: str) -> float:
    return _number(text, above_zero=True)


def _distance(text: str) -> float:
    return _number(text, above_zero=False)


def _number(text: str, above_zero: bool) -> float:
    try:
        value = decimal_number(text)
    except ValueError:
        value = float("nan")
    if not (0 < value < 1e9 or (value == 0 and not above_zero)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number {'above' if above_zero else 'from'} 0"
        )
    return value


if __name__ == "__main__":
    sys.exit(cli.run(main))

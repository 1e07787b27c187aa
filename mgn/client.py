"""Embeds or compares images by a model server: `python -m mgn.client --server HOST:PORT ...`."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from mgn.config.threshold import PAIR, number_or_file, read_threshold
from mgn.system import cli
from mgn.system.errors import InputError
from mgn.system.files import refuse_existing
from mgn.system.numbers import decimal_number, is_digits

_HEADER = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*): *([!-~](?:[ -~]*[!-~])?)")
_NOT_SENT = re.compile(r"grpc-.*|.*-bin", re.IGNORECASE)  # names that gRPC keeps for itself


def main(arguments: list[str]) -> int:
    """Parse, send each image in a request of its own, print or keep each as it comes."""
    flags = parse(arguments)

    from mgn.data.named import files_named
    from mgn.serving.place import Place

    paths = files_named(flags.images, flags.list)
    place = Place(flags.server, flags.model_name, flags.tls, flags.ca_file, tuple(flags.header))
    if flags.threshold is not None:
        compare(flags, place, paths)
    elif flags.output:
        keep(flags, place, paths)
    else:
        show(flags, place, paths)
    return cli.DONE


def compare(flags: argparse.Namespace, place: object, paths: list[Path]) -> None:
    """Print whether two images show the same person."""
    if len(paths) != 2:
        raise InputError(f"--threshold: compares two images, not {len(paths)}; name two")
    threshold = read_threshold(flags.threshold, PAIR)

    import numpy as np

    from mgn.serving.probing import check_served

    with closing(_connected(flags, place)) as embed:
        check_served(threshold, embed)
        (_, one), (_, other) = _embedded(embed, paths, skip=False)
    distance = float(np.linalg.norm(one - other))
    verdict = "same" if distance <= threshold.distance else "different"
    promise = f" ({threshold.promise})" if threshold.promise else ""
    print(f"{verdict}: distance {distance:.4f}, threshold {threshold.distance:g}{promise}")


def show(flags: argparse.Namespace, place: object, paths: list[Path]) -> None:
    """Print a line of JSON for each image."""
    done = 0
    with closing(_connected(flags, place)) as embed:
        for path, row in _embedded(embed, paths, flags.skip_unreadable):
            numbers = [round(float(x), 8) for x in row]
            line = {"picture": str(path), "version": embed.version, "embedding": numbers}
            print(json.dumps(line), flush=True)
            done += 1
    _check_some(done, len(paths))


def keep(flags: argparse.Namespace, place: object, paths: list[Path]) -> None:
    """Write the embeddings to `--output`, and on the way to a folder beside it."""
    from mgn.serving.answers import NotFoundError
    from mgn.serving.results import opened_results, part_of
    from mgn.system.progress import Progress

    with opened_results(flags.output, flags.resume, flags.overwrite) as results:
        there = None
        if results.model == place.model and flags.version is None and flags.label is None:
            there = results.version  # and not the version that the server would choose now
        try:
            embed = _connected(flags, place, there)
        except NotFoundError as error:
            if there is None:
                raise
            what = f"{part_of(flags.output)}: has embeddings by version {there}"
            raise InputError(f"{what}: {error}; --overwrite starts over") from None
        with closing(embed):
            results.start(place.model, embed.version, embed.size)
            missing = results.missing(paths)
            if len(results):
                sys.stderr.write(f"{len(results)} embeddings are done, {len(missing)} missing\n")
            progress = Progress(len(missing), "embedding", "images")
            with progress:
                for path, row in _embedded(embed, missing, flags.skip_unreadable, progress.advance):
                    results.add(path, row)
        _check_some(len(set(paths)) - len(results.missing(paths)), len(paths))
        done = results.finish(paths, flags.overwrite)
    left_out = f", {len(paths) - done} images left out" if done < len(paths) else ""
    print(f"{flags.output}: {done} embeddings by version {embed.version}{left_out}")


def _connected(flags: argparse.Namespace, place: object, version: int | None = None) -> object:
    from mgn.serving.remote import connect

    version = version if flags.version is None else flags.version
    return connect(place, flags.rest, flags.timeout, version, flags.label)


def _embedded(
    embed: object, paths: Iterable[Path], skip: bool, count: Callable[[], None] = lambda: None
) -> Iterator[tuple[Path, object]]:
    """Yield each file and its embedding; print those that have none, if they may be left out."""
    from mgn.serving.stream import embed_files

    for path, row in embed_files(embed, paths):
        if not isinstance(row, InputError):
            yield path, row
        elif skip:
            sys.stderr.write(f"left out, unreadable: {row}\n")
        else:
            raise row
        count()


def _check_some(done: int, asked: int) -> None:
    if not done:
        raise InputError(f"--skip_unreadable: none of the {asked} images can be read; name others")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Flags, checked as far as they can be without the server."""
    what = "Embed images by TensorFlow Serving, or compare two: do they show the same person?"
    parser = cli.Parser(what, "--server localhost:8500 image.jpg", prog="python -m mgn.client")
    add = parser.add_argument
    images = "image files, and folders of them; prints a line of JSON for each, without --output"
    add("images", nargs="*", type=cli.existing_path, help=images)
    lists = "file of image paths, one a line, or a CSV list; - reads the standard input"
    add("--list", action="append", default=[], metavar="FILE", help=lists)
    damaged = "skip images that cannot be read, and count them"
    add("--skip_unreadable", action="store_true", help=damaged)
    same = "compare two images: a distance, or threshold.json of evaluate.py"
    add("--threshold", type=number_or_file, metavar="DISTANCE|FILE", help=same)
    output = "file (.npz) for the embeddings: pictures, features, model, version"
    add("--output", type=Path, help=output)
    add("--overwrite", action="store_true", help="replace --output")
    add("--resume", action="store_true", help="continue a stopped run of --output")
    _add_server_flags(parser.add_argument_group("server").add_argument)
    flags = parser.parse_args(arguments)
    if not flags.images and not flags.list:
        parser.error("name images, or a --list of them")
    if flags.version is not None and flags.label is not None:
        parser.error("--version and --label: both choose the version; give one")
    if flags.threshold is not None and (flags.output or flags.skip_unreadable):
        parser.error("--threshold: not with --output or --skip_unreadable; leave these out")
    if flags.resume and not flags.output:
        parser.error("--resume: only with --output")
    if flags.output:
        refuse_existing(flags.output, flags.overwrite)
        if flags.output.suffix != ".npz":
            raise InputError(f"--output {flags.output}: must end in .npz")
    if flags.ca_file:
        _check_certificates(flags)
    return flags


def _add_server_flags(add: Callable) -> None:
    server = {"type": _address, "required": True, "metavar": "HOST:PORT"}
    add("--server", **server, help="address; the port is usually 8500, with --rest 8501")
    add("--rest", action="store_true", help="use REST instead of gRPC")
    add("--model_name", type=_name, default="mgn", help="name of the model on the server")
    version = "version of the model (default: the server's choice, the highest)"
    add("--version", type=_version, metavar="N", help=version)
    add("--label", type=_name, metavar="NAME", help="label of the version, in place of --version")
    timeout = {"type": _seconds, "default": 30.0, "metavar": "SECONDS"}
    waiting = "time for each answer, with the pauses before a busy server is asked again"
    add("--timeout", **timeout, help=waiting)
    add("--tls", action="store_true", help="use TLS, and check the server's certificate")
    trusted = {"type": cli.existing_path, "metavar": "FILE"}
    add("--ca_file", **trusted, help="certificates (PEM) to trust (default: the system's)")
    header = {"type": _header, "action": "append", "default": [], "metavar": "NAME:VALUE"}
    add("--header", **header, help='header to send, such as "Authorization: Bearer ..."')


def _check_certificates(flags: argparse.Namespace) -> None:
    import ssl

    if not flags.tls:
        raise InputError(f"--ca_file {flags.ca_file}: only with --tls; add it")
    try:
        ssl.create_default_context(cafile=flags.ca_file)
    except OSError:
        raise InputError(
            f"--ca_file {flags.ca_file}: no certificates in it; name a PEM file"
        ) from None


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not (re.fullmatch(r"[^\s/]+", host) and is_digits(port) and 0 < int(port) < 2**16):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return text


def _name(text: str) -> str:
    if not text:  # of a script's variable without value; gRPC would take it for none
        raise argparse.ArgumentTypeError("the name is empty; give one")
    return text


def _version(text: str) -> int:
    if not is_digits(text) or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version: a whole number from 0")
    return int(text)


def _header(text: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(text)
    if not found or _NOT_SENT.fullmatch(found[1]):
        problem = "must be NAME:VALUE in visible ASCII, with a name that gRPC does not reserve"
        raise argparse.ArgumentTypeError(problem)  # without the text, which may be secret
    return found[1], found[2]


def _seconds(text: str) -> float:
    try:
        value = decimal_number(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


if __name__ == "__main__":
    sys.exit(cli.run(main))

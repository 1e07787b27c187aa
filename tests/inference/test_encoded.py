"""Encoded images in a graph: against the package's reader, Pillow, and files meant to break it."""

import io
import json
import struct
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
import PIL.Image
import pytest
import shallow
import tensorflow.compat.v1 as tf
from conftest import REFERENCE, refused, relative, run
from mutated import mutate, png

import evaluate
import export_pb_with_pre_post
from mgn.config.options import EXPORT_MAX_PIXELS
from mgn.data import images
from mgn.data.decoding import decode
from mgn.export import description
from mgn.inference import encoded, exported, load_embedder
from mgn.inference.embedder import open_exported
from mgn.inference.graph import PRE_POST
from mgn.system.errors import ImageError


def coloured(height, width, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (7, 5, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def saved(image, kind, mode=None, **options):
    stream, opened = io.BytesIO(), PIL.Image.fromarray(image)
    (opened.convert(mode) if mode else opened).save(stream, kind, **options)
    return stream.getvalue()


FILES = {
    "jpeg": saved(coloured(128, 64), "JPEG"),
    "progressive": saved(coloured(301, 99), "JPEG", progressive=True, quality=95),
    "grey jpeg": saved(coloured(40, 200), "JPEG", mode="L"),
    "cmyk jpeg": saved(coloured(90, 60), "JPEG", mode="CMYK", quality=95),
    "png": saved(coloured(1, 1), "PNG"),
    "grey png": saved(coloured(64, 32), "PNG", mode="L"),
    "png with alpha": saved(coloured(64, 32), "PNG", mode="RGBA"),
    "palette png": saved(coloured(64, 32), "PNG", mode="P"),
    "16-bit png": cv2.imencode(".png", coloured(64, 32).astype(np.uint16) * 257)[1].tobytes(),
}


MEMORY = """
import sys
from pathlib import Path
import numpy as np
import tensorflow.compat.v1 as tf
from mgn.inference.encoded import decode_and_resize

def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1])

with tf.Graph().as_default(), tf.Session() as session:
    contents = tf.placeholder(tf.string, [None])
    made = decode_and_resize(contents, 96, 32)
    files = [Path(name).read_bytes() for name in sys.argv[1:]]
    session.run(made, {contents: np.array(files[:1], object)})
    for file in files[1:]:
        before = peak()
        try:
            session.run(made, {contents: np.array([file] * 4, object)})
            print("decoded", peak() - before)
        except tf.errors.InvalidArgumentError:
            print("refused", peak() - before)
"""


@pytest.fixture(scope="module")
def decoder():
    """Contents of files to float32 [N, 96, 32, 3]; the session is one for all tests."""
    with tf.Graph().as_default() as graph:
        contents = tf.placeholder(tf.string, [None])
        made = encoded.decode_and_resize(contents, 96, 32)
    with tf.Session(graph=graph) as session:
        yield lambda *files: session.run(made, {contents: np.array(files, object)})


@pytest.fixture(scope="module")
def pb(shallow_checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("jpeg") / "jpeg.pb"
    arguments = ["--checkpoint", shallow_checkpoint, "--pb_path", path, "--input", "jpeg"]
    with shallow.patched():
        assert run(export_pb_with_pre_post, *arguments) == 0
    return path


@pytest.fixture(scope="module")
def embed_files(pb):
    """Contents of files to embeddings, by the graph alone."""
    with exported.session_of(exported.read_graph_def(pb), pb, rewrite=False) as session:
        yield lambda *files: session.run(
            "result_embedding:0", {"image_tensor:0": np.array(files, object)}
        )


def read_all():
    """What the package's own reader makes of `FILES`."""
    return [decode(contents) for contents in FILES.values()]


def test_every_kind_of_file_in_one_batch_decodes_as_the_reader_does(decoder):
    got, expected = decoder(*FILES.values()), read_all()
    with tf.Session() as session:
        for name, made, image in zip(FILES, got, expected, strict=True):
            assert np.array_equal(made, session.run(images.resize(tf.constant(image), 96, 32))), (
                name
            )


def exif(orientation, order="<", kind=3, count=1, directory=8, values=1, form="HH"):
    """The TIFF of an EXIF with a maker's name and an orientation, written by hand."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", directory)
    maker = struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"cam\0")
    value = (orientation, 0) if len(form) == 2 else (orientation,)
    turned = struct.pack(f"{order}HHI{form}", 0x0112, kind, values, *value)
    return head + struct.pack(f"{order}H", 1 + count) + maker + turned + bytes(4)


def with_exif(name, tiff):
    """A file with an EXIF in front, where cameras write it."""
    if "png" not in name:
        body = b"Exif\0\0" + tiff
        return b"\xff\xd8\xff\xe1" + struct.pack(">H", 2 + len(body)) + body + FILES[name][2:]
    after_header = 33  # bytes: signature and first chunk
    chunk = struct.pack(">I", len(tiff)) + b"eXIf" + tiff + struct.pack(">I", crc32(b"eXIf" + tiff))
    return FILES[name][:after_header] + chunk + FILES[name][after_header:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", ["progressive", "grey png"])
def test_an_orientation_in_the_exif_is_applied(decoder, name, order):
    """As OpenCV does, and the package's reader."""
    session = tf.Session()
    for orientation in range(10):
        contents = with_exif(name, exif(orientation, order))
        image = decode(contents)
        theirs = cv2.imdecode(np.frombuffer(contents, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert np.array_equal(image, theirs), orientation
        upright = session.run(images.resize(tf.constant(image), 96, 32))
        assert np.array_equal(decoder(contents)[0], upright), orientation
    session.close()


def jpeg_exif_before(marker, tiff):
    """A JPEG with its EXIF before the segment of this marker."""
    contents, body = FILES["progressive"], b"Exif\0\0" + tiff
    place = contents.index(marker)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body
    return contents[:place] + segment + contents[place:]


def png_exif_last(*tiffs):
    chunks = [(struct.pack(">I", len(t)), b"eXIf" + t) for t in tiffs]
    added = b"".join(length + c + struct.pack(">I", crc32(c)) for length, c in chunks)
    return FILES["png with alpha"][:-12] + added + FILES["png with alpha"][-12:]


ELSEWHERE = {
    "after the frame's header": jpeg_exif_before(b"\xff\xc4", exif(6)),
    "before the scan": jpeg_exif_before(b"\xff\xda", exif(8, ">")),
    "PNG with JPEG's mark": with_exif("grey png", b"Exif\0\0" + exif(6)),
    "PNG with JPEG's mark twice": with_exif("grey png", 2 * b"Exif\0\0" + exif(6)),
    "JPEG with the mark twice": with_exif("jpeg", b"Exif\0\0" + exif(6)),
    "PNG's end": png_exif_last(exif(6)),
    "PNG's end, and another": png_exif_last(exif(6), exif(8)),
}
for order in "<>":
    for kind, form in ((3, "HH"), (8, "hh"), (4, "I"), (9, "i"), (13, "I")):
        tiff = exif(5, order, kind, form=form)
        ELSEWHERE[f"of type {kind} {order}"] = with_exif("jpeg", tiff)
    ELSEWHERE[f"two shorts {order}"] = with_exif("jpeg", exif(7, order, values=2))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_orientation_is_found_where_the_reader_finds_it(decoder, name):
    contents = ELSEWHERE[name]
    image = decode(contents)
    assert image.shape[0] < image.shape[1]  # of files that stand, with orientations that lie
    with tf.Session() as session:
        upright = session.run(images.resize(tf.constant(image), 96, 32))
    assert np.array_equal(decoder(contents)[0], upright)


def test_an_exif_of_no_use_changes_nothing(decoder):
    wrong = {
        "no orientation": exif(6, count=0),
        "of another type": exif(6, kind=2),
        "no TIFF": exif(6).replace(b"II*", b"IIx"),
        "no value": exif(6, values=0),
        "two long values": exif(6, kind=4, values=2, form="I"),
        "directory behind the end": exif(6, directory=10**6),
        "directory far behind the end": exif(6, directory=2**32 - 1),
        "cut off": exif(6)[:20],
        "nothing": b"",
    }
    whole = decoder(FILES["jpeg"])
    for name, tiff in wrong.items():
        contents = with_exif("jpeg", tiff)
        assert np.array_equal(decoder(contents), whole), name
        assert np.array_equal(decode(contents), decode(FILES["jpeg"])), name


def test_grey_of_16_bits_is_refused(decoder):
    """It may be of 10, 12 or 14: how bright the image is meant to be is not known."""
    grey = cv2.imencode(".png", coloured(64, 32)[..., 0].astype(np.uint16) * 16)[1].tobytes()
    with pytest.raises(tf.errors.InvalidArgumentError, match="16-bit grey"):
        decoder(FILES["png"], grey)


@pytest.mark.parametrize("kind", ["market", "cuhk", "large"])
def test_resizing_inside_the_graph_is_pillows(kind):
    stored = np.load(REFERENCE / "preprocess.npz")
    made = encoded.decode_and_resize(tf.constant([saved(stored[f"{kind}_rgb"], "PNG")]), 384, 128)
    with tf.Session() as session:
        difference = np.abs(session.run(made)[0] - stored[f"{kind}_pil_bicubic_384x128"])
    assert difference.mean() < 0.4 and np.mean(difference <= 2) > 0.998


@pytest.mark.usefixtures("shallow_here")
def test_files_and_images_give_one_vector(pb, embed_files, shallow_checkpoint):
    images = read_all()
    with (
        closing(load_embedder(shallow_checkpoint)) as source,
        closing(open_exported(pb, False)) as embed,
    ):
        expected = source(images)
        assert relative(embed_files(*FILES.values()), expected) <= 1e-5
        assert relative(embed(images), expected) <= 1e-5
        assert relative(embed(images, flip=False), source(images, flip=False)) <= 1e-5


def test_it_says_what_it_is(small_graphs):
    found = description.describe(small_graphs(PRE_POST, "jpeg"))
    assert found.inputs == {"image_tensor": "string [N]"} and found.description["input"] == "jpeg"
    assert found.operations["DecodeJpeg"] == 1 and found.operations["Conv2D"] == 111
    assert 2.7 < found.gigaflops < 3.2  # twice 24 GFLOP, by (96 × 32) / (384 × 128)
    text = description.as_text(found)
    assert "input   image_tensor: string [N]" in text and "decoder libjpeg's accurate" in text


WRONG_HEADERS = {
    "empty": b"",
    "neither a JPEG nor a PNG": b"hello, this is text",
    "has no pixels": png(0, 20),
    f"larger than {EXPORT_MAX_PIXELS} pixels": png(10_000, 10_000, bytes(10_000 * 1251)),
}


def without_pixels(jpeg):
    """The same file, its frame header (baseline or progressive) with a height of 0."""
    at = next(
        jpeg.index(marker)
        for marker in (b"\xff\xc0\x00\x11\x08", b"\xff\xc2\x00\x11\x08")
        if marker in jpeg
    )
    return jpeg[: at + 5] + b"\0\0" + jpeg[at + 7 :]


@pytest.mark.parametrize("kind", ["jpeg", "progressive"])
def test_a_jpeg_without_pixels_is_refused_with_its_place(decoder, kind):
    with pytest.raises(tf.errors.InvalidArgumentError) as refusal:
        decoder(FILES["png"], without_pixels(FILES[kind]))
    assert "[picture] [1] [has no pixels]" in refusal.value.message


def test_a_jpeg_may_have_filling_and_bytes_between_its_segments(decoder):
    """As libjpeg reads it: 0xFF before a marker is filling; other bytes are skipped."""
    whole, jpeg = decoder(FILES["jpeg"]), FILES["jpeg"]
    first = 4 + jpeg[5]  # after the first segment
    for between in (b"\xff\xff", b"\0\1"):
        assert np.array_equal(decoder(jpeg[:first] + between + jpeg[first:]), whole)


def test_a_jpeg_cannot_hide_its_size_behind_a_marker_without_length(decoder):
    """libjpeg reads on after TEM. Skipping a segment there finds another image's frame header."""
    small = saved(np.zeros((8, 8), np.uint8), "JPEG")
    frame = small[small.index(b"\xff\xc0") :][:19]
    fake = b"\xff\xfe" + (len(frame) + 4 + 2).to_bytes(2, "big") + bytes(4) + frame  # a comment
    skipped = b"\xff\x01" + fake  # TEM, whose length would be 0xFFFE
    large = saved(np.zeros((4097, 4096), np.uint8), "JPEG")
    with pytest.raises(tf.errors.InvalidArgumentError, match="larger than"):
        decoder(large[:2] + b"\xff\xe0\x00\x04ab" + skipped + large[2:])


@pytest.mark.parametrize("problem", WRONG_HEADERS)
def test_what_a_header_shows_is_refused_with_its_place(decoder, problem):
    with pytest.raises(tf.errors.InvalidArgumentError) as refusal:
        decoder(FILES["jpeg"], FILES["png"], WRONG_HEADERS[problem], FILES["png"])
    assert f"[picture] [2] [{problem}]" in refusal.value.message


def test_a_png_bomb_is_refused_before_it_fills_the_memory(tmp_path):
    """In a process of its own, whose memory is not yet large."""
    bomb = WRONG_HEADERS[f"larger than {EXPORT_MAX_PIXELS} pixels"]
    assert len(bomb) < 100_000
    for name, contents in (
        ("0", FILES["png"]),
        ("1", bomb),
        ("2", png(4000, 4000, bytes(4000 * 501))),
    ):
        (tmp_path / name).write_bytes(contents)
    command = [sys.executable, "-c", MEMORY, *(tmp_path / name for name in "012")]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    refused, kilobytes, allowed, more = done.stdout.split()
    assert (refused, allowed) == ("refused", "decoded")
    assert int(kilobytes) < 20_000  # decoded, each would have 300,000
    assert 45_000 < int(more) < 4 * 100_000  # the largest that is allowed has 48,000


def test_a_large_jpeg_is_judged_by_its_own_header(decoder):
    with pytest.raises(tf.errors.InvalidArgumentError, match="larger than"):
        decoder(saved(np.zeros((4097, 4096), np.uint8), "JPEG"))
    assert decoder(saved(np.full((4096, 4096), 9, np.uint8), "JPEG")).mean() == pytest.approx(9)


@pytest.mark.parametrize(
    "contents",
    [
        FILES["jpeg"][:100],
        FILES["jpeg"][:-400],
        FILES["progressive"][: len(FILES["progressive"]) // 2],
        FILES["png"][:40],
        png(20, 20, b"too few bytes"),
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_what_only_the_decoder_sees_is_refused(decoder, contents):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoder(FILES["jpeg"], contents)


def test_damaged_jpegs_give_an_error_or_a_vector(embed_files):
    rng, ends = np.random.default_rng(0), Counter()
    expected = embed_files(FILES["jpeg"])
    for i in range(50):
        contents = mutate(FILES["jpeg" if i % 2 else "progressive"], rng)
        try:
            made = embed_files(contents)
            ends["vector"] += 1
            assert made.shape == (1, 2048) and np.isfinite(made).all()
        except tf.errors.InvalidArgumentError:
            ends["error"] += 1
    assert min(ends["vector"], ends["error"]) >= 5
    assert np.array_equal(embed_files(FILES["jpeg"]), expected)


def test_an_empty_batch_and_a_wrong_rank(embed_files, pb):
    with pytest.raises(tf.errors.InvalidArgumentError, match="no pictures, or none with pixels"):
        embed_files()
    with exported.session_of(exported.read_graph_def(pb), pb, rewrite=False) as session:
        for files in (FILES["png"], [[FILES["png"]]]):
            with pytest.raises(ValueError, match="Cannot feed value of shape"):
                session.run("result_embedding:0", {"image_tensor:0": np.array(files, object)})


@pytest.mark.usefixtures("nothing_drawn")
def test_evaluate_names_the_file_that_is_too_large_for_the_model(pb, dataset, tmp_path, capsys):
    """The reader takes any size; this model does not."""
    with (
        closing(open_exported(pb, rewrite=False)) as embed,
        pytest.raises(ImageError, match="image 1: larger than"),
    ):
        embed([coloured(9, 9), np.zeros((4097, 4096, 3), np.uint8)])
    (tmp_path / "large.jpg").write_bytes(saved(np.zeros((4097, 4096), np.uint8), "JPEG"))
    query = dataset / "query"
    rows = [f"{query}/0009_c1s1_000000_00.jpg,9,1", "large.jpg,10,1"]
    (tmp_path / "query.csv").write_text("\n".join(["path,person,camera", *rows]))
    rows = [f"{query}/00{person:02}_c2s1_000000_00.jpg,{person},2" for person in (9, 10)]
    (tmp_path / "gallery.csv").write_text("\n".join(["path,person,camera", *rows]))
    assert "large.jpg: larger than" in refused(
        capsys, evaluate, "--dataset", tmp_path, "--model", pb, "--output_dir", tmp_path / "scores"
    )
    (tmp_path / "large.jpg").write_bytes(FILES["jpeg"])
    assert (
        run(evaluate, "--dataset", tmp_path, "--model", pb, "--output_dir", tmp_path / "scores")
        == 0
    )
    assert json.loads((tmp_path / "scores" / "metrics.json").read_text())["queries"] == 2

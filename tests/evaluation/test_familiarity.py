"""Images like those of training, and others: verdicts, cameras, and what there is too little of."""

import re
from pathlib import Path

import cv2
import pytest
from familiar import COLOUR, image

from mgn.data.records import UNNAMED, Record, image_files
from mgn.evaluation import familiarity
from mgn.evaluation.verdicts import LIKE, UNLIKE
from mgn.system.errors import InputError
from mgn.weights import checkpoints

pytestmark = pytest.mark.usefixtures("shallow_network")
FIRST = 1000  # of the seeds of images that the network has not seen


@pytest.fixture
def checkpoint(familiar_checkpoint):
    return checkpoints.find(familiar_checkpoint)


def save(folder, count, factor=1.0, name="{:03}.png"):
    """So many images of one camera."""
    folder.mkdir(exist_ok=True)
    for i in range(count):
        path = folder / name.format(i)
        assert cv2.imwrite(str(path), image(FIRST + i, factor)[..., ::-1])
    return folder


def examine(checkpoint, folder):
    return familiarity.examine(checkpoint, image_files(folder).records, folder)


def test_like_and_unlike(checkpoint, tmp_path):
    """Other images of the same kind are like training; dark ones are not, and are called dark."""
    save(tmp_path / "gate", 40)
    save(tmp_path / "night", 40, factor=0.4)
    save(tmp_path / "new", 19)
    found = examine(checkpoint, tmp_path)
    names = [camera.name for camera in found.cameras]
    assert names == ["folder gate", "folder new", "folder night"]
    gate, new, night = found.cameras
    assert (gate.verdict, night.verdict, found.alarms) == (LIKE, UNLIKE, 1)
    assert gate.shift < 0.3 < 0.8 < night.shift
    assert gate.differs == () and night.differs[0].startswith("dark: grey level 47; in training 11")
    few = "too few images, of 19 people, for a verdict: it takes 20 images of 10 people"
    assert new.verdict == few and new.shift is None
    assert gate.looks.colour == pytest.approx(COLOUR, abs=3) and gate.looks.height == 64
    assert found.colour == pytest.approx(COLOUR, abs=1.5)


def test_one_camera_and_unreadable_images(checkpoint, tmp_path):
    folder = save(tmp_path / "all", 22)
    (folder / "000.png").write_bytes(b"")
    (folder / "007.png").write_text("a text")
    (camera,) = examine(checkpoint, folder).cameras
    assert (camera.name, camera.verdict) == ("all images", LIKE)
    assert (camera.images, camera.looked_at, camera.unreadable) == (22, 20, 2)
    (folder / "008.png").write_bytes(b"")
    expected = f"{folder}: too few images or people for a verdict on any camera (all images: 19; un"
    with pytest.raises(InputError, match=re.escape(expected)):
        examine(checkpoint, folder)


def test_a_sample_of_many(checkpoint, tmp_path, monkeypatch):
    """Evenly from the first to the last; the verdict does not depend on how often it is asked."""
    monkeypatch.setattr(familiarity, "SAMPLE", 20)
    folder = save(tmp_path / "all", 39)
    read = []
    original = familiarity._read
    monkeypatch.setattr(
        familiarity, "_read", lambda record: read.append(record.path) or original(record)
    )
    found = examine(checkpoint, folder)
    assert sorted(read) == [str(folder / f"{i:03}.png") for i in range(0, 39, 2)]
    assert (found.cameras[0].images, found.cameras[0].looked_at) == (39, 20)
    assert examine(checkpoint, folder) == found


def test_cameras_by_names_and_by_folders(tmp_path):
    records = [
        Record(f"{tmp_path}/b/0002_c2s1_000001_00.jpg", 2, 2),
        Record(f"{tmp_path}/a/0002_c10s1_000001_00.jpg", 2, 10),
        Record(f"{tmp_path}/b/0001_c2s1_000009_00.jpg", 1, 2),
        Record(f"{tmp_path}/a/hall/x.jpg", UNNAMED, UNNAMED),
        Record(f"{tmp_path}/y.jpg", UNNAMED, UNNAMED),
    ]
    groups = familiarity.by_camera(records, tmp_path)
    assert list(groups) == ["camera 2", "camera 10", "all images", "folder a/hall"]
    named = [Path(record.path).name for record in groups["camera 2"]]
    assert named == ["0001_c2s1_000009_00.jpg", "0002_c2s1_000001_00.jpg"]


def test_few_people_are_chance(checkpoint, tmp_path):
    """40 images of 9 people are too few; of 10, or of strangers, they are enough."""
    save(tmp_path, 40)
    paths = sorted(map(str, tmp_path.iterdir()))
    for people, camera in ((9, 1), (10, 2), (1, 3)):
        persons = [0] * 40 if people == 1 else [i % people + 1 for i in range(40)]
        records = [Record(*image, camera) for image in zip(paths, persons, strict=True)]
        if people == 9:
            with pytest.raises(InputError, match=r"too few images or people .*camera 1: 40\)"):
                familiarity.examine(checkpoint, records, tmp_path)
        else:
            (found,) = familiarity.examine(checkpoint, records, tmp_path).cameras
            assert found.verdict == LIKE

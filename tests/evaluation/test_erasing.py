"""What is forgotten is gone from the files too, whatever interrupts it."""

import numpy as np
import pytest
from stores import MODEL, SECOND, drawn, rows_on_disk

from mgn.config.storing import APPROXIMATE, EXACT
from mgn.evaluation import erasing
from mgn.evaluation.forgotten import BEFORE, IDENTITY, IMAGE, Rule
from mgn.evaluation.rows import Stamp
from mgn.evaluation.store import open_store
from mgn.evaluation.stored import forget
from mgn.system.errors import InputError

pytest.importorskip("pymilvus")
LEFT = "{} images are left in {}"


@pytest.mark.parametrize("index", [EXACT, APPROXIMATE])
def test_nothing_of_it_is_in_the_files(tmp_path, index):
    place = str(tmp_path / "gallery.db")
    records, stamps, features = drawn(200)
    with open_store(place, MODEL, create=True) as store:
        store.add(records[:150], stamps[:150], features[:150])
    with open_store(place, MODEL) as store:
        store.use_index(index)
        store.add(records[150:], stamps[150:], features[150:])
        store.add(records[70:71], [Stamp(1, 70 * SECOND)], -features[70:71])  # changed: two rows
    assert len(rows_on_disk(place)) > 200  # so these can be seen
    rules = [Rule(IDENTITY, 7), Rule(IMAGE, records[3].path), Rule(BEFORE, 2 * SECOND)]
    rules.append(Rule(IMAGE, "it's \"00190\\é.jpg"))
    lines = forget(place, None, rules)
    assert lines[0] == "forgotten: identity 0007: 10 images"
    assert lines[3] == "forgotten: image 'it\\'s \"00190\\\\é.jpg': 1 images"
    assert lines[4] == LEFT.format(186, place)
    gone = {0, 1, 3, *range(70, 80), 190}
    kept = [i for i in range(200) if i not in gone]
    rows = rows_on_disk(place)
    assert {row["path"] for row in rows} == {records[i].path for i in kept}
    vectors = np.array([row["vector"] for row in rows], np.float32)
    difference = np.abs(vectors[:, None] - features[sorted(gone)][None]).max(axis=2)
    assert difference.min() > 1e-3
    with open_store(place, MODEL) as store:
        assert store.index == index and store.count == len(kept)
        found = store.nearest(features[kept], 1)
        assert [row[0] for row in found] == [(records[i], 0.0) for i in kept]
    # Again is no error, and what never was there is one, which leaves all as it is.
    again = ["forgotten: identity 0007: 0 images", LEFT.format(186, place)]
    assert forget(place, None, rules[:1]) == again
    with pytest.raises(InputError, match=r"has no identity 0999; nothing was forgotten"):
        forget(place, None, [Rule(IDENTITY, 8), Rule(IDENTITY, 999)])
    with open_store(place, MODEL) as store:
        assert store.count == 186
        assert store.log.when(rules[0]) and not store.log.when(Rule(IDENTITY, 999))


def test_a_copy_by_another_name_is_told(tmp_path, capsys):
    place = str(tmp_path / "gallery.db")
    records, stamps, features = drawn(40)
    features[35] = features[2]
    with open_store(place, MODEL, create=True) as store:
        store.add(records, stamps, features)
    forget(place, None, [Rule(IDENTITY, 0)])
    told = capsys.readouterr().err
    assert f"the store has an image equal to a forgotten one: {records[35].path!r}" in told


@pytest.mark.parametrize("when", ["written", "adopted"])
def test_interrupted_it_can_be_repeated(tmp_path, monkeypatch, when):
    """Killed before the old files go, nothing is lost; a second time it is done."""
    place = str(tmp_path / "gallery.db")
    records, stamps, features = drawn(200)

    class KilledError(Exception):
        pass

    def killed(*_):
        raise KilledError

    with open_store(place, MODEL, create=True) as store:
        store.add(records, stamps, features)
    with monkeypatch.context() as patch:
        if when == "written":
            patch.setattr(erasing.Progress, "advance", killed)
        else:
            patch.setattr(erasing.Collection, "adopt", killed)
        with pytest.raises(KilledError):
            forget(place, None, [Rule(IDENTITY, 3)])
    with open_store(place, MODEL) as store:
        assert store.log.unfinished() == [Rule(IDENTITY, 3)]
        assert store.count == 200
        found = store.nearest(features, 1)
        assert [row[0] for row in found] == [(record, 0.0) for record in records]
    done = ["forgotten: identity 0003: 10 images", LEFT.format(190, place)]
    assert forget(place, None, [Rule(IDENTITY, 3)]) == done
    assert {row["path"] for row in rows_on_disk(place)}.isdisjoint(r.path for r in records[30:40])
    with open_store(place, MODEL) as store:
        assert not store.log.unfinished() and store.count == 190

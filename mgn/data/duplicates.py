"""Identities and images that are in a data set more than once."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from mgn.data.findings import OK, PROBLEM, WARNING, Finding, look_for
from mgn.data.names import CALLED, FOLDERS
from mgn.data.records import Record, Split

_COPIES = {  # what is wrong with a second copy, by split
    "train": "they weigh more than others in training; remove the copies",
    "query": "they count more than once in the scores; remove the copies",
    "gallery": "each counts as a further match; remove the copies",
}


def check_splits(splits: Mapping[str, Split], digests: Mapping[str, bytes]) -> Iterator[Finding]:
    """Look for the same image twice inside each split.

    Args:
        splits: by name, as in `names.FOLDERS`.
        digests: by path, of each file's contents; not of what is unreadable.
    """
    for name, split in splits.items():
        copies, contradictions = [], []
        for first, *others in _by_digest(split.records, digests).values():
            for other in others:
                if other.person == first.person:
                    copies.append(f"{other.path} = {first.path}")
                else:
                    persons = f"person {other.person} and person {first.person}"
                    contradictions.append(f"{other.path} = {first.path} ({persons})")
        images = f"{CALLED[name]} images"
        advice = "one of the two labels is wrong; remove that file"
        yield look_for(PROBLEM, f"{images} under two identities", contradictions, advice)
        yield look_for(WARNING, f"copies of {images}", copies, _COPIES[name])


def check_overlap(splits: Mapping[str, Split], digests: Mapping[str, bytes]) -> Iterator[Finding]:
    """Look for identities and images that are in more than one split; see `check_splits`."""
    train, query, gallery = (splits[name].records if name in splits else () for name in FOLDERS)
    test = query + gallery
    # Identities. Train holds no distractors.
    both = {r.person for r in train} & {r.person for r in test}
    named = [f"person {person}" for person in sorted(both)]
    advice = "scores flatter; move or renumber them"
    yield look_for(PROBLEM, "identities in training and test", named, advice)
    # Images of training.
    leaks = [f"{r.path} = {twins[0].path}" for r, twins in _twins(train, test, digests)]
    what = "training images in query or gallery"
    yield look_for(PROBLEM, what, leaks, "scores flatter; remove one copy")
    # Images of the query. With the same labels they are ignored, as they are no match.
    same, wrong = [], []
    for r, twins in _twins(query, gallery, digests):
        others = [twin for twin in twins if (twin.person, twin.camera) != (r.person, r.camera)]
        if others:
            wrong.append(f"{r.path} = {others[0].path}")
        else:
            same.append(f"{r.path} = {twins[0].path}")
    what = "query images in the gallery"
    yield look_for(OK, what, same, "ignored: of the query's person and camera")
    advice = "one of the two labels is wrong"
    yield look_for(WARNING, f"{what} under other labels", wrong, advice)


def _twins(
    found: Iterable[Record], others: Iterable[Record], digests: Mapping[str, bytes]
) -> Iterator[tuple[Record, list[Record]]]:
    """Yield (record, those of the others with the same bytes) where there are any."""
    by_digest = _by_digest(others, digests)
    for record in found:
        if twins := by_digest.get(digests.get(record.path)):
            yield record, twins


def _by_digest(found: Iterable[Record], digests: Mapping[str, bytes]) -> dict[bytes, list[Record]]:
    by_digest = defaultdict(list)
    for record in found:
        if record.path in digests:
            by_digest[digests[record.path]].append(record)
    return by_digest

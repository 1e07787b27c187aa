"""Rows of a store erased: from a folder's files too, not only from what is found."""

from mgn.evaluation.collection import PAGE, Collection
from mgn.system.errors import CheckError
from mgn.system.progress import Progress


def erase(collection: Collection, expression: str, columns: list[str]) -> None:
    """Delete the rows for which an expression holds; `columns` are all but the vector.

    Milvus Lite only marks rows as deleted: they stay in its files until it merges these. So the
    other rows of their bucket move to new files, and the old files are deleted. Killed before
    that, the bucket has all its rows still. A server deletes in its own time.
    """
    if not collection.local:
        collection.ask("delete", collection.name, filter=expression)
        collection.ask("compact", collection.name)
        return
    for bucket, old in list(collection.partitions().items()):
        if list(collection.rows(expression, columns[:1], old, 1)):
            _write_anew(collection, bucket, old, f"not ({expression})", [*columns, "vector"])


def _write_anew(
    collection: Collection, bucket: int, old: str, kept: str, columns: list[str]
) -> None:
    new = collection.next_partition(bucket)
    keys = [row[columns[0]] for row in collection.rows(kept, columns[:1], old)]
    with Progress(len(keys), f"writing part {bucket} anew", "images") as progress:
        for start in range(0, len(keys), PAGE):
            rows = list(collection.by_key(keys[start : start + PAGE], columns))
            # Of a key in both partitions, the row that was written last is the one that counts.
            collection.ask("insert", collection.name, rows, partition_name=new)
            progress.advance(len(rows))
    collection.flush()
    stats = collection.ask("get_partition_stats", collection.name, new)
    if int(stats["row_count"]) != len(keys):
        problem = f"{stats['row_count']} of {len(keys)} images of a part were written"
        raise CheckError(f"--store {collection.place}: {problem}; nothing was forgotten; repeat it")
    collection.adopt(bucket, new)

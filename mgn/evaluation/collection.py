"""A collection of vectors in Milvus: rows of scalars and one vector each, found by their key."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

import numpy as np

from mgn.config.storing import APPROXIMATE, EXACT, is_server
from mgn.system.errors import CheckError, InputError, advice, first_line

BUCKETS = 16  # parts of a local store: to erase something only its part is written anew
LONGEST_PATH = 8192  # bytes
PAGE = 1000  # rows that are read or written at a time
SECONDS = 60  # until a server that does not answer is given up
_PREFIX = "mgn_gallery_"  # of a collection's name; a hash of the model's follows
# A graph for each stretch of the store; doc/benchmarks-evaluation.md has what it finds.
_GRAPH = {"index_type": "HNSW", "params": {"M": 32, "efConstruction": 200}}
_LIST = {"index_type": "FLAT", "params": {}}
_EXPLORED = 128  # images that an approximate search looks at, at least


class Heard(logging.Handler):
    """Keeps the last error that the engine logged instead of raising it."""

    error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the exception of a record."""
        if record.exc_info:
            self.error = record.exc_info[1]


def what_failed(error: BaseException) -> str:
    """What an error of the client says, without its number."""
    return first_line(InputError(getattr(error, "message", error)))


class Collection:
    """The one gallery of a store; vectors have length 1.

    On a server Milvus places the rows. In a folder they lie in buckets, so that what is erased is
    soon gone from the disk: see `erasing`.
    """

    def __init__(self, pymilvus: ModuleType, client: object, place: str, heard: Heard):
        self.place = place
        self.local = not is_server(place)
        self._pymilvus = pymilvus
        self._client = client
        self._heard = heard
        self._seconds = None if self.local else SECONDS
        self._partitions = None  # of a local one, once they were listed
        names = [name for name in self.ask("list_collections") if name.startswith(_PREFIX)]
        self.name = min(names, default=None)
        if self.name:
            self.ask("load_collection", self.name)

    def ask(self, method: str, *arguments: object, **options: object) -> object:
        """What a method of the client returns.

        Raises:
            CheckError: the server is gone, or the engine could not do it.
        """
        options = {"timeout": self._seconds} | options
        try:
            return getattr(self._client, method)(*arguments, **options)
        except self._pymilvus.MilvusException as error:
            raise self.failed(error) from None

    def failed(self, error: BaseException) -> CheckError:
        """The one line of what went wrong in the engine or on the way there."""
        told = advice(error) or what_failed(error)
        if not self.local and ("server unavailable" in str(error) or "DEADLINE" in str(error)):
            told = "the server no longer answers; what it acknowledged is kept, so start it again"
            told = f"{told} and repeat the command"
        return CheckError(f"--store {self.place}: {told}")

    def is_of(self, model: str) -> bool:
        """Whether the collection is that of the model with this hash."""
        return self.name == _name(model)

    def create(self, model: str, size: int, scalars: Sequence[tuple[str, str]]) -> None:
        """Make the collection for a model's vectors of `size` numbers.

        `scalars` are names of columns with "hash", "text" or "number"; the first is the key.
        """
        kinds = self._pymilvus.DataType
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        for i, (name, kind) in enumerate(scalars):
            if kind == "number":
                schema.add_field(name, kinds.INT64)
            else:
                longest = 64 if kind == "hash" else LONGEST_PATH
                schema.add_field(name, kinds.VARCHAR, max_length=longest, is_primary=i == 0)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=size)
        self.name = _name(model)
        self.ask("create_collection", self.name, schema=schema, consistency_level="Strong")
        self.set_index(EXACT)

    @property
    def size(self) -> int:
        """How many numbers a vector has."""
        fields = self.ask("describe_collection", self.name)["fields"]
        return int(next(f["params"]["dim"] for f in fields if f["name"] == "vector"))

    @property
    def count(self) -> int:
        """How many rows there are."""
        options = {"filter": "", "output_fields": ["count(*)"], "consistency_level": "Strong"}
        return int(self.ask("query", self.name, **options)[0]["count(*)"])

    @property
    def index(self) -> str:
        """How it is searched: exact or approximate."""
        if not self.ask("list_indexes", self.name):
            return EXACT
        kind = self.ask("describe_index", self.name, "vector")["index_type"]
        return APPROXIMATE if kind == _GRAPH["index_type"] else EXACT

    def set_index(self, kind: str) -> None:
        """Search so from now on; an approximate index is built before this returns."""
        self.flush()
        self.ask("release_collection", self.name)
        if self.ask("list_indexes", self.name):
            self.ask("drop_index", self.name, "vector")
        # Without one Milvus Lite compares with all, and needs no second copy of the vectors.
        if kind == APPROXIMATE or not self.local:
            parameters = self._client.prepare_index_params()
            built = _GRAPH if kind == APPROXIMATE else _LIST
            parameters.add_index("vector", index_name="vector", metric_type="IP", **built)
            self.ask("create_index", self.name, parameters, timeout=None)
        self.ask("load_collection", self.name, timeout=None)

    def write(self, rows: list[dict], bucket_of: Callable[[dict], int]) -> None:
        """Add rows, or replace those with their keys; on return they outlast the process.

        Rows of one key must always have one bucket, which may be any number.
        """
        buckets = {}
        for row in rows:
            number = bucket_of(row) % BUCKETS if self.local else None
            buckets.setdefault(number, []).append(row)
        for number, some in buckets.items():
            place = {}
            if self.local:
                known = self.partitions().get(number)
                place["partition_name"] = known or self.next_partition(number)
            for start in range(0, len(some), PAGE):
                self.ask("upsert", self.name, some[start : start + PAGE], **place)

    def partitions(self) -> dict[int, str]:
        """The partition of each bucket that has one."""
        if self._partitions is None:
            self._partitions = {}
            for name in sorted(self.ask("list_partitions", self.name)):
                if not name.startswith("bucket_"):
                    continue
                number = int(name.split("_")[1])
                if number in self._partitions:  # it was to follow this one, and is not whole
                    self.ask("drop_partition", self.name, name)
                else:
                    self._partitions[number] = name
        return self._partitions

    def next_partition(self, bucket: int) -> str:
        """Make a partition: the bucket's own if it has none, else one to `adopt` when whole."""
        known = self.partitions().get(bucket)
        number = int(known.split("_")[2]) + 1 if known else 0
        name = f"bucket_{bucket:02}_{number:08}"
        self.ask("create_partition", self.name, name)
        self._partitions.setdefault(bucket, name)
        return name

    def adopt(self, bucket: int, name: str) -> None:
        """Make a partition that of its bucket; the files of the one before are deleted."""
        self.ask("drop_partition", self.name, self.partitions()[bucket])
        self._partitions[bucket] = name

    def by_key(self, keys: Sequence[str], columns: Sequence[str]) -> Iterator[dict]:
        """Yield the rows that there are of these keys."""
        for start in range(0, len(keys), PAGE):
            asked = keys[start : start + PAGE]
            options = {"ids": asked, "output_fields": list(columns)}
            yield from self.ask("get", self.name, consistency_level="Strong", **options)

    def rows(
        self, expression: str, columns: Sequence[str], partition: str = "", limit: int | None = None
    ) -> Iterator[dict]:
        """Yield the rows for which an expression, not empty, holds; at most `limit`."""
        options = {"filter": expression, "output_fields": list(columns)}
        options |= {"partition_names": [partition]} if partition else {}
        options |= {"consistency_level": "Strong"}
        if self.local or limit:  # an iterator has all rows looked at once more
            limited = {"limit": limit} if limit else {}
            yield from self.ask("query", self.name, **options, **limited)
            return
        try:
            pages = self.ask("query_iterator", self.name, batch_size=PAGE, **options)
            while page := pages.next():
                yield from page
            pages.close()
        except self._pymilvus.MilvusException as error:
            raise self.failed(error) from None

    def nearest(
        self, vectors: np.ndarray, count: int, expression: str, columns: Sequence[str]
    ) -> list[list[dict]]:
        """For each vector, float32 [Q, D], the `count` nearest rows, by the engine's reckoning."""
        options = {"limit": count, "filter": expression, "anns_field": "vector"}
        options |= {"output_fields": [*columns, "vector"], "consistency_level": "Strong"}
        explored = {"ef": max(_EXPLORED, count)} if self.index == APPROXIMATE else {}
        options["search_params"] = {"metric_type": "IP", "params": explored}
        rows = []
        for hits in self.ask("search", self.name, vectors, **options):
            rows.append([hit["entity"] for hit in hits])
        return rows

    def flush(self) -> None:
        """Write to files what a folder has in its log of additions; a server does so by itself.

        Raises:
            CheckError: that failed. The log still has it.
        """
        if self.name and self.local:
            self._heard.error = None
            self.ask("flush", self.name)
            if self._heard.error:
                raise self.failed(self._heard.error)


def _name(model: str) -> str:
    """A collection's name, which every server keeps as it is, unlike other descriptions."""
    return f"{_PREFIX}{hashlib.sha256(model.encode()).hexdigest()}"

"""What is inside a stream."""

from quire.loaders.reader import Reader
from quire.loaders.reading.held import Shards
from quire.loaders.stream import Stream


def shards_of(batches: Stream) -> Shards:
    """What a stream of one bundle reads from."""
    reader = batches._batches.reader
    assert isinstance(reader, Reader)
    return reader.shards

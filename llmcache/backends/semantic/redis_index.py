"""The indexes over an alias's vectors, one for each dimension: RedisVL's. Imported when an index
must be made or looked at, which is once a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from redisvl.exceptions import RedisSearchError
from redisvl.index import SearchIndex
from redisvl.schema import IndexSchema

from llmcache.backends.semantic.redis_steps import Refused, lacks_search
from llmcache.backends.semantic.redis_vectors import Layout, field

if TYPE_CHECKING:
    import redis

_ALGORITHMS: Final[dict[str, dict[str, Any]]] = {
    "flat": {},
    "hnsw": {"m": 16, "ef_construction": 200, "ef_runtime": 64},
}
_COMPARED: Final = ("algorithm", "dims", "datatype", "distance_metric", "m", "ef_construction")


def schema(layout: Layout, dimension: int, algorithm: str) -> IndexSchema:
    """What RedisVL must know of the vectors of one dimension."""
    attributes = {
        "dims": dimension,
        "algorithm": algorithm,
        "datatype": "float32",
        "distance_metric": "cosine",
        **_ALGORITHMS[algorithm],
    }
    # The schema writes no separator behind its prefix: that is for keys that RedisVL makes.
    return IndexSchema.from_dict(
        {
            "index": {"name": layout.index(dimension), "prefix": layout.head},
            "fields": [
                {"name": "place", "type": "tag", "attrs": {"case_sensitive": True}},
                {"name": field(dimension), "type": "vector", "attrs": attributes},
            ],
        }
    )


def make(client: redis.Redis, layout: Layout, dimension: int, algorithm: str, alias: str) -> None:
    """Make an index if it is not there, and anew if it is not as it should be.

    Vectors that are there already are indexed by the server in the background.

    Raises:
        Refused: the server has no search.
    """
    wanted = SearchIndex(schema(layout, dimension, algorithm), redis_client=client)
    try:
        if wanted.exists():
            found = SearchIndex.from_existing(wanted.name, redis_client=client)
            if _traits(found, dimension) == _traits(wanted, dimension):
                return
            wanted.delete(drop=False)
        # Not with `overwrite`: it would drop what another thread has made in this moment.
        wanted.create()
    except RedisSearchError as error:
        if lacks_search(error):
            raise Refused(alias) from error
        if not wanted.exists():  # else somebody else has made it in this moment
            raise


def _traits(index: SearchIndex, dimension: int) -> dict[str, Any] | None:
    """What tells two indexes apart; a server doesn't report all attributes."""
    found = index.schema.fields.get(field(dimension))
    if found is None or "place" not in index.schema.fields:
        return None
    attributes = found.attrs.model_dump(mode="json")
    return {name: attributes.get(name) for name in _COMPARED} | {"prefix": index.prefix}

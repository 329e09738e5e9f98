"""All faults of stores, by name."""

from __future__ import annotations

from tests.faults import of_cluster, of_disk, of_redis, of_s3
from tests.faults.parts import Fault

FAULTS: dict[str, Fault] = {
    "redis refuses": of_redis.redis_refuses,
    "redis hangs": of_redis.redis_hangs,
    "redis is slow": of_redis.redis_is_slow,
    "redis is too slow": of_redis.redis_is_too_slow,
    "redis flaps": of_redis.redis_flaps,
    "redis is full": of_redis.redis_is_full,
    "redis restarts": of_redis.redis_restarts,
    "redis fails over": of_redis.redis_fails_over,
    "cluster node hangs": of_cluster.cluster_node_hangs,
    "cluster fails over": of_cluster.cluster_fails_over,
    "s3 fails": of_s3.s3_fails,
    "s3 is too slow": of_s3.s3_is_too_slow,
    "s3 cuts bodies": of_s3.s3_cuts_bodies,
    "disk is full": of_disk.disk_is_full,
    "disk is read-only": of_disk.disk_is_read_only,
    "disk is locked": of_disk.disk_is_locked,
}

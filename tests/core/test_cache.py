from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stt_core.cache import ByteCache


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 50)), max_size=60),
    st.integers(1, 120),
    st.integers(1, 4),
)
def test_it_keeps_the_newest_within_its_budget(
    puts: list[tuple[int, int]], budget: int, least: int
) -> None:
    cache: ByteCache[str] = ByteCache(budget, least=least)
    kept: dict[int, int] = {}
    for key, size in puts:
        for gone in cache.put(key, f"{key}", size):
            del kept[gone]
        kept.pop(key, None)
        kept[key] = size
        assert cache.held == sum(kept.values())
        assert cache.held <= budget or len(cache) <= least
        assert key in cache
    for key in range(10):
        assert cache.get(key) == (f"{key}" if key in kept else None)


def test_what_was_read_last_goes_last() -> None:
    cache: ByteCache[str] = ByteCache(3)
    for key in range(3):
        cache.put(key, "x", 1)
    cache.get(0)
    assert cache.put(3, "x", 1) == [1]
    cache.clear()
    assert (cache.held, len(cache)) == (0, 0)

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedsim import rng

seeds = st.integers(min_value=0, max_value=2**63 - 1)


@given(seeds, st.integers(min_value=1, max_value=200), st.integers(min_value=0, max_value=10**9))
def test_a_draw_depends_on_its_client_alone(seed, clients, counter):
    stream = rng.key(seed, "speed")
    together = rng.uniforms(stream, np.arange(clients), counter)
    alone = rng.uniforms(stream, clients - 1, counter)
    assert together[-1] == alone
    assert np.array_equal(together[::-1], rng.uniforms(stream, np.arange(clients)[::-1], counter))


@given(seeds)
def test_streams_of_other_names_differ(seed):
    clients = np.arange(50)
    one = rng.uniforms(rng.key(seed, "speed"), clients)
    other = rng.uniforms(rng.key(seed, "link"), clients)
    assert not np.array_equal(one, other)
    assert rng.generator(seed, "a").random() != rng.generator(seed, "b").random()


def test_uniforms_are_uniform_and_neighbours_uncorrelated():
    n = 100_000
    stream = rng.key(1, "test")
    draws = rng.uniforms(stream, np.arange(n))
    assert draws.min() > 0
    assert draws.max() < 1
    # Standard errors: mean 1/sqrt(12 n), lag-one correlation 1/sqrt(n); five of each allowed.
    assert abs(draws.mean() - 0.5) < 5 / np.sqrt(12 * n)
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 5 / np.sqrt(n)
    by_counter = rng.uniforms(stream, 7, np.arange(n))
    assert abs(np.corrcoef(draws, by_counter)[0, 1]) < 5 / np.sqrt(n)


def test_normals_have_mean_zero_and_variance_one():
    n = 100_000
    draws = rng.normals(rng.key(1, "test"), np.arange(n))
    assert abs(draws.mean()) < 5 / np.sqrt(n)
    assert abs(draws.var() - 1) < 5 * np.sqrt(2 / n)


def test_a_key_is_the_same_on_every_machine():
    # blake2b of "7\x1fspeed", first eight bytes, little-endian: fixed by the algorithm.
    import hashlib

    expected = int.from_bytes(hashlib.blake2b(b"7\x1fspeed", digest_size=8).digest(), "little")
    assert rng.key(7, "speed") == expected

"""Noise: pinned by golden vectors, blocks that never overlap, rows that do not depend on where one begins to read."""

import numpy as np
import pytest

from workers.randomness import (
    NOISE_SCHEME,
    Stream,
    block_rows,
    normal_block,
    normals,
    uniform_block,
    uniforms,
    wide_uniform_block,
)
from workers.randomness.noise import block_generator, philox

SEED = 2**53 - 1


def test_philox_takes_key_and_counter_words_where_they_belong() -> None:
    state = philox(SEED, Stream.CHOICES, 5, attempt=3).state["state"]
    assert state["key"].tolist() == [SEED, 1]
    assert state["counter"].tolist() == [0, 3, 0, 5]


def philox_4x64(counter: list[int], key: list[int]) -> list[int]:
    """Philox-4x64-10 from its paper (Salmon and others, 2011), with Python's integers."""
    words, keys, mask = list(counter), list(key), 2**64 - 1
    for _ in range(10):
        low, high = words[0] * 0xD2E7470EE14C6C93, words[2] * 0xCA5A826395121157
        words = [(high >> 64) ^ words[1] ^ keys[0], high & mask, (low >> 64) ^ words[3] ^ keys[1], low & mask]
        keys = [(keys[0] + 0x9E3779B97F4A7C15) & mask, (keys[1] + 0xBB67AE8584CAA73B) & mask]
    return words


def test_uniforms_follow_from_the_paper() -> None:
    """numpy advances the counter before it draws, so block b begins at counter [1, 0, 0, b]."""
    words = philox_4x64([1, 0, 0, 7], [SEED, Stream.CHOICES]) + philox_4x64([2, 0, 0, 7], [SEED, Stream.CHOICES])
    expected = [(word >> 11) * 2.0**-53 for word in words]
    assert uniform_block(SEED, Stream.CHOICES, 7)[:8].tolist() == expected


GOLDEN = {
    "LATENTS": ["0x1.c9b269b32e90ap-1", "-0x1.d512ae8bc4799p-1", "0x1.950b95e8ee15dp-1"],
    "CHOICES": ["-0x1.a5efb1a1f9d56p-2", "-0x1.e6244d5458a0ep-5", "0x1.fb1e94c048d04p-2"],
    "OUTPUT": ["-0x1.b8b0010bec499p-1", "-0x1.c516becd487aep-1", "0x1.ca94411b89cbcp-2"],
    "LABELS": ["0x1.839f04704b507p-3", "0x1.e377d657646a6p-1", "0x1.9cfdaa57ff85cp-3"],
    "FIT_DRAWS": ["-0x1.3feb126653275p-1", "-0x1.44fb3fb9380bcp-1", "0x1.3fb5ad438886bp-1"],
    "TUNE_DRAWS": ["-0x1.766347a024ab8p+0", "0x1.6fb67fa6525d6p+0", "0x1.5709ac6055cf4p-3"],
    "HOLDOUT_DRAWS": ["0x1.a4d2927d60302p-4", "0x1.b279d95bea7cfp+0", "0x1.2d76df07b67cap-1"],
    "INITIALISATION": ["-0x1.5c3d91eb3660fp-2", "-0x1.1e376e1068a0fp-1", "0x1.7886a5b642008p-3"],
    "SPLIT": ["-0x1.1313e1ec6ee55p-1", "-0x1.b94bedf62336ep-1", "0x1.41ccc2c6b26b8p-2"],
    "RATE_DRAWS": ["-0x1.a352b1b105482p+1", "0x1.f8dbf534ccb89p-1", "0x1.71e9f9c373160p-3"],
    "HEAD_TEST": ["0x1.3f54bf65af025p-1", "-0x1.857b4ffeea4f7p-3", "0x1.51e1b11563a5ep-1"],
    "INFORMATION_ROWS": ["0x1.1c5313d0502c0p+1", "0x1.c4eb423b55ae3p-1", "0x1.8a820ea1841c4p-1"],
    "INFORMATION_DRAWS": ["0x1.b0bb43a65e864p+0", "0x1.a190397aad294p-2", "0x1.261299ab18ef0p-4"],
    "FLOW_ORDER": ["0x1.254a7a0083c03p+0", "-0x1.f8416c6b94fa0p-3", "0x1.ed66f28a435ddp-1"],
    "FLOW_CHECK": ["0x1.07599cc63abadp-1", "0x1.979ea1a32b6a2p-1", "0x1.ec8270e941124p-3"],
    "REPORT_CHOICES": ["-0x1.958e879a20c92p-1", "-0x1.509c26e72b04dp-6", "0x1.3955d52c82558p-3"],
    "BOOTSTRAP": ["-0x1.44731d7324598p-1", "0x1.f0fdf357267f5p-1", "0x1.df558406f85e9p-1"],
    "PROJECTIONS": ["0x1.d0df8a8d831bdp-2", "-0x1.30082a82172a2p+0", "0x1.71e1c2c9bce80p-7"],
    "REPORT_REFERENCE": ["0x1.15146a496741fp-5", "0x1.5b89fd0449a07p-1", "0x1.23c5e11dd963fp-1"],
    "REPORT_FLOOR": ["-0x1.1c26ee7159d67p-1", "-0x1.bbf6a5f2f159ep+0", "0x1.338367cdc73cap-2"],
    "REPORT_SHOWN": ["-0x1.1eff0cf451e98p-6", "-0x1.a8bb568ff080dp-3", "0x1.c67f6a92aa943p-1"],
    "REPORT_PRIOR": ["0x1.2495d03fa48ccp+0", "-0x1.5228d177c7d18p+0", "0x1.017511ab92a54p-3"],
}


@pytest.mark.parametrize("stream", list(Stream))
def test_golden_vectors(stream: Stream) -> None:
    assert NOISE_SCHEME == 1
    found = [*normal_block(SEED, stream, 3, 2)[1000], uniform_block(SEED, stream, 3)[1000]]
    assert [float(value).hex() for value in found] == GOLDEN[stream.name]


GOLDEN_WIDE = {
    (2, 1000): ["0x1.44e1cf2b3ddcep-1", "0x1.3a6e998aed685p-1"],
    (5000, 100): ["0x1.c8f4592d03c88p-2", "0x1.ad3a77ad8ee60p-3"],
}


@pytest.mark.parametrize(("width", "row"), list(GOLDEN_WIDE))
def test_golden_uniforms_of_wide_rows(width: int, row: int) -> None:
    """They are one call for the block, in the order of rows, so the first of a block are those of a narrow one."""
    block = wide_uniform_block(SEED, Stream.OUTPUT, 3, width)
    assert block.shape == (block_rows(width), width)
    assert [float(value).hex() for value in block[row, :2]] == GOLDEN_WIDE[width, row]
    np.testing.assert_array_equal(block.ravel()[:1024], uniform_block(SEED, Stream.OUTPUT, 3))


def test_stream_numbers_stand() -> None:
    assert {stream.name: int(stream) for stream in Stream} == {
        "LATENTS": 0,
        "CHOICES": 1,
        "OUTPUT": 2,
        "LABELS": 3,
        "FIT_DRAWS": 16,
        "TUNE_DRAWS": 17,
        "HOLDOUT_DRAWS": 18,
        "INITIALISATION": 19,
        "SPLIT": 20,
        "RATE_DRAWS": 21,
        "HEAD_TEST": 22,
        "INFORMATION_ROWS": 23,
        "INFORMATION_DRAWS": 24,
        "FLOW_ORDER": 25,
        "FLOW_CHECK": 26,
        "REPORT_CHOICES": 32,
        "BOOTSTRAP": 33,
        "PROJECTIONS": 34,
        "REPORT_REFERENCE": 35,
        "REPORT_FLOOR": 36,
        "REPORT_SHOWN": 37,
        "REPORT_PRIOR": 38,
    }


def test_no_number_of_a_block_is_in_another() -> None:
    """With the block in the lowest counter word 4,092 of 4,096 numbers of neighbours were the same."""
    seen = np.concatenate([normal_block(7, Stream.LATENTS, block, 4).ravel() for block in range(6)])
    assert len(np.unique(seen)) == len(seen)


def test_streams_seeds_and_attempts_share_no_number() -> None:
    drawn = [uniform_block(seed, stream, 0) for seed in (0, 1) for stream in (Stream.LATENTS, Stream.CHOICES)]
    drawn += [block_generator(0, Stream.LATENTS, 0, attempt).random(1024) for attempt in (1, 2)]
    seen = np.concatenate(drawn)
    assert len(np.unique(seen)) == len(seen)


@pytest.mark.parametrize(
    ("width", "rows"), [(1, 1024), (4096, 1024), (4097, 512), (786_432, 4), (2**22, 1), (2**23, 1)]
)
def test_the_width_alone_decides_the_rows_of_a_block(width: int, rows: int) -> None:
    assert block_rows(width) == rows


@pytest.mark.parametrize("width", [1, 3, 5000])
def test_rows_do_not_depend_on_the_borders_of_a_request(width: int) -> None:
    total = 2 * block_rows(width) + 37
    whole = normals(11, Stream.LATENTS, 0, total, width)
    for first, rows in ((0, 1), (block_rows(width) - 1, 2), (5, total - 5), (total - 1, 1), (3, 0)):
        np.testing.assert_array_equal(normals(11, Stream.LATENTS, first, rows, width), whole[first : first + rows])
    chosen = uniforms(11, Stream.CHOICES, 0, 3000)
    np.testing.assert_array_equal(uniforms(11, Stream.CHOICES, 1000, 1500), chosen[1000:2500])


def test_normals_are_standard() -> None:
    """200,000 numbers: mean within 4 / sqrt n, variance within 4 sqrt(2 / n); false alarm 1e-4 for a fixed seed."""
    values = normals(3, Stream.LATENTS, 0, 50_000, 4).ravel()
    assert abs(values.mean()) < 4 / np.sqrt(len(values))
    assert abs(values.var() - 1) < 4 * np.sqrt(2 / len(values))
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 4 / np.sqrt(len(values))

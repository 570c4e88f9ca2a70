from __future__ import annotations

import numpy as np

from timbral.models.neighbors.short_floats import LEFT_OUT, shortened


def test_what_comes_back_is_off_by_little_and_in_the_same_order() -> None:
    values = np.sort(np.exp(np.random.default_rng(0).uniform(-60, 60, 5_000))).astype(np.float32).reshape(50, 100)

    back = (shortened(values).astype(np.uint32) << LEFT_OUT).view(np.float32)

    np.testing.assert_allclose(back, values, rtol=2**-9)
    assert (np.diff(back.ravel()) >= 0).all()


def test_whole_numbers_up_to_512_and_nothing_stay_what_they_are() -> None:
    values = np.arange(513, dtype=np.float32)

    back = (shortened(values).astype(np.uint32) << LEFT_OUT).view(np.float32)

    np.testing.assert_array_equal(back, values)

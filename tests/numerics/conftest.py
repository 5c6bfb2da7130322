"""One BLAS thread, as wherever workers compute: with more, tests of small matrices pay for threads that spin."""

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True, scope="module")
def one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1, "blas"):
        yield

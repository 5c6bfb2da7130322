"""Two threads and what lies between them: order, bounds, and one end for both."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from workers.generation.conveyor import Closed, Conveyor


def test_items_arrive_in_order_and_then_it_ends() -> None:
    conveyor: Conveyor[int] = Conveyor(3)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(conveyor.fill, range(1000))
        assert list(conveyor) == list(range(1000))


def test_at_most_depth_items_lie_between() -> None:
    conveyor: Conveyor[int] = Conveyor(2)
    made = []

    def items():
        for number in range(10):
            made.append(number)
            yield number

    with ThreadPoolExecutor(1) as threads:
        threads.submit(conveyor.fill, items())
        for taken, number in enumerate(conveyor):
            time.sleep(0.005)
            assert number == taken
            assert len(made) <= taken + 1 + 2 + 1  # the one in hand, two that lie there, one that waits to be put


def test_an_error_of_the_maker_reaches_the_taker_at_once() -> None:
    conveyor: Conveyor[int] = Conveyor(2)

    def items():
        yield 1
        raise ValueError("broken")

    with ThreadPoolExecutor(1) as threads:
        filling = threads.submit(conveyor.fill, items())
        filling.exception()
        with pytest.raises(ValueError, match="broken"):
            next(iter(conveyor))


def test_an_error_of_the_taker_frees_a_maker_that_waits() -> None:
    conveyor: Conveyor[int] = Conveyor(1)
    with ThreadPoolExecutor(1) as threads:
        filling = threads.submit(conveyor.fill, iter(int, 1))
        with pytest.raises(ZeroDivisionError), conveyor.closing():
            1 / next(iter(conveyor))
        assert isinstance(filling.exception(), ZeroDivisionError)


def test_a_taker_that_leaves_early_ends_the_maker() -> None:
    conveyor: Conveyor[int] = Conveyor(1)
    with ThreadPoolExecutor(1) as threads:
        filling = threads.submit(conveyor.fill, iter(int, 1))
        with conveyor.closing():
            next(iter(conveyor))
        assert isinstance(filling.exception(), Closed)


def test_the_first_reason_is_the_reason() -> None:
    conveyor: Conveyor[int] = Conveyor(1)
    conveyor.close(ValueError("first"))
    conveyor.close(KeyError("second"))
    with pytest.raises(ValueError, match="first"):
        conveyor.put(1)

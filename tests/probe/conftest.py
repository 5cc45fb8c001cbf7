"""Each test of the probe as in a small process of its own."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _old_objects_are_left_alone() -> Iterator[None]:
    """Searches for modules and optimizers, and collections of garbage, look at what the test itself makes.

    By then there are half a million objects of libraries and of other tests: a search takes 0.2 s.
    """
    gc.freeze()
    yield
    gc.unfreeze()

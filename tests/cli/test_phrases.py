"""What a method is called in a list."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cli_toys.house import SHOP

from gezhi.cli.phrases import short_name


@pytest.mark.parametrize(
    ("aliases", "en", "zh"),
    [
        (("8728", "CAN"), "CAN", "CAN"),
        (("closed-form logistic", "1234"), "closed-form logistic", "新卖家"),
        (("log n scaling", "熵不变性"), "log n scaling", "熵不变性"),
        (("1234",), "The new seller", "新卖家"),
        ((), "The new seller", "新卖家"),
    ],
)
def test_a_short_name_is_of_the_reader_s_language(aliases, en, zh):
    method = replace(SHOP, aliases=aliases)
    assert (short_name(method, "en"), short_name(method, "zh")) == (en, zh)

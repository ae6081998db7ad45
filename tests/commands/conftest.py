"""What the tests of the commands share."""

from typing import Any

import pytest


@pytest.fixture
def slug(tenant: Any) -> str:
    return str(tenant.body["tenant"]["slug"])

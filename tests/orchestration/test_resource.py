"""The resource of a location refuses settings that can never be meant."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dagster_contracts import ContractsResource


@pytest.mark.parametrize("setting", ["retention_days", "snapshots_kept"])
def test_what_must_be_kept_is_kept_for_a_day_or_as_one_batch(setting: str) -> None:
    with pytest.raises(ValidationError, match=f"{setting}\n  Input should be greater than .* 1"):
        ContractsResource.model_validate({setting: 0})
    assert getattr(ContractsResource.model_validate({setting: 1}), setting) == 1


def test_no_negative_number_of_rows_is_shown() -> None:
    with pytest.raises(ValidationError, match="samples\n"):
        ContractsResource.model_validate({"samples": -1})
    assert ContractsResource.model_validate({"samples": 0}).samples == 0

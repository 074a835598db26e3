"""The metric catalogue: names, aliases, families, declarations, suggestions."""

from __future__ import annotations

import pytest

from dagster_contracts.core.metrics import DEFAULT, Metric, is_momentary, speaks_of_newest
from dagster_contracts.core.quantity import Dimension
from dagster_contracts.errors import DocumentError


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("row_count", Metric("row_count", Dimension.COUNT)),
        ("row_count_change", Metric("row_count_change", Dimension.RATIO)),
        ("schema_validation_errors", Metric("schema_validation_errors", Dimension.RATIO)),
        ("data_freshness", Metric("data_freshness", Dimension.DURATION)),
        ("real_time_data_latency", Metric("data_latency", Dimension.DURATION)),
        ("null_ratio.tailnum", Metric("null_ratio.tailnum", Dimension.RATIO)),
        ("null_ratio.a.b", Metric("null_ratio.a.b", Dimension.RATIO)),
        ("failed_ratio.known_planes", Metric("failed_ratio.known_planes", Dimension.RATIO)),
        ("anomaly_score.row_count", Metric("anomaly_score.row_count", Dimension.NUMBER)),
        (
            "anomaly_score.real_time_data_latency",
            Metric("anomaly_score.data_latency", Dimension.NUMBER),
        ),
        (
            "anomaly_score.null_ratio.tailnum",
            Metric("anomaly_score.null_ratio.tailnum", Dimension.NUMBER),
        ),
    ],
)
def test_a_known_name_is_found_with_its_dimension(name: str, found: Metric) -> None:
    assert DEFAULT.find(name) == found


@pytest.mark.parametrize(
    "name",
    [
        "",
        "rows",
        "null_ratio",
        "null_ratio.",
        "anomaly_score.rows",
        "anomaly_score.anomaly_score.row_count",
        "row_count.x",
    ],
)
def test_an_unknown_name_is_not_found(name: str) -> None:
    assert DEFAULT.find(name) is None


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("schema_validaton_errors", "schema_validation_errors"),
        ("freshness", "data_freshness"),
        ("latency", "data_latency"),
        ("null_ratio", "null_ratio.<column>"),
        ("nul_ratio.tailnum", "null_ratio.tailnum"),
        ("anomaly_score.row_cuont", "anomaly_score.row_count"),
        ("anomalyscore.row_count", "anomaly_score.row_count"),
        ("zzz", None),
    ],
)
def test_the_nearest_name_is_suggested(name: str, near: str | None) -> None:
    assert DEFAULT.suggest(name) == near


def test_declared_metrics_are_found_and_the_default_catalogue_is_not_touched() -> None:
    declared = DEFAULT.with_declared({"orders_per_minute": Dimension.NUMBER})
    assert declared.find("orders_per_minute") == Metric("orders_per_minute", Dimension.NUMBER)
    assert declared.find("anomaly_score.orders_per_minute") is not None
    assert DEFAULT.find("orders_per_minute") is None


def test_a_known_metric_may_be_declared_again_with_its_own_dimension() -> None:
    assert DEFAULT.with_declared({"row_count": Dimension.COUNT}).names == DEFAULT.names


@pytest.mark.parametrize(
    ("name", "dimension"),
    [
        ("row_count", Dimension.RATIO),
        ("real_time_data_latency", Dimension.DURATION),
        ("null_ratio.x", Dimension.COUNT),
        ("not", Dimension.NUMBER),
        ("two words", Dimension.NUMBER),
        ("", Dimension.NUMBER),
    ],
)
def test_a_declaration_cannot_change_the_language(name: str, dimension: Dimension) -> None:
    with pytest.raises(DocumentError) as caught:
        DEFAULT.with_declared({name: dimension})
    assert repr(name) in caught.value.what
    assert caught.value.hint


def test_metrics_of_the_newest_partition_and_of_the_moment() -> None:
    assert speaks_of_newest("data_freshness")
    assert speaks_of_newest("anomaly_score.row_count")
    assert not speaks_of_newest("schema_validation_errors")
    assert is_momentary("failed_materializations")
    assert is_momentary("anomaly_score.row_count")
    assert not is_momentary("row_count")

"""Conditions of MLflow's search."""

import pytest
from mlflow.utils.search_utils import SearchUtils

from undertow.errors import RequestError
from undertow.tracking.mlflow.search import tag_is


@pytest.mark.parametrize("value", ["digits", "it's", 'a "quoted" name', "x' OR tags.a = 'b", "back\\", "100 %", ""])
def test_mlflow_searches_for_exactly_this_value(value: str) -> None:
    (condition,) = SearchUtils.parse_search_filter(tag_is("undertow.study", value))
    assert condition == {"type": "tag", "key": "undertow.study", "comparator": "=", "value": value}


def test_a_value_with_both_kinds_of_quotes_is_refused() -> None:
    with pytest.raises(RequestError, match="it has both kinds of quotes"):
        tag_is("undertow.study", '"it\'s"')

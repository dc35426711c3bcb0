"""Conditions in the syntax of MLflow's search.

tag_is("undertow.study", "digits")       # "tags.`undertow.study` = 'digits'"
"""

from undertow.errors import RequestError


def tag_is(tag: str, value: str) -> str:
    """The condition that a tag has this value.

    MLflow has no escape sequences: a value with a quote is put into quotes of the other kind.

    Raises:
        RequestError: The value has both kinds of quotes.
    """
    quote = '"' if "'" in value else "'"
    if quote in value:
        raise RequestError(f"MLflow cannot search for {tag}={value!r}: it has both kinds of quotes")
    return f"tags.`{tag}` = {quote}{value}{quote}"

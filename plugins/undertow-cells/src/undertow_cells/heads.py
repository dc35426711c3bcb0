"""The size of a head: the hidden size divided among heads, or the error that names the key."""

from undertow import RequestError


def head_size(cell: str, heads: int, hidden_size: int) -> int:
    """Units of one head.

    Args:
        cell: The cell's name, for the error.
        heads: How many there are.
        hidden_size: Units of all together.

    Raises:
        RequestError: The number of heads does not divide the hidden size.
    """
    if hidden_size % heads:
        fits = ", ".join(str(k) for k in range(1, hidden_size + 1) if hidden_size % k == 0)
        raise RequestError(
            f"cell.options.{cell}.heads: {heads} heads do not divide cell.hidden_size {hidden_size}; these do: {fits}"
        )
    return hidden_size // heads

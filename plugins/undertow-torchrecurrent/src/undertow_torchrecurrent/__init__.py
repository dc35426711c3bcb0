"""The cells of torchrecurrent as Undertow's: `table` says which there are, `cells` wraps them, `hooks` offers them."""

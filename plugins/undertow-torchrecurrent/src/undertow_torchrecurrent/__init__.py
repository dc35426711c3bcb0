"""The cells of torchrecurrent as Undertow's: `table` lists them, `cells` wraps them, `hooks` registers them."""

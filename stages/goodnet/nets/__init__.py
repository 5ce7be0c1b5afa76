"""Networks: load, split and ask them, and join two to a GoodNet."""

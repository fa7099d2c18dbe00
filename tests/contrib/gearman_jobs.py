"""Jobs for the tests of the optional parts."""

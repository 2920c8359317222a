"""The dashboards, each in a file of its own.

Gauges of the store and the catalogue are told by every server alike: of these the largest is shown, never the sum.
"""

"""I have descriptors. How far apart, who is near, where on the map?

In: vectors of `features`, as the store keeps them. Out: distances, neighbours, segments, coordinates.
Measures are pure; the store of descriptors and the engines that search vectors are the edge.
"""
